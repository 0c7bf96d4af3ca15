#!/usr/bin/env node
// Is everything there that Penstock has delivered to a directory, once and unaltered? Written from ship/MANIFEST.md alone: README.md.
import { createHash, createPublicKey, verify } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { gunzipSync } from 'node:zlib'

const stated = ['records', 'bytes', 'gaps', 'min_time', 'max_time', 'format', 'codec', 'raw_bytes', 'raw_sha256']
const verdicts = ['complete', 'closed', 'owed', 'damaged'], zeros = '0'.repeat(64)
const sha = bytes => createHash('sha256').update(bytes).digest('hex')
const demand = (ok, what, verdict = 'damaged') => { if (!ok) throw Object.assign(Error(what), { verdict }) }
const ascending = map => [...map].sort(([a], [b]) => a - b)

function split(bytes) { // into lines, each with its newline
  demand(bytes.at(-1) === 10, 'cut off')
  return bytes.toString('latin1').match(/[^\n]*\n/g)
}

function checkSignature(line, signed) {
  const s = JSON.parse(line), key = { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(s.key ?? '', 'hex').toString('base64url') }
  demand(JSON.stringify(s) + '\n' === line && s.type === 'signature' && !/[^0-9a-f]/.test(s.key + s.signature), 'no signature line')
  demand(s.algorithm === 'ed25519', 'unknown signature algorithm', 'owed')
  demand(verify(null, signed, createPublicKey({ key, format: 'jwk' }), Buffer.from(s.signature, 'hex')), 'wrong signature')
}

function readSealed(bytes, version) { // a head or a closing
  const [line, seal, signature, ...more] = split(bytes), v = JSON.parse(Buffer.from(line, 'latin1'))
  demand(seal === `{"type":"seal","sha256":"${sha(Buffer.from(line, 'latin1'))}"}\n`, 'it does not match its seal')
  demand(v.version === version, 'another version', 'owed')
  if (signature) checkSignature(signature, Buffer.from(seal))
  demand(!more.length, 'something follows')
  return v
}

function readManifest(bytes) {
  const lines = split(bytes), h = JSON.parse(lines[0])
  if (h.version !== 4) { // damaged, if nothing else is wrong
    try { readManifest(Buffer.from(bytes.toString().replace(/"version":\d+/, '"version":4'))) } catch { demand(!(h.version > 0), 'another version', 'owed') }
    demand(false, 'damaged version')
  }
  const at = lines.findIndex(l => l.startsWith('{"type":"footer"')), f = JSON.parse(lines[at] ?? '{}'), n = { segment: 0, loss: 0 }
  demand(f.sha256 === sha(lines.slice(0, at).join('') + lines[at]?.replace(/"sha256":"\w*"}\n$/, '"sha256":""}\n')), 'it does not match its footer')
  demand(lines.length <= at + 2 && (!lines[at + 1] || lines[at + 1].startsWith('{"type":"signature"')), 'something follows')
  const steps = lines.slice(1, at).map(l => JSON.parse(l)), segments = steps.filter(s => s.type === 'segment')
  let last = h.prev_last
  for (const s of steps) {
    demand(s.type in n && s.segment > n[s.type] && s.segment >= n.segment && s.segment >= n.loss, 'lines out of order')
    n[s.type] = s.segment
    if (s.type === 'loss') { demand(s.after >= h.prev_last && s.after <= f.last, 'a loss outside'); continue }
    const gaps = (s.gaps ?? []).reduce((sum, g) => sum + g.last - g.first + 1, 0)
    demand(s.first === last + 1 && s.last >= s.first - (s.whole ? 1 : 0) && s.records === s.last - s.first + 1 - gaps, 'lines that do not continue')
    last = s.last
  }
  demand(f.segments === segments.length && f.losses === steps.length - segments.length && f.last === last && !(f.final && f.closed_by), 'wrong footer')
  demand(f.segment >= Math.max(n.segment, n.loss) && (h.number === 0 || h.prev !== zeros) && h.joined !== 1 && !(h.joined > h.prev_last + 1), 'wrong header')
  return { h, f, steps, hash: sha(bytes), end: lines.slice(at) }
}

function parseKey(key) {
  const m = /^class=(\w{1,32})\/dt=(\d{4}-\d\d-\d\d)\/hour=([01]\d|2[0-3])\/([0-9a-z]{26})-(\d{6})-([0-9a-f]{16})-([0-9a-f]{16})(\..*)?$/.exec(key)
  const k = m && { id: m[1] + '/' + m[4], epoch: +m[5], first: parseInt(m[6], 16), last: parseInt(m[7], 16), ext: m[8] ?? '' }
  return k && /^[a-z0-9_]+$/.test(m[1]) && k.epoch && k.first && k.last >= k.first && !isNaN(Date.parse(m[2])) && new Date(m[2]).toJSON().startsWith(m[2]) ? k : null
}

function check(dir) {
  const entries = readdirSync(dir, { recursive: true, withFileTypes: true }).filter(e => e.isFile())
  const keys = new Set(entries.map(e => `${e.parentPath}/${e.name}`.slice(dir.length + 1))), read = key => readFileSync(`${dir}/${key}`)
  const chains = new Map(), named = new Map(), ends = { '': '', gzip: '.gz', zstd: '.zst', lz4: '.lz4', s2: '.s2', none: '' }
  let worst = 0
  const say = (verdict, key, what) => { worst = Math.max(worst, verdicts.indexOf(verdict)); console.log(`${dir}: ${verdict}: ${key}: ${what}`) }
  const attempt = (key, f) => { try { return f() } catch (e) { say(e.verdict ?? 'damaged', key, e.message) } }

  for (const key of keys) { // the catalogue of chains
    if (!key.startsWith('_manifest/')) continue
    const m = /^_manifest\/([a-z0-9_]{1,32}\/[0-9a-z]{26})\/(?:(?!000000)(\d{6})\/(?:(\d{12})\.jsonl|heads\/([a-z0-9_-]{1,64})-(\d{12})\.json)|closed\/(\d{6})-(\d{12})-(\w{16})\.json)$/.exec(key)
    if (!m) { say('damaged', key, 'not a key'); continue }
    const c = chains.get(m[1]) ?? { epochs: new Map(), heads: [], closings: [] }
    chains.set(m[1], c)
    if (m[3]) c.epochs.set(+m[2], (c.epochs.get(+m[2]) ?? new Map()).set(+m[3], key))
    else c[m[4] ? 'heads' : 'closings'].push({ key, epoch: +(m[2] ?? m[6]), number: +(m[5] ?? m[7]), destination: m[4], sum: m[8] })
  }

  for (const [id, c] of chains) {
    Object.assign(c, { covered: 0, segment: 0, links: new Map(), called: {}, unproven: [], jumps: [], begun: c.epochs.size > 0 })
    let hole = false, last = null, owner = 0
    for (const [epoch, manifests] of ascending(c.epochs)) {
      let number = 0
      for (const [n, key] of ascending(manifests)) {
        if (n > number) { say('damaged', key, `manifests ${number} to ${n - 1} before it are missing`); hole = true }
        number = n + 1
        const m = attempt(key, () => {
          const m = readManifest(read(key)), { h } = m
          demand(`${h.class}/${h.spool}` === id && h.epoch === epoch && h.number === n, 'the manifest of another key')
          return m
        })
        if (!m) { hole = true; continue }
        const { h, f } = m
        attempt(key, () => {
          demand(hole || h.prev === (last?.hash ?? zeros), 'it does not follow the manifest before')
          demand(h.prev_last === c.covered || h.prev_last > c.covered && (hole || h.joined === h.prev_last + 1), 'its records do not continue')
          demand(hole || !last || !(last.h.epoch === epoch && (last.f.final || last.f.closed_by)) && epoch >= owner, 'it follows an end')
          demand(hole || last?.h.epoch !== epoch || last.h.destination === h.destination, 'it is of another destination')
        })
        if (hole && h.prev_last > c.covered) c.unproven.push([c.covered + 1, h.prev_last])
        if (last && h.prev_last > c.covered && h.joined === h.prev_last + 1) c.jumps.push([c.covered + 1, h.prev_last])
        for (const s of m.steps) {
          if (last && s.segment <= c.segment) { say('damaged', key, `segment ${s.segment} again`); continue }
          for (const g of s.gaps ?? []) say('damaged', key, `records ${g.first} to ${g.last} were damaged at the sender`)
          if (s.whole) say('owed', key, 'a copy of a volume: ask audit')
          if (s.type === 'segment' && s.records) attempt(s.key, () => {
            const k = parseKey(s.key), r = s.receipt
            demand(k && k.id.slice(0, -16) === id.slice(0, -16) && k.first === s.first && k.last === s.last && (k.id !== id || k.epoch <= epoch) && k.ext.endsWith(ends[s.codec] ?? ''), 'a key that its line cannot have')
            const said = JSON.stringify(stated.map(member => s[member])), before = named.get(s.key) ?? said
            named.set(s.key, said)
            demand(before === said, 'two lines state different things about it')
            demand(keys.has(s.key), 'missing')
            const bytes = read(s.key), staged = r.size === s.size && [`sha256:${s.sha256}`, `crc64nvme:${s.crc64nvme}`].includes(r.checksum)
            demand(bytes.length === r.size && (staged ? sha(bytes) === s.sha256 : r.checksum === `sha256:${sha(bytes)}`), 'altered')
            const raw = { none: b => b, gzip: gunzipSync }[s.codec]?.(bytes) // of other codecs the stored bytes must be enough
            demand(!raw || raw.length === (s.raw_bytes ?? 0) && sha(raw) === s.raw_sha256, 'other content than its line says')
          })
        }
        Object.assign(c, { covered: Math.max(c.covered, f.last), segment: Math.max(c.segment, f.segment), final: f.final, epoch, destination: h.destination, end: m })
        owner = f.closed_by?.epoch ?? 0
        c.links.set(`${epoch} ${n}`, m)
        c.called[epoch] = h.destination
        hole = false
        last = m
      }
    }
    if (hole) c.unproven.push([c.covered + 1, Infinity])
    if (c.end?.end[1]) attempt(`chain ${id}`, () => checkSignature(c.end.end[1], Buffer.from(c.end.end[0])))
    c.cut = hole
  }

  for (const [id, c] of chains) { // what is beside them
    for (const { key, epoch, number, sum } of c.closings) attempt(key, () => {
      const v = readSealed(read(key), 1), m = c.links.get(`${epoch} ${number}`), beyond = !c.end || epoch > c.end.h.epoch || epoch === c.end.h.epoch && number > c.end.h.number
      demand(`${v.class}/${v.spool}` === id && v.epoch === epoch && v.number === number && sha(read(key)).startsWith(sum), 'the closing of another key')
      demand(!c.begun || v.destination === (c.called[epoch] ?? c.destination), 'the closing of another destination')
      demand(m || !beyond, 'the end of its chain was cut off')
      demand(!m || m.hash === v.hash && m.f.last === v.last, 'it names another manifest')
      if (m && (!c.close || epoch > c.close.h.epoch || epoch === c.close.h.epoch && number > c.close.h.number)) c.close = m
    })
    for (const { key, epoch, number, destination } of c.heads) attempt(key, () => {
      const v = readSealed(read(key), 2), relatives = [...chains].filter(([other]) => other.slice(0, -16) === id.slice(0, -16))
      demand(`${v.class}/${v.spool}` === id && v.epoch === epoch && v.number === number && v.destination === destination, 'the head of another key')
      demand(!c.begun || ![c.called[epoch], c.destination].includes(destination), 'the head of the chain here')
      demand(relatives.some(([, r]) => r.end && r.covered >= v.last), `${destination} has records up to ${v.last}`, 'owed')
    })
    if (c.close && c.close !== c.end) say('owed', id, 'delivered again after it was closed')
    c.shut = c.close && c.close === c.end && !c.cut
    if (c.end && !c.final) say(c.shut ? 'closed' : 'owed', id, `no final manifest after record ${c.covered}`)
  }

  for (const key of keys) { // objects that no chain names
    if (!key.startsWith('class=') || named.has(key)) continue
    const k = parseKey(key), c = chains.get(k?.id)
    if (!k) say('damaged', key, 'not a key')
    else if (!c?.end || c.final && k.epoch > c.epoch) say('damaged', key, 'its epoch has no chain')
    else if (c.unproven.some(([from, to]) => k.first >= from && k.first <= to)) say('owed', key, 'its manifest is missing')
    else if (c.jumps.some(([from, to]) => k.first >= from && k.last <= to)) say('owed', key, 'not owed here: ask audit, with another place')
    else if (k.first <= c.covered || c.final) say('damaged', key, 'no manifest names it: a duplicate, or a stranger')
    else say(c.shut ? 'closed' : 'owed', key, 'no manifest names it yet')
  }
  if (!chains.size) say('owed', dir, 'no chain at all')
  console.log(`${dir}: ${verdicts[worst]}`)
  return worst
}

const dirs = process.argv.slice(2)
try {
  if (!dirs.length) console.error('usage: check.mjs DIRECTORY...')
  process.exitCode = dirs.length ? [0, 0, 3, 1][Math.max(...dirs.map(dir => check(resolve(dir))))] : 2
} catch (e) { // a directory that cannot be read says nothing of what is in it
  console.error(e.message)
  process.exitCode = 4
}
