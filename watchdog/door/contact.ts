/** Builds everything for the backup contact: the kept card, the stop behind its page, and what the socket says about them. */
import type { Clock } from '../base/clock.ts'
import type { Paths } from '../base/home.ts'
import type { Config } from '../config/config.ts'
import type { Engine } from '../observe/engine.ts'
import type { Log, Watch } from '../watch/watch.ts'
import { type ContactFile, cardIdOf, isCard, openContact } from './contact-card.ts'
import { createContactStop } from './contact-stop.ts'
import type { StopDoorParts } from './stop-door.ts'
import type { RandomBytes } from './stop-proof.ts'

// `POST /v1/contact` of the socket: the hub says which card is in force or asks for this side's view.

export interface ContactRouteParts {
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

export async function contactRoute(body: Body, side: ContactRouteParts, watch: Watch) {
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

export function openContactEntrance(
  { paths, config, instance }: { paths: Pick<Paths, 'contact'>; config: Config; instance: string },
  { clock, engine, watch, log, random }: { clock: Clock; engine: Engine; watch: Watch; log: Log; random: RandomBytes },
): { side: ContactRouteParts; stop: StopDoorParts; own: () => readonly (readonly [string, string])[] } {
  const file = openContact(paths.contact, clock.read().wallMs)
  if (file.damaged !== null)
    log.warn(
      { kept: file.damaged },
      'the card of the backup contact was unreadable; the hub sends it again when it starts',
    )
  const contactStop = createContactStop({
    instance,
    random,
    contact: file,
    clock,
    log,
    stop: (reason) => watch.shutdown(reason, 'contact'),
    isHeld: () => (watch.status().conditions as readonly string[]).includes('emergency_stop'),
    count: async () => (await engine.list()).length,
  })
  return {
    side: {
      file,
      clock,
      publicUrl: config.reach.publicUrl,
      port: config.port,
      people: {
        contact: config.contact.name,
        operator: config.operator.name,
        phone: config.operator.phone,
        lastResort: config.contact.lastResort,
      },
    },
    stop: { contactStop, contact: file, reach: config.reach, clock },
    /** As findings: [id, text]. */
    own: () => [
      ...(file.damaged === null
        ? []
        : [
            [
              'contact_damaged',
              `The card of the backup contact was unreadable. It is not accepted here until the hub sends it again; a copy is kept in ${file.damaged}. Run: hub up`,
            ] as const,
          ]),
      ...(contactStop.isGuessed()
        ? [
            [
              'contact_guessing',
              'Somebody is guessing words at the stop page. Nothing was stopped, and the card still works.',
            ] as const,
          ]
        : []),
    ],
  }
}
