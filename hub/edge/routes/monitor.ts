/**
 * `monitor.alert` (S1-77): a runtime monitor outside posts alerts in Alertmanager's form, with a token that lists `session.stop` and nothing
 * else. Each session that a critical one names is recycled like one that shows no life, which counts for the breaker. A post that comes again
 * finds the session ended, and does nothing.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Alerts } from '../../guard/alerts/alerts.ts'
import type { Flags } from '../../guard/operator/flags.ts'
import { ownerText, type Principal } from '../../guard/principal.ts'
import { judgeAlerts, type MonitorVerdict } from '../../protocol/monitor.ts'
import type { MonitorPost } from '../../protocol/operations.ts'
import type { Losses } from '../../work/dispatch/losses.ts'
import type { Quarantine } from '../../work/dispatch/quarantine.ts'
import { WARNING_LASTS_MS } from '../../work/dispatch/security-stop.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'
import { type Handlers, handler } from '../serve.ts'

/** Posts of one token: so many at once, and then one more each second. Alertmanager itself repeats after minutes. */
const POSTS_AT_ONCE = 20
const POST_EVERY_MS = 1000
const POSTERS_MAX = 256
const NAMED_MAX = 16

/** Throws `rate_limited`. */
function createPace(clock: Pick<Clock, 'monotonicMs'>) {
  /** By token: the instant up to which its posts are paid for. */
  const paidTo = new Map<string, number>()
  return (principal: Principal): void => {
    const nowMs = clock.monotonicMs()
    const poster = ownerText(principal)
    const from = Math.max(paidTo.get(poster) ?? 0, nowMs)
    const waitMs = from - nowMs - (POSTS_AT_ONCE - 1) * POST_EVERY_MS
    if (waitMs > 0)
      throw new HubError(
        'rate_limited',
        `a runtime monitor may post ${POSTS_AT_ONCE} times at once, then once a second`,
        {
          facts: { retryAfterMs: Math.ceil(waitMs) },
        },
      )
    if (paidTo.size >= POSTERS_MAX) for (const [each, to] of paidTo) if (to <= nowMs) paidTo.delete(each)
    paidTo.set(poster, from + POST_EVERY_MS)
  }
}

/** What a post came to, in one line. */
function effectOf(verdicts: readonly MonitorVerdict[]): string {
  const recycled = verdicts.filter(({ outcome }) => outcome === 'recycled').map(({ session }) => session)
  const more = recycled.length > NAMED_MAX ? ` and ${recycled.length - NAMED_MAX} more` : ''
  const counts = new Map<string, number>()
  for (const { outcome } of verdicts) if (outcome !== 'recycled') counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
  const others = [...counts].map(([outcome, count]) => `${outcome} ${count}`)
  return [
    recycled.length === 0 ? 'nothing done' : `to be recycled: ${recycled.slice(0, NAMED_MAX).join(' ')}${more}`,
    ...others,
  ].join('; ')
}

export function monitorHandlers(parts: {
  clock: Clock
  flags: Flags
  alerts: Pick<Alerts, 'event'>
  tasks: Pick<Tasks, 'session'>
  losses: Pick<Losses, 'isLive' | 'reported'>
  quarantine: Pick<Quarantine, 'examine'>
  /** Ends its fast session at once. */
  cutFrames: (session: string) => void
}): Handlers {
  const { clock, flags, alerts, tasks, losses, quarantine, cutFrames } = parts
  const take = createPace(clock)
  const stateOf = (session: string) =>
    tasks.session(session) === undefined ? 'unknown' : losses.isLive(session) ? 'live' : 'ended'

  function recycle({ alert, session }: MonitorVerdict): void {
    if (session === null) return
    const name = alert === '' ? 'an alert without a name' : alert
    losses.reported(session, `a runtime monitor reported it: ${name}`)
    cutFrames(session)
    // Its container is not removed before that (S1-66).
    quarantine.examine(session)
    const { agent = 'unknown' } = tasks.session(session) ?? {}
    // Each is about another session: the first of them must not silence the others.
    alerts.event(
      `session_reported:${agent}`,
      'warning',
      `A runtime monitor reported session ${session} of agent ${agent}: ${name}. It was recycled. Evidence: \`hub session evidence ${session}\``,
      WARNING_LASTS_MS,
    )
  }

  return {
    'monitor.alert': handler({
      resource: () => 'monitor',
      effect: (_grant, post: MonitorPost, { principal }) => {
        const off = flags.whyOff('monitor')
        if (off !== '') throw new HubError('flag_off', `no runtime monitor is listened to: ${off}`)
        take(principal)
        const results = judgeAlerts(post, stateOf)
        return { results, auditEffect: effectOf(results) }
      },
      // Each recycled session is a record of its own. If one cannot be written, the monitor hears so and posts again.
      after: ({ results }) => {
        for (const verdict of results) if (verdict.outcome === 'recycled') recycle(verdict)
        return { results }
      },
    }),
  }
}
