/** Builds the agents' entrance: one socket for each session, requests and frames over the same operations. */
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import { createAgentFrames } from '../edge/agent-frames.ts'
import { createHello } from '../edge/agent-hello.ts'
import { createAgentAuth } from '../edge/agent-requests.ts'
import { createAgentRoutes } from '../edge/agent-routes.ts'
import { createAgentSockets } from '../edge/agent-socket.ts'
import { createFrameHooks } from '../edge/frame-hooks.ts'
import { createSend } from '../edge/routes/messages.ts'
import { type HealthSpans, pingMsOf, pollMsOf } from '../work/dispatch/vitals-rule.ts'
import { createHooks, type Hook } from '../work/messages/hooks.ts'
import type { Secrets } from '../work/sandbox/secrets.ts'
import type { Guard } from './guard.ts'
import { stopForSecurity, WARNING_LASTS_MS } from './security-stop.ts'
import type { Work } from './work.ts'

export function createAgentEntrance(
  options: { instance: string; hooks: readonly Hook[]; artifactBytesMax: number; health: HealthSpans },
  outer: { clock: Clock; random: Random; log: Log; guard: Guard; work: Work; secrets: Secrets },
) {
  const { instance, artifactBytesMax } = options
  const { clock, log, guard, work, secrets } = outer
  const { gate, tokens, nonces } = guard
  const { tasks, registry, mailboxes, artifacts, quotas, vitals } = work

  const hooks = createHooks(options.hooks, { clock, log })
  const { watch, steady } = guard.footing
  const heard = (session: string) => vitals.heard(session)
  const auth = createAgentAuth({
    tasks,
    tokens,
    gate,
    clock,
    heard,
    heldBackMs: watch.pace.heldBackMs,
    onForeignToken: (session) => endForSecurity(session, 'the token of another session came in on its socket'),
  })
  const send = createSend({
    gate,
    router: work.router,
    targets: work.targets,
    delegation: work.delegation,
    outcomes: work.outcomes,
    acted: vitals.acted,
  })
  const listens = (session: string) => vitals.heard(session, true)
  function endForSecurity(session: string, detail: string): void {
    log.error({ session, detail }, 'a session is stopped for security')
    stopForSecurity({ guard, tasks }, session, detail)
  }
  const routes = createAgentRoutes({
    gate,
    auth,
    tokens,
    nonces,
    clock,
    tasks,
    registry,
    mailboxes,
    topics: work.topics,
    artifacts,
    secrets,
    send,
    hooks,
    instance,
    artifactBytesMax,
    isClockAhead: steady.isAhead,
    pollMs: pollMsOf(options.health),
    listens,
    onSecondKey: (session) => endForSecurity(session, 'a second key tried to join on its socket'),
  })
  const frames = createAgentFrames({
    gate,
    hello: createHello({ gate, tokens, tasks }),
    send,
    hooks: hooks && createFrameHooks(hooks),
    mailboxes,
    takeQuota(session, agent) {
      vitals.heard(session)
      quotas.take(session, agent)
    },
    pingMs: pingMsOf(options.health),
    heard: listens,
    clock,
    random: outer.random,
    log,
    refuse: (session, error, caller) => auth.refuse(session, 'session.open', error, caller),
    count: (session, error, caller) => auth.count(session, 'session.open', error, caller),
    onStrikes: (session) => endForSecurity(session, 'three broken frames on its session'),
  })
  const agents = createAgentSockets(
    {},
    {
      auth,
      routes,
      sockets: work.sockets,
      quotas: {
        take: (session) => quotas.take(session, tasks.session(session)?.agent ?? ''),
        takeUpkeep: quotas.takeUpkeep,
      },
      frames,
      clock,
      log,
    },
  )

  return {
    agents,
    frames,
    /** Records what refusals were counted, and ends sessions that go on and on with what they are refused (T47). */
    sumRefusals() {
      gate.sumRefusals()
      gate.sumAdmitted()
      for (const { session, agent, refused } of guard.refusals.noisy()) {
        const text = `Session ${session} of agent ${agent} was refused ${refused} times within a minute. See \`hub audit list\` for what; it is stopped where it goes on.`
        guard.alerts.raise(`refused_often:${agent}`, 'warning', text, WARNING_LASTS_MS)
      }
      for (const { session, why } of guard.refusals.excessive()) endForSecurity(session, why)
    },
  }
}
