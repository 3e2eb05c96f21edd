/**
 * A whole hub in a process of its own that ends itself as kill -9 does, at one point of its first metered call. Takes the address of the model
 * server and the point; says as one line of JSON where its home is, and ends when its stdin does.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire, enableCompileCache } from 'node:module'
import { join } from 'node:path'

// Of a round, half was spent on making programs of the same files as in the round before.
enableCompileCache(join(import.meta.dirname, '../../.cache/killed-hub'))
const { createHarness, puppet } = await import('./hub-harness.ts')

const [url = '', point = ''] = process.argv.slice(2)
const dies = () => process.kill(process.pid, 'SIGKILL')

const Database = createRequire(import.meta.url)('better-sqlite3') as {
  prototype: { prepare(sql: string): { run(...values: unknown[]): unknown } }
}
const prepare = Database.prototype.prepare
/** What the open transaction has done to a reservation. */
let done = ''
Database.prototype.prepare = function (sql) {
  const statement = prepare.call(this, sql)
  const run = statement.run.bind(statement)
  const isReserve = /^\s*insert into egress_reservation/i.test(sql)
  const isSettle = /^\s*update egress_reservation/i.test(sql)
  const isCommit = /^\s*commit/i.test(sql)
  if (!isReserve && !isSettle && !isCommit) return statement
  statement.run = (...values) => {
    if (isReserve && point === 'before reserve') dies()
    if (isSettle && point === 'after last byte') dies()
    if (isReserve) done = 'after reserve'
    if (isSettle) done = 'after settle'
    const answer = run(...values)
    if (isCommit && done === point) dies()
    if (isCommit) done = ''
    return answer
  }
  return statement
}

const h = await createHarness({
  agents: { lead: { script: puppet, card: { may: { egress: ['model'] } }, policy: { egress: ['model'] } } },
  config: { upstreams: { model: { kind: 'anthropic', url, local: true, secret: 'model-key' } } },
})
mkdirSync(join(h.home, 'secrets'), { recursive: true, mode: 0o700 })
writeFileSync(join(h.home, 'secrets', 'model-key'), 'canary-Zq8wN3vTy0LmKc7RbXe51HdUa9', { mode: 0o600 })
const [lead] = await h.bring('lead')
const socket = join(h.home, 'run', 's', lead.session, 'egress.sock')
process.stdout.write(`${JSON.stringify({ home: h.home, task: lead.joined?.task.task, socket })}\n`)
let isOver = false
process.stdin.on('end', () => (isOver = true)).resume()
await h.until(() => isOver, 'the end of the round')
await h[Symbol.asyncDispose]()
process.exit()
