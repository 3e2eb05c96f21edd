/** Builds what concerns the operator: the watchdog's lease, open questions, feature flags, the contact's card, and stops that wait. */
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Redaction } from '../base/redaction.ts'
import type { Log } from '../base/telemetry.ts'
import type { TierLimits } from '../protocol/approval.ts'
import type { Profile } from '../protocol/flags.ts'
import type { Store } from '../store/database.ts'
import type { Meta } from '../store/meta.ts'
import type { Alerts } from './alerts/alerts.ts'
import type { Events } from './events.ts'
import type { Times } from './host.ts'
import type { Modes } from './modes.ts'
import { approvalFeed } from './operator/approval-feed.ts'
import { createApprovals } from './operator/approvals.ts'
import { createContact } from './operator/contact.ts'
import { createFlags } from './operator/flags.ts'
import { createLease } from './operator/lease.ts'
import { createStopWishes } from './operator/stop-wishes.ts'
import type { Policy } from './policy/bundle.ts'

const WISHES_DONE = 'stop_wishes_done'

interface OperatorParts {
  clock: Clock
  times: Times
  random: Random
  log: Log
  store: Store
  meta: Meta
  modes: Modes
  alerts: Alerts
  events: Events
  redaction: Redaction
  /** The rules in force. */
  ruling: { policy: Pick<Policy, 'active'> }
}

export function createOperator(
  options: { home: string; instance: string; watchdogKey: Buffer; profile: Profile; waits: TierLimits | undefined },
  parts: OperatorParts,
) {
  const { home, instance, watchdogKey, profile } = options
  const { clock, times, random, log, store, meta, modes, alerts, events, ruling } = parts
  const { workClock } = times
  const lease = createLease({ key: watchdogKey, instance, modes, meta, clock, look: times.pace.look })
  times.pace.onResume(lease.slept)
  const approvals = createApprovals({
    ...{ store, clock, steady: times.steady, random, alerts, limits: options.waits },
    ...{ workedMs: workClock.now, revision: () => ruling.policy.active().revision, redaction: parts.redaction },
  })
  approvals.listen(approvalFeed(events))
  const kept = createStopWishes({ home, doneUpTo: Number(meta.get(WISHES_DONE) ?? 0) })
  return {
    lease,
    workClock,
    approvals,
    flags: createFlags({ profile }, { store, meta, clock, log, steadyMs: times.steady.wallMs, alerts, events }),
    contact: createContact({ store, clock: times.steady, random }),
    /** For the gate: stops that wait for a store that can be written. */
    wishes: {
      kept,
      nowMs: clock.wallMs,
      done: (serial: number) => meta.set(WISHES_DONE, String(serial)),
    },
  }
}
