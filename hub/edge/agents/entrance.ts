/** Builds the agents' entrance: one socket for each session; requests and frames use the same operations. */
import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Guard } from '../../guard/guard.ts'
import type { Upstream } from '../../protocol/egress/upstreams.ts'
import { stopForSecurity, WARNING_LASTS_MS } from '../../work/dispatch/security-stop.ts'
import { pingMsOf, pollMsOf } from '../../work/dispatch/vitals.ts'
import { createHooks, type Hook, type Hooks } from '../../work/messages/hooks.ts'
import type { Secrets } from '../../work/sandbox/secrets.ts'
import type { Work } from '../../work/work.ts'
import { createFrameHooks } from './frames/acts.ts'
import { type AgentFrames, createAgentFrames } from './frames/frames.ts'
import { createHello } from './frames/hello.ts'
import { createSend, type Send, tracedSend } from './messages.ts'
import { failingTurns } from './refused-turns.ts'
import { type AgentAuth, createAgentAuth } from './requests.ts'
import { type AgentRoutes, createAgentRoutes } from './routes.ts'
import { createAgentSockets } from './socket.ts'

interface EntranceOptions {
  instance: string
  hooks: readonly Hook[]
  artifactBytesMax: number
  upstreams: readonly Upstream[]
}
interface Outer {
  clock: Clock
  random: Random
  log: Log
  guard: Guard
  work: Pick<Work, 'catalogue' | 'containment' | 'money' | 'messaging' | 'meters' | 'supervision' | 'tasks'>
  secrets: Secrets
}
/** What requests and frames have in common. */
interface Shared {
  auth: AgentAuth
  send: Send
  hooks: Hooks | undefined
  endForSecurity: (session: string, detail: string) => void
}

export function createAgentEntrance(options: EntranceOptions, outer: Outer) {
  const { clock, log, guard, work } = outer
  const { gate, tokens } = guard
  const { tasks } = work
  const { quotas } = work.messaging
  const { vitals } = work.supervision

  function endForSecurity(session: string, detail: string): void {
    log.error({ session, detail }, 'a session is stopped for security')
    stopForSecurity({ guard, tasks, late: work.catalogue.late }, session, detail)
  }
  const auth = createAgentAuth({
    ...{ tasks, tokens, gate, clock },
    heard: (session) => vitals.heard(session),
    heldBackMs: guard.host.pace.heldBackMs,
    isLate: work.catalogue.late.isOpen,
    handInMs: work.catalogue.late.handInMs,
    onForeignToken: (session) => endForSecurity(session, 'the token of another session came in on its socket'),
  })
  const all = createSend({
    gate,
    router: work.messaging.router,
    targets: work.messaging.targets,
    delegation: work.messaging.delegation,
    permits: work.messaging.permits,
    outcomes: work.messaging.outcomes,
    isAsked: guard.approvals.isAsked,
    acted: vitals.acted,
    meter: work.meters.messages,
    random: outer.random,
  })
  const plain = failingTurns(all, { gate, turns: work.messaging.turns, log })
  const { traces } = work.supervision
  const send = traces === undefined ? plain : tracedSend(plain, traces)
  const shared: Shared = { auth, send, hooks: createHooks(options.hooks, { clock, log }), endForSecurity }
  const frames = framesOf(outer, shared)
  const agents = createAgentSockets(
    {},
    {
      ...{ auth, frames, clock, log },
      routes: routesOf(options, outer, shared),
      sockets: work.containment.sockets,
      quotas: {
        take: (session) => quotas.take(session, tasks.session(session)?.agent ?? ''),
        takeUpkeep: quotas.takeUpkeep,
      },
    },
  )

  return {
    agents,
    frames,
    /** Records the refusals that were counted, and ends sessions that keep repeating what is refused (T47). */
    sumRefusals() {
      gate.sumRefusals()
      gate.sumAdmitted()
      for (const { session, agent, refused } of guard.refusals.noisy()) {
        const text = `Session ${session} of agent ${agent} was refused ${refused} times within a minute. See \`hub audit list\` for what was refused. If this goes on, the hub stops the session.`
        guard.alerts.raise(`refused_often:${agent}`, 'warning', text, WARNING_LASTS_MS)
      }
      for (const { session, why } of guard.refusals.excessive()) endForSecurity(session, why)
    },
  }
}

function routesOf(options: EntranceOptions, outer: Outer, shared: Shared): AgentRoutes {
  const { clock, guard, work, secrets } = outer
  const { gate, tokens, nonces } = guard
  const { tasks } = work
  const { sessionCards: cards, artifacts, transcripts } = work.catalogue
  const { mailboxes, topics } = work.messaging
  const { vitals, traces } = work.supervision
  const { auth, send, hooks, endForSecurity } = shared
  return createAgentRoutes({
    ...{ gate, auth, tokens, nonces, clock, tasks, cards, mailboxes, topics, artifacts, transcripts, secrets, send },
    hooks,
    instance: options.instance,
    budgetLeft: work.money.leftOf,
    artifactBytesMax: () => options.artifactBytesMax,
    upstreams: () => options.upstreams,
    traces,
    isClockAhead: guard.host.steady.isAhead,
    pollMs: (session) => pollMsOf(vitals.spansOf(session)),
    listens: (session) => vitals.heard(session, true),
    onSecondKey: (session) => endForSecurity(session, 'a second key tried to join on its socket'),
  })
}

function framesOf(outer: Outer, shared: Shared): AgentFrames {
  const { clock, random, log, guard, work } = outer
  const { gate, tokens } = guard
  const { tasks } = work
  const { mailboxes, quotas } = work.messaging
  const { vitals } = work.supervision
  const { auth, send, hooks, endForSecurity } = shared
  return createAgentFrames({
    ...{ gate, send, mailboxes, clock, random, log },
    hello: createHello({ gate, tokens, tasks }),
    hooks: hooks && createFrameHooks(hooks),
    takeQuota(session, agent) {
      vitals.heard(session)
      quotas.take(session, agent)
    },
    pingMs: (session) => pingMsOf(vitals.spansOf(session)),
    heard: (session) => vitals.heard(session, true),
    refuse: (session, error, caller) => auth.refuse(session, 'session.open', error, caller),
    count: (session, error, caller) => auth.count(session, 'session.open', error, caller),
    onStrikes: (session) => endForSecurity(session, 'it sent three broken frames'),
  })
}
