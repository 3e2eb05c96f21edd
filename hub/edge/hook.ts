/**
 * `/hook/<secret>`: the weak heartbeat of a phone automation, on the loopback listener (safety.md section 2).
 *
 * H1. GET shows one sentence, the same for every address, and never acts: mail programs and chats fetch links.
 * H2. POST with the secret of a device that is in force gives the heartbeat. Its body is not read, whatever it holds.
 * H3. Wrong secrets are answered, recorded and slowed by a back-off; the right one never waits for them (T17).
 */
import type { Clock } from '../base/clock.ts'
import { HubError } from '../base/errors.ts'
import { instantText } from '../guard/alerts/wording.ts'
import type { Gate } from '../guard/gate.ts'
import { type Devices, devicePrincipal } from '../guard/identity/devices.ts'
import type { Principal } from '../guard/principal.ts'
import type { LoopbackRoom } from './loopback.ts'

const BODY_BYTES_MAX = 16 * 1024
const SENTENCE = 'This address takes a heartbeat by POST. Looking at it does nothing.\n'
const FIRST_PAUSE_MS = 200
const PAUSE_MAX_MS = 60_000
const FORGET_MS = 600_000
/** Of one device: an automation gone wild would fill the log. */
const BETWEEN_USES_MS = 5000
const NOBODY: Principal = Object.freeze({ kind: 'device', id: 'unknown' })

export interface HookParts {
  devices: Devices
  gate: Gate
  clock: Clock
  /** IANA zone of the answer; '' is this machine's. */
  zone: string
  /** Hands it to the watchdog, whose clock it is; answers its answer. */
  heartbeat: (device: string) => Promise<unknown>
}

/** Wrong tries in a row, for all callers together: on loopback they cannot be told apart. */
function createBackOff(clock: Clock) {
  let tries = 0
  let unrecorded = 0
  let lastAt = Number.NEGATIVE_INFINITY
  let untilMs = Number.NEGATIVE_INFINITY
  return {
    /** Counts one; answers how long to wait, or how many went unrecorded before this one, which is to be recorded. */
    wrong(): { waitMs: number } | { before: number } {
      const now = clock.monotonicMs()
      if (now - lastAt > FORGET_MS) tries = 0
      lastAt = now
      if (now < untilMs) {
        unrecorded += 1
        return { waitMs: Math.ceil(untilMs - now) }
      }
      untilMs = now + Math.min(FIRST_PAUSE_MS * 2 ** tries, PAUSE_MAX_MS)
      tries += 1
      const before = unrecorded
      unrecorded = 0
      return { before }
    },
  }
}

/** The room of the loopback listener, which guards Host and Origin. */
export function hookRoom(parts: HookParts): LoopbackRoom {
  const { devices, gate, clock, zone, heartbeat } = parts
  const backOff = createBackOff(clock)
  const usedAt = new Map<string, number>()
  const call = (principal: Principal) => ({
    principal,
    operation: 'operator.heartbeat' as const,
    resource: 'operator',
    facts: { source: 'webhook' },
  })

  function refuseWrong(): never {
    const judged = backOff.wrong()
    if ('waitMs' in judged)
      throw new HubError('rate_limited', 'too many wrong addresses', { facts: { retryAfterMs: judged.waitMs } })
    const others = judged.before === 0 ? '' : `; ${judged.before} others before it were not recorded one by one`
    const error = new HubError('unauthenticated', 'no device has this address', {
      reason: `a wrong webhook secret${others}`,
    })
    gate.refuse(call(NOBODY), error)
    throw error
  }

  async function beat(secret: string): Promise<unknown> {
    const device = devices.find(secret)
    if (device === undefined) return refuseWrong()
    const { name } = device
    const waitMs = (usedAt.get(name) ?? Number.NEGATIVE_INFINITY) + BETWEEN_USES_MS - clock.monotonicMs()
    if (waitMs > 0)
      throw new HubError('rate_limited', 'it was taken already', { facts: { retryAfterMs: Math.ceil(waitMs) } })
    usedAt.set(name, clock.monotonicMs())
    gate.admit(call(devicePrincipal(device)), () => devices.used(name))
    const answer = (await heartbeat(name)) as { dueAtMs?: unknown }
    const { dueAtMs } = answer
    const next = typeof dueAtMs === 'number' ? `; next due ${instantText(dueAtMs, clock.wallMs(), zone)}` : ''
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
