/**
 * A whole hub with the fake engine in a process of its own, for the bench of egress: real sockets, real rules, real database; its clock follows the
 * machine's. Takes the port of the upstream, and says as one line of JSON where the sockets of its sessions are. Ends when its stdin does.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createHarness, forever } from '../support/hub-harness.ts'

const [port = '', budget = '5'] = process.argv.slice(2)
const READERS = 4
const OTHERS = 20
/** Whoever holds the socket speaks for it. */
const silent = { script: (agent: { ended: AbortSignal }) => forever(agent as never) }
const upstream = { url: `http://127.0.0.1:${port}`, local: true, secret: 'bench-key' }
const tick = { 'bench.tick': null }
const reach = ['api', 'model', 'paid']

const h = await createHarness({
  startWallMs: Date.now(),
  isMeasured: true,
  agents: {
    reader: { ...silent, card: { may: { egress: reach }, messages: { receives: tick } }, policy: { egress: reach } },
    other: { ...silent, card: { may: { message: ['reader'] }, messages: { sends: tick } } },
  },
  config: {
    upstreams: {
      api: { kind: 'http', ...upstream, allow: ['GET /*'] },
      model: { kind: 'openai', ...upstream, price: 'free' },
      paid: { kind: 'anthropic', ...upstream },
    },
    limits: { sessions: 40, sessionsPerAgent: 30, joinWindow: '120s', ttl: '1h' },
    health: { interval: '10m', failures: 100 },
    budget: { tree: { usd: `${budget} USD` }, attempt: { calls: 10_000 } },
  },
})
mkdirSync(join(h.home, 'secrets'), { recursive: true, mode: 0o700 })
writeFileSync(join(h.home, 'secrets', 'bench-key'), 'bench-Zq8wN3vTy0LmKc7RbXe51HdUa9', { mode: 0o600 })

const submitted: string[] = []
for (let n = 0; n < READERS; n += 1) submitted.push(await h.submit('reader'))
for (let n = 0; n < OTHERS; n += 1) submitted.push(await h.submit('other'))
await h.until(() => h.started.length === submitted.length, 'all have started')

// From here on time passes as it does outside.
let last = performance.now()
let moving = false
const pump = setInterval(async () => {
  if (moving) return
  moving = true
  const passed = Math.floor(performance.now() - last)
  last += passed
  await h.clock.advance(passed)
  moving = false
}, 5)
const leases = setInterval(() => void h.lease().catch(() => undefined), 20_000)
process.stdin.on('end', async () => {
  for (const { msg, reason } of h.complaints) process.stderr.write(`hub: ${msg} ${reason ?? ''}\n`)
  clearInterval(pump)
  clearInterval(leases)
  await h[Symbol.asyncDispose]()
  process.exit()
})
process.stdin.resume()
process.on('message', () => process.send?.({ rss: process.memoryUsage().rss }))
process.stdout.write(
  `${JSON.stringify({
    home: h.home,
    sessions: h.started.map(({ agent, session, container }) => ({ agent, session, socket: container.socketPath })),
    tasks: submitted,
  })}\n`,
)
