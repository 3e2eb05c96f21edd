/**
 * The watchdog's few engine calls (docs/sandbox.md 7), over node:http and independent of the hub's client on purpose.
 * E1 only the calls of `CALLS` leave this process; anything else is refused before a byte is sent.
 * E2 every call has a deadline. E3 the list is filtered by our instance label, so foreign containers are never even seen.
 * E4 304 on stop and 404 on removal mean done, not failed; 409 on a forced removal means that somebody else is removing it
 * (the hub, or the session's own shim): the next look says whether it is gone.
 * E5 a call is made in the newest API version that both know. That is asked before a list and never before a stop; if none is known,
 * or the engine refuses it, the call goes without a version: every engine takes that as its own newest, and these few calls have meant the
 * same since 1.12. A stop must not depend on another question (fault A3).
 */
import type { Clock } from '../base/clock.ts'
import { exchange, type Reply } from '../base/wire.ts'
import type { Container } from '../judge/containers.ts'
import type { Machine } from './processes.ts'

export interface Engine {
  /** Why there is no API version that both know; null if there is one, and before the first answer. */
  disagreement(): string | null
  /** All containers of our instance, in any state. */
  list(): Promise<readonly Container[]>
  inspect(id: string): Promise<'gone' | { readonly state: string }>
  /** The machine that its containers run on, as the engine says. */
  machine(): Promise<Machine>
  stop(id: string, graceMs: number): Promise<'done' | 'gone'>
  kill(id: string): Promise<'done' | 'gone'>
  /** Forced, with its anonymous volumes. */
  remove(id: string): Promise<'done' | 'gone'>
}

const ID = '[0-9a-f]{12,64}'
const CALLS: readonly (readonly [string, RegExp])[] = [
  ['GET', /^\/containers\/json\?all=1&limit=0&filters=[\w%.-]+$/],
  ['GET', new RegExp(`^/containers/${ID}/json$`)],
  ['GET', /^\/info$/],
  ['POST', new RegExp(`^/containers/${ID}/stop\\?t=\\d{1,3}$`)],
  ['POST', new RegExp(`^/containers/${ID}/kill$`)],
  ['DELETE', new RegExp(`^/containers/${ID}\\?force=1&v=1$`)],
]
/** The call itself notices a hanging engine; this question before it must not take as long. */
const VERSION_MS = 2_000
const BYTES_MAX = 8 * 1024 * 1024
const REMOVAL_UNDER_WAY = 409

interface Listed {
  readonly Id: string
  readonly Names?: readonly string[]
  readonly State: string
  readonly Created: number
  readonly Labels?: Readonly<Record<string, string>> | null
}

function containerOf(row: Listed, instance: string): Container {
  const labels = row.Labels ?? {}
  // The filter ran in the engine; a second look costs nothing and keeps E3 true against a broken one.
  if (labels['hub.instance'] !== instance) throw new Error('the engine listed a container that is not ours')
  if (!/^[0-9a-f]{12,64}$/.test(row.Id) || typeof row.State !== 'string' || !Number.isFinite(row.Created)) {
    throw new Error('the engine listed a container in an unknown shape')
  }
  const name = (row.Names?.[0] ?? row.Id.slice(0, 12)).replace(/^\//, '')
  return { id: row.Id, name, state: row.State, createdAtMs: row.Created * 1000, labels }
}

/** The closed client. `timeoutMs` bounds each call; a stop gets its own grace on top. */
export function createEngine(
  options: { socketPath: string; instance: string; timeoutMs: number },
  clock: Clock,
): Engine {
  let prefix: string | null = null
  let disagreement: string | null = null
  const call = (method: 'GET' | 'POST' | 'DELETE', path: string, deadlineMs: number) => {
    const to = { socketPath: options.socketPath, method, path, deadlineMs, bytesMax: BYTES_MAX }
    return exchange(clock, to)
  }

  async function agree(): Promise<void> {
    if (prefix !== null) return
    try {
      const { status, body } = await call('GET', '/version', Math.min(VERSION_MS, options.timeoutMs))
      if (status !== 200) throw new Error(`it answered ${status}`)
      const spoken = agreeApi(body.toString('utf8'))
      disagreement = 'why' in spoken ? spoken.why : null
      prefix = 'why' in spoken ? null : spoken.prefix
    } catch {
      // The engine is away or hangs: the call itself will say so.
      disagreement = null
    }
  }

  /** Tries once more without a version if the engine refuses ours, as after its upgrade. */
  async function spoken(method: 'GET' | 'POST' | 'DELETE', path: string, deadlineMs: number): Promise<Reply> {
    const before = prefix
    const reply = await call(method, `${before ?? ''}${path}`, deadlineMs)
    if (before === null || !isApiRefused(reply.status, reply.body)) return reply
    prefix = null
    return call(method, path, deadlineMs)
  }

  async function send(method: 'GET' | 'POST' | 'DELETE', path: string, extraMs = 0, also = 404): Promise<Reply> {
    if (!CALLS.some(([verb, shape]) => verb === method && shape.test(path))) {
      throw new Error(`engine call refused: ${method} ${path.slice(0, 80)} is not on the closed list`)
    }
    const reply = await spoken(method, path, options.timeoutMs + extraMs)
    if (reply.status < 400 || reply.status === 404 || reply.status === also) return reply
    const said = reply.body.toString('utf8', 0, 300).replaceAll(/\s+/g, ' ')
    throw new Error(`the engine answered ${reply.status} to ${method} ${path.split('?')[0]}: ${said}`)
  }
  const told = async (reply: Promise<Reply>) => ((await reply).status === 404 ? 'gone' : 'done') as 'gone' | 'done'
  const json = async (reply: Promise<Reply>): Promise<unknown> => JSON.parse((await reply).body.toString('utf8'))
  return {
    disagreement: () => disagreement,
    async list() {
      await agree()
      const filters = encodeURIComponent(JSON.stringify({ label: [`hub.instance=${options.instance}`] }))
      const rows = await json(send('GET', `/containers/json?all=1&limit=0&filters=${filters}`))
      if (!Array.isArray(rows)) throw new Error('the engine did not answer with a list')
      return rows.map((row) => containerOf(row as Listed, options.instance))
    },
    async inspect(id) {
      const reply = await send('GET', `/containers/${id}/json`)
      if (reply.status === 404) return 'gone'
      return { state: (JSON.parse(reply.body.toString('utf8')) as { State: { Status: string } }).State.Status }
    },
    async machine() {
      const { KernelVersion, MemTotal } = (await json(send('GET', '/info'))) as Record<string, unknown>
      return { kernel: String(KernelVersion), memoryBytes: Number(MemTotal) }
    },
    stop: (id, graceMs) => told(send('POST', `/containers/${id}/stop?t=${Math.ceil(graceMs / 1000)}`, graceMs)),
    kill: (id) => told(send('POST', `/containers/${id}/kill`)),
    remove: (id) => told(send('DELETE', `/containers/${id}?force=1&v=1`, 0, REMOVAL_UNDER_WAY)),
  }
}

/** The oldest and the newest version of the engine's API that this client speaks: 1.41 to 1.56. */
const OLDEST = 41
const NEWEST = 56

/** `prefix`: what each path begins with, such as `/v1.44`. */
export type Spoken = { readonly prefix: string } | { readonly why: string }

const minorOf = (value: unknown): number | null => {
  const found = typeof value === 'string' ? /^(\d{1,3})\.(\d{1,3})$/.exec(value) : null
  if (found === null) return null
  // Any version after 1.x is later than all of 1.x.
  return Number(found[1]) > 1 ? 1000 * Number(found[1]) + Number(found[2]) : Number(found[1]) * Number(found[2])
}

/** What to speak with an engine that gave this answer, or why there is no version that both know. */
function agreeApi(text: string): Spoken {
  let said: { ApiVersion?: unknown; MinAPIVersion?: unknown } | null
  try {
    said = JSON.parse(text)
  } catch {
    said = null
  }
  const newest = minorOf(said?.ApiVersion)
  const oldest = said?.MinAPIVersion === undefined ? 0 : minorOf(said.MinAPIVersion)
  if (newest === null || oldest === null) return { why: 'its answer names no API version' }
  if (newest < OLDEST) return { why: `it speaks API up to ${said?.ApiVersion}, 1.${OLDEST} is needed` }
  if (oldest > newest) return { why: `it says that it speaks API ${said?.MinAPIVersion} to ${said?.ApiVersion}` }
  if (oldest > NEWEST)
    return { why: `it speaks only API ${said?.MinAPIVersion} and later, and up to 1.${NEWEST} is known here` }
  return { prefix: `/v1.${Math.min(newest, NEWEST)}` }
}

/** Whether an engine refused the version that a call was made in; it has not looked at the call then. */
function isApiRefused(status: number, body: Buffer): boolean {
  return status === 400 && /client version \S{1,16} is too (?:old|new)/.test(body.toString('utf8', 0, 500))
}
