/** A handler for each operation on work: tasks, sessions, agents, artifacts, questions. */
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Guard } from '../guard/guard.ts'
import type { Secrets } from '../work/sandbox/secrets.ts'
import type { Work } from '../work/work.ts'
import { agentHandlers } from './routes/agents.ts'
import { approvalHandlers } from './routes/approvals.ts'
import { artifactHandlers } from './routes/artifacts.ts'
import { monitorHandlers } from './routes/monitor.ts'
import { policyHandlers } from './routes/policy.ts'
import { quarantineHandlers } from './routes/quarantine.ts'
import { sessionHandlers } from './routes/sessions.ts'
import { taskHandlers } from './routes/tasks.ts'
import { turnHandlers } from './routes/turns.ts'
import type { Handlers } from './serve.ts'

export interface WorkHandlerParts {
  clock: Clock
  random: Random
  guard: Guard
  work: Work
  secrets: Pick<Secrets, 'faultOf'>
  /** Ends the fast session of one session at once. */
  cutFrames: (session: string) => void
}

export function workHandlers(parts: WorkHandlerParts): Handlers {
  const { clock, guard, work, secrets, cutFrames } = parts
  const { approvals, denyList, policy, rules, policyChanges, decisions, decisionReader, store } = guard
  const { tasks, asking, losses } = work
  const { registry, artifacts, transcripts, journal, late } = work.catalogue
  const { mailboxes, turns } = work.messaging
  const { vitals, dispatcher, reaper, hardening } = work.supervision
  const { quarantine, evidence, audit } = work.distrust
  return {
    ...taskHandlers({
      ...{ tasks, turns, artifacts, transcripts, late, journal, mailboxes, vitals, dispatcher, clock, asking },
      costOf: work.money.costOf,
    }),
    ...sessionHandlers({
      ...{ tasks, turns, artifacts, late, mailboxes, vitals, clock, hardening, denyList, quarantine, cutFrames },
      containerLogs: work.containerLogs,
    }),
    ...turnHandlers({ tasks, turns, random: parts.random, nowMs: clock.wallMs }),
    ...agentHandlers({
      ...{ registry, tasks, secrets, onChanged: decisions.forget },
      rowOf(agent) {
        const rows = policy.active().data?.agents ?? {}
        return Object.hasOwn(rows, agent) ? rows[agent] : undefined
      },
    }),
    ...policyHandlers({
      ...{
        registry,
        policy,
        rules,
        changes: policyChanges,
        made: decisionReader,
        decideAgain: work.messaging.decideAgain,
      },
      onChanged: decisions.forget,
    }),
    ...approvalHandlers({ approvals, tasks, settleApproval: work.settleApproval }),
    ...artifactHandlers({ artifacts }),
    ...monitorHandlers({ clock, flags: guard.flags, alerts: guard.alerts, tasks, losses, quarantine, cutFrames }),
    ...quarantineHandlers({
      ...{ store, tasks, reaper, quarantine, evidence, cutFrames, audit },
      containers: work.containment.containers,
    }),
  }
}
