/**
 * The routes of the watchdog's socket, by method and path. Possession of the socket is the credential (door.ts).
 * D1 a body that is not understood is refused by name. D2 GET never acts.
 */
import type { Watch } from './round.ts'

export interface DoorParts {
  readonly watch: Watch
  /** Asks for a round at once. */
  readonly wake: () => void
  /** Ends the process after the answer is out. */
  readonly exit: () => void
}

export type Body = Readonly<Record<string, unknown>>
export interface DoorAnswer {
  readonly status: number
  readonly body: object
  /** Runs once the answer is out. */
  readonly after?: () => void
}
type Route = (body: Body, parts: DoorParts) => DoorAnswer | Promise<DoorAnswer>

const SOURCES: Readonly<Record<string, boolean>> = { cli: true, api: true, console: true, device: true, webhook: false }
const KINDS = ['restart', 'down', 'shutdown'] as const

export class BodyError extends Error {}

function only(body: Body, keys: readonly string[]): void {
  for (const key of Object.keys(body)) if (!keys.includes(key)) throw new BodyError(`${key} is not a known field`)
}
function textField(body: Body, key: string, normal: string): string {
  const value = body[key] ?? normal
  if (typeof value !== 'string' || value.length > 500)
    throw new BodyError(`${key} must be a text of at most 500 characters`)
  return value
}

/** Every route of the socket. */
export const ROUTES: Readonly<Record<string, Route>> = {
  'GET /v1/status': (_body, { watch }) => ({ status: 200, body: watch.status() }),
  'POST /v1/heartbeat': (body, { watch, wake }) => {
    only(body, ['note', 'source'])
    textField(body, 'note', '')
    const source = textField(body, 'source', 'cli')
    const strong = Object.hasOwn(SOURCES, source) ? SOURCES[source] : undefined
    if (strong === undefined) throw new BodyError(`source must be one of ${Object.keys(SOURCES).join(', ')}`)
    const answer = watch.heartbeat(strong)
    wake()
    return { status: 200, body: answer }
  },
  'POST /v1/announce': (body, { watch }) => {
    only(body, ['kind', 'forMs'])
    const kind = KINDS.find((one) => one === body.kind)
    if (kind === undefined) throw new BodyError(`kind must be one of ${KINDS.join(', ')}`)
    const forMs = body.forMs
    if (!Number.isSafeInteger(forMs) || (forMs as number) < 0)
      throw new BodyError('forMs must be a whole number of milliseconds')
    watch.announce(kind, forMs as number)
    return { status: 200, body: { announced: kind } }
  },
  'POST /v1/shutdown': async (body, { watch, wake }) => {
    only(body, ['reason'])
    const stopped = await watch.shutdown(textField(body, 'reason', 'operator'))
    wake()
    return { status: 200, body: stopped }
  },
  'POST /v1/accept-head': (body, { watch, wake }) => {
    only(body, ['head'])
    if (!watch.acceptHead(textField(body, 'head', ''))) throw new BodyError('head is not the one the hub last showed')
    wake()
    return { status: 200, body: { accepted: true } }
  },
  // A hub that has just started asks for its lease at once, instead of waiting out the interval.
  'POST /v1/look': (body, { wake }) => {
    only(body, [])
    wake()
    return { status: 200, body: { looking: true } }
  },
  'POST /v1/exit': (body, { exit }) => {
    only(body, [])
    return { status: 200, body: { exiting: true }, after: exit }
  },
}
