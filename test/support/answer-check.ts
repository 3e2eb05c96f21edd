/**
 * Every answer that a hub in this process gives while a scenario runs is parsed by its shape (`hub/protocol/answers.ts`), strictly, whichever
 * client asked. A setup file of vitest: what does not fit fails the test that saw it, after its end, with operation and field.
 */
import { type IncomingMessage, ServerResponse } from 'node:http'
import { afterEach, expect } from 'vitest'
import type { AnsweredName } from '../../hub/protocol/answers.ts'

const faults: string[] = []
const looks: Promise<void>[] = []

/** What agents ask on their own sockets; the rest is in the operations table. */
const OF_AGENTS: readonly [method: string, path: RegExp, name: AnsweredName][] = [
  ['POST', /^\/v1\/join$/, 'session.join'],
  ['POST', /^\/v1\/renew$/, 'session.renew'],
  ['POST', /^\/v1\/send$/, 'message.send'],
  ['POST', /^\/v1\/subscribe$/, 'message.subscribe'],
  ['GET', /^\/v1\/receive$/, 'message.receive'],
]

/** The address that this answer left from: a port, or the path of a socket; undefined where that is not known any more. */
function entranceOf({ socket }: IncomingMessage): 'people' | 'agent' | undefined {
  const server: unknown = Reflect.get(socket ?? {}, 'server')
  const address: unknown =
    typeof server === 'object' && server !== null && 'address' in server && typeof server.address === 'function'
      ? server.address()
      : undefined
  if (typeof address !== 'string') return typeof address === 'object' && address !== null ? 'people' : undefined
  if (address.endsWith('/run/operator.sock')) return 'people'
  return /\/run\/s\/[^/]+\/hub\.sock$/.test(address) ? 'agent' : undefined
}

/** What is needed to judge, loaded for the first answer there is. */
async function loadJudge() {
  const [{ ANSWERS }, { problemShape }, { ROUTES }] = await Promise.all([
    import('../../hub/protocol/answers.ts'),
    import('../../hub/protocol/views.ts'),
    import('../../hub/protocol/routes.ts'),
  ])
  // `/v1/agents/reload` fits `/v1/agents/:name` too: the plainer pattern is meant, so it stands first.
  const colons = ({ path }: { path: string }) => path.split(':').length
  const routes = Object.entries(ROUTES)
    .sort(([, one], [, other]) => colons(one) - colons(other))
    .map(([name, { method, path }]) => ({
      name,
      method,
      pattern: new RegExp(`^${path.replaceAll(/:\w+/g, '[^/]+')}$`),
    }))
  return { ANSWERS, problemShape, routes }
}
let judge: ReturnType<typeof loadJudge> | undefined

/** A watchdog in this process listens on loopback too, and refuses in a form of its own: one text and nothing more. */
const isWatchdogs = (said: unknown): boolean =>
  typeof said === 'object' && said !== null && Object.keys(said).join() === 'error'

/** The first fields of an answer that do not fit the shape of its operation; undefined where all do, or it is none of the hub's. */
async function faultOf(
  entrance: 'people' | 'agent',
  { method, path, status, text }: { method: string; path: string; status: number; text: string },
): Promise<string | undefined> {
  judge ??= loadJudge()
  const { ANSWERS, problemShape, routes } = await judge
  const ofAgent =
    entrance === 'agent' ? OF_AGENTS.find(([verb, at]) => verb === method && at.test(path))?.[2] : undefined
  const name = ofAgent ?? routes.find((row) => row.method === method && row.pattern.test(path))?.name
  if (name === undefined || !Object.hasOwn(ANSWERS, name)) return undefined
  // What the door of a canary session says is made for its shim alone.
  if (entrance === 'agent' && (text === '{}' || text.startsWith('{"token":"canary"'))) return undefined
  const { answer } = ANSWERS[name as AnsweredName]
  const shape = status >= 400 ? problemShape : answer
  const said: unknown = JSON.parse(text)
  if (shape === null || isWatchdogs(said)) return undefined
  const parsed = shape.safeParse(said)
  if (parsed.success) return undefined
  const issues = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
  return `${name} answered ${status}, which does not fit its shape: ${issues.join('; ')}`
}

const isScenario = () => /[/\\]test[/\\]scenarios[/\\]/.test(expect.getState().testPath ?? '')

const end: unknown = ServerResponse.prototype.end
if (typeof end !== 'function') throw new Error('an answer has no end')
Object.defineProperty(ServerResponse.prototype, 'end', {
  configurable: true,
  writable: true,
  value(this: ServerResponse, ...words: unknown[]) {
    const [body] = words
    const text = typeof body === 'string' ? body : Buffer.isBuffer(body) ? body.toString() : ''
    const { method = '', url = '' } = this.req
    const entrance = text.startsWith('{') && isScenario() ? entranceOf(this.req) : undefined
    if (entrance !== undefined) {
      const answer = { method, path: url.split('?', 1)[0] ?? '', status: this.statusCode, text }
      looks.push(faultOf(entrance, answer).then((fault) => void (fault !== undefined && faults.push(fault))))
    }
    return Reflect.apply(end, this, words)
  },
})

afterEach(async () => {
  await Promise.all(looks.splice(0))
  const found = [...new Set(faults.splice(0))]
  if (found.length > 0) throw new Error(found.join('\n'))
})
