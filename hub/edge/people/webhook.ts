/**
 * `/hook/<secret>`: the weak heartbeat of a phone automation, on the loopback listener (docs/safety.md 2).
 *
 * H1. GET shows one sentence, the same for every address, and never acts: mail programs and chats fetch links.
 * H2. POST with the secret of a valid device gives the heartbeat. Its body is not read, whatever it holds.
 * H3. Wrong secrets are answered, recorded and slowed by a back-off. The right one never waits for them (T17).
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { instantText } from '../../guard/alerts/wording.ts'
import type { Gate } from '../../guard/gate.ts'
import { type Credentials, principalOf } from '../../guard/identity/credentials.ts'
import type { Principal } from '../../guard/principal.ts'
import type { LoopbackPlugin } from './loopback.ts'
import { BEARER_TRIES, createWrongTries, refuseWrong } from './wrong-tries.ts'

const BODY_BYTES_MAX = 16 * 1024
const SENTENCE = 'This address takes a heartbeat by POST. Looking at it does nothing.\n'
/** The least time between two heartbeats of one device: an automation gone wild would fill the log. */
const BETWEEN_USES_MS = 5000
const NOBODY: Principal = Object.freeze({ kind: 'device', id: 'unknown' })

export interface HookParts {
  credentials: Credentials
  gate: Gate
  clock: Clock
  /** IANA zone of the answer; '' means this machine's. */
  zone: () => string
  /** Passes it to the watchdog, which owns the clock; answers its answer. */
  heartbeat: (device: string) => Promise<unknown>
}

/** The plugin of the loopback listener, which guards Host and Origin. */
export function webhook(parts: HookParts): LoopbackPlugin {
  const { credentials, gate, clock, zone, heartbeat } = parts
  const tries = createWrongTries(BEARER_TRIES, clock)
  const usedAt = new Map<string, number>()
  const call = (principal: Principal) => ({
    principal,
    operation: 'operator.heartbeat' as const,
    resource: 'operator',
    facts: { source: 'webhook' },
  })

  async function beat(secret: string): Promise<unknown> {
    const device = credentials.find(secret, ['webhook'])
    if (device === undefined) return refuseWrong({ gate, tries }, call(NOBODY), 'a wrong webhook secret')
    const { name } = device
    const waitMs = (usedAt.get(name) ?? Number.NEGATIVE_INFINITY) + BETWEEN_USES_MS - clock.monotonicMs()
    if (waitMs > 0)
      throw new HubError('rate_limited', 'a heartbeat was taken a moment ago', {
        facts: { retryAfterMs: Math.ceil(waitMs) },
      })
    usedAt.set(name, clock.monotonicMs())
    gate.admit(call(principalOf(device)), () => credentials.used(name))
    const answer = (await heartbeat(name)) as { dueAtMs?: unknown }
    const { dueAtMs } = answer
    const next = typeof dueAtMs === 'number' ? `; next due ${instantText(dueAtMs, clock.wallMs(), zone())}` : ''
    return { accepted: true, text: `accepted${next}`, ...(typeof dueAtMs === 'number' ? { dueAtMs } : {}) }
  }

  return {
    path: '/hook',
    mount: (app) =>
      void app.register(async (scope) => {
        scope.removeAllContentTypeParsers()
        scope.addContentTypeParser('*', (request, payload, done) => {
          let size = 0
          payload.on('data', (chunk: Buffer) => {
            size += chunk.length
            if (size > BODY_BYTES_MAX) request.raw.destroy()
          })
          done(null)
        })
        scope.get('/hook/:secret', (_request, reply) => reply.type('text/plain; charset=utf-8').send(SENTENCE))
        scope.post<{ Params: { secret: string } }>('/hook/:secret', (request) => beat(request.params.secret))
      }),
  }
}
