// Runs the statement on standard input, prints the rows as JSON. NODE_PATH has the package: ClickHouse as a library.
const { query } = require('chdb');
const { readFileSync } = require('node:fs');

console.log(JSON.stringify(JSON.parse(query(readFileSync(0, 'utf8').trim().replace(/;$/, ''), 'JSON')).data));
