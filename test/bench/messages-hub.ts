/**
 * The hub of the messages benchmark, in a process of its own: everything real but the engine, which only has to claim that containers run.
 * The parent asks for CPU time and resident memory over the IPC channel.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createSystemClock } from '../../hub/base/clock.ts'
import { systemRandom } from '../../hub/base/random.ts'
import { createLog, silentLog } from '../../hub/base/telemetry.ts'
import { readConfigFile } from '../../hub/config.ts'
import { readKeys } from '../../hub/guard/identity/keys.ts'
import { initHome } from '../../hub/home/init.ts'
import { createHub } from '../../hub/hub.ts'
import type { Canary } from '../../hub/work/dispatch/canary.ts'
import { readHostFacts } from '../../hub/work/sandbox/host.ts'
import { createFakeEngine, fakeImage } from '../support/fake-engine.ts'

const [home = '', sessions = '8'] = process.argv.slice(2)
const checkout = fileURLToPath(new URL('../..', import.meta.url))
const clock = createSystemClock()
// A home that is there is taken as it is: the bench of history fills one in between.
if (!existsSync(join(home, 'instance')))
  initHome({ home, checkout, nowMs: clock.wallMs() }, systemRandom, () => undefined)
const instance = readFileSync(join(home, 'instance'), 'utf8').trim()
const topics = Array.from({ length: Number(sessions) }, (_, place) => `t${place}`)
mkdirSync(join(home, 'agents', 'schemas'), { recursive: true })
writeFileSync(
  join(home, 'agents', 'schemas', 'work.json'),
  JSON.stringify({
    type: 'object',
    properties: { n: { type: 'integer' }, text: { type: 'string', maxLength: 4096 } },
    required: ['n', 'text'],
    additionalProperties: false,
  }),
)
writeFileSync(
  join(home, 'agents', 'bench.yaml'),
  `name: bench\ndescription: Talks\nimage: hub/bench\nrun: [node, /x.js]\nmessages:\n  sends: { bench.work: schemas/work.json }\n  receives: { bench.work: schemas/work.json }\nmay: { message: [bench], topics: [${topics.join(', ')}] }\n`,
)
// At the shipped quota, beside the others at theirs (flood.ts).
writeFileSync(
  join(home, 'agents', 'flooder.yaml'),
  'name: flooder\ndescription: Floods\nimage: hub/bench\nrun: [node, /x.js]\nlimits: { messagesPerSecond: 200 }\n',
)
writeFileSync(
  join(home, 'hub.yaml'),
  `http: { port: 0 }\nmetrics: { port: 0 }\nlimits: { sessions: 32, sessionsPerAgent: 32, messages: { perSecond: 50000 } }\n`,
)
const rules = {
  submit: true,
  capabilities: [],
  ttlMs: 3_600_000,
  message: ['bench'],
  delegate: [],
  topics,
  secrets: [],
  broadcast: false,
  egress: [],
}
writeFileSync(
  join(home, 'policy', 'data.json'),
  JSON.stringify({
    agents: {
      bench: rules,
      flooder: rules,
    },
  }),
)
const engine = createFakeEngine({ clock })
engine.images.set('hub/bench', fakeImage())
engine.onStart = () => {
  if (process.env.HUB_BENCH_TELL === '1') process.send?.({ started: true })
  return undefined
}
/** As `hub up` has it: the lines of the log are on the disk too. */
const LOG_FILE = join(home, 'logs', 'hub.log')
function fileLog() {
  mkdirSync(join(home, 'logs'), { recursive: true })
  return createLog('info', { write: (line) => appendFileSync(LOG_FILE, line) })
}
const bytesOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0

/** The engine is the tests' own, and nothing in its containers could join. */
const PROVEN: Canary = {
  hasImage: () => true,
  ask: async () => ({ engine: 'fake', components: {}, refused: [] }),
  run: async () => ({ findings: [], tookMs: 0, atMs: 0, engine: 'fake' }),
}
const hub = createHub(
  {
    home,
    instance,
    version: 'bench',
    settings: readConfigFile(join(home, 'hub.yaml')),
    keys: readKeys(join(home, 'keys')),
    bundleFolder: join(checkout, 'policies'),
    host: readHostFacts(join(checkout, 'images', 'agent')),
    uid: process.getuid?.() ?? 0,
  },
  {
    clock,
    random: systemRandom,
    log: process.env.HUB_BENCH_LOG === '1' ? fileLog() : silentLog(),
    engine,
    canary: PROVEN,
    onExit: () => process.exit(0),
  },
)
await hub.start()
hub.guard.modes.clear('lease_pending')
process.send?.({ ready: true, rss: process.memoryUsage.rss() })
process.on('disconnect', () => process.exit(0))
process.on('message', (word) => {
  if (word === 'usage')
    process.send?.({ cpu: process.cpuUsage(), rss: process.memoryUsage.rss(), records: hub.guard.audit.head().size })
  if (word === 'disk') {
    // What stands in the write-ahead log is written into the database, so that the file says it.
    hub.guard.store.checkpoint()
    process.send?.({ bytes: bytesOf(join(home, 'hub.db')) + bytesOf(LOG_FILE) })
  }
  if (word === 'looked') void hub.looked().then(() => process.send?.({ looked: true }))
  if (word === 'end') process.exit(0)
})
