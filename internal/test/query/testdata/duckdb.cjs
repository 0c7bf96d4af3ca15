// Runs the statement on standard input, prints the rows as JSON. NODE_PATH has the package.
const { DuckDBInstance } = require('@duckdb/node-api');
const { readFileSync } = require('node:fs');

(async () => {
  const db = await DuckDBInstance.create(':memory:');
  const connection = await db.connect();
  const result = await connection.runAndReadAll(readFileSync(0, 'utf8'));
  console.log(JSON.stringify(result.getRowObjectsJson()));
})().catch((err) => { console.error(err.message); process.exit(1); });
