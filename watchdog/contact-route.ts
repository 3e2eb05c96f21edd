/** `POST /v1/contact` of the socket: the hub says which card is in force or asks for this side's view. */
import type { Clock } from './clock.ts'
import { type ContactFile, cardIdOf, isCard } from './contact.ts'
import type { Watch } from './round.ts'

export interface ContactSide {
  readonly file: ContactFile
  readonly clock: Clock
  readonly publicUrl: string | null
  readonly port: number
  /** What the configuration says of the two people, for the card. */
  readonly people: {
    readonly contact: string
    readonly operator: string
    readonly phone: string
    readonly lastResort: string
  }
}

type Body = Readonly<Record<string, unknown>>
const KEYS: Readonly<Record<string, readonly string[]>> = {
  show: [],
  set: ['digest', 'name', 'operator', 'madeAtMs', 'expiresAtMs'],
  revoke: [],
}

const refused = (error: string) => ({ status: 400, body: { error } })

export async function contactRoute(body: Body, side: ContactSide, watch: Watch) {
  const { file, clock } = side
  const { action, ...rest } = body
  const keys = typeof action === 'string' && Object.hasOwn(KEYS, action) ? KEYS[action] : undefined
  if (keys === undefined) return refused(`action must be one of ${Object.keys(KEYS).join(', ')}`)
  const unknown = Object.keys(rest).find((key) => !keys.includes(key))
  if (unknown !== undefined) return refused(`${unknown} is not a known field`)

  let revoked = false
  if (action === 'set') {
    if (!isCard(rest)) return refused('the card is malformed')
    revoked = !file.set(rest)
  }
  if (action === 'revoke') file.revoke()
  const card = file.card()
  const { wallMs } = clock.read()
  const { heartbeat = {} } = watch.status() as { heartbeat?: { stopInMs?: number; strongAgeMs?: number } }
  const { stopInMs, strongAgeMs } = heartbeat
  return {
    status: 200,
    body: {
      revoked,
      card:
        card === null
          ? null
          : { id: cardIdOf(card.digest), name: card.name, madeAtMs: card.madeAtMs, expiresAtMs: card.expiresAtMs },
      usedAtMs: file.usedAtMs,
      reachedAtMs: file.reachedAtMs,
      publicUrl: side.publicUrl,
      port: side.port,
      people: side.people,
      stopAtMs: stopInMs === undefined ? null : wallMs + stopInMs,
      stopSpanMs: stopInMs === undefined ? null : stopInMs + (strongAgeMs ?? 0),
    },
  }
}
