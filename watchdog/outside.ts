/**
 * The ping to somebody outside (safety.md section 4): a service that expects it and raises its own alarm when it stays away, because
 * then the machine is gone and nobody here can say so. A ping never delays a round, and one that fails is a finding.
 */
import type { Outward } from './channels/outward.ts'
import type { Clock } from './clock.ts'
import type { Config } from './config.ts'

export interface Outside {
  /** After a round that was judged and is on disk. Never waits, never throws. */
  ping(): void
  /** As findings: [id, text]. */
  own(): readonly (readonly [string, string])[]
  status(): { readonly configured: boolean; readonly lastOkAtMs: number | null; readonly reason: string | null }
}

const DEADLINE_MS = 5_000
/** Rounds that follow each other at once are one sign of life. */
const EVERY_MS_MIN = 20_000
const FAILURES_MIN = 3

export function createOutside(target: Config['outside'], parts: { clock: Clock; outward: Outward }): Outside {
  const { clock, outward } = parts
  let underWay = false
  let failures = 0
  let reason: string | null = null
  let lastOkAtMs: number | null = null
  let askedBootMs = Number.NEGATIVE_INFINITY

  return {
    ping() {
      const { bootMs } = clock.read()
      if (target === null || underWay || bootMs - askedBootMs < EVERY_MS_MIN) return
      underWay = true
      askedBootMs = bootMs
      const headers = { 'user-agent': 'hub-watchdog' }
      outward({ ...target, method: 'POST', headers, body: '', deadlineMs: DEADLINE_MS })
        .then(
          () => {
            failures = 0
            reason = null
            lastOkAtMs = clock.read().wallMs
          },
          (error: Error) => {
            failures += 1
            reason = error.message.slice(0, 200)
          },
        )
        .finally(() => {
          underWay = false
        })
    },
    own: () =>
      failures < FAILURES_MIN
        ? []
        : [
            [
              'outside_failing',
              `The ping to the outside fails: ${reason}. Nobody outside knows that this machine runs`,
            ],
          ],
    status: () => ({ configured: target !== null, lastOkAtMs, reason }),
  }
}
