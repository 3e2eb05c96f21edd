/**
 * The dispatch loop: pick task and agent, ask the gate (which may narrow), write attempt and session, call the launcher.
 *
 * D1. The row comes first: the session is in the store before anything is created, so a crash in between loses nothing.
 * D2. Authority is the intersection of card, chain and policy. It is fixed here for the life of the session (T42).
 * D3. A task waits until the session of its earlier attempt is confirmed gone: it never runs twice at once (I3).
 * D4. Each session has a user that no other session holds, until its container is confirmed gone (fault F14).
 * D5. The rules are asked which agent may have a task each time a session of it begins, however the task came and whatever was asked
 *     before: they may have changed (T23). A delegated task begins below the session that delegated it, or not at all.
 * D6. Where they ask, the task waits in the queue for a person, uncounted, and holds up no other. With a yes exactly that start is admitted
 *     once: this task, agent, card, image and inputs under these rules. If any of them changed, the task is asked about anew.
 * D7. A session has every relaxation that its card names, or does not begin: a program that was built for one fails without it, and nobody
 *     could tell why.
 */
import { digestOf } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import { newSessionId, type Random } from '../../base/random.ts'
import type { Call, Gate } from '../../guard/gate.ts'
import type { Grant } from '../../guard/grant.ts'
import { type Modes, permits } from '../../guard/modes.ts'
import type { AskedDispatch } from '../../guard/operator/approval-rows.ts'
import { askedText, recordEffect } from '../../guard/operator/approval-words.ts'
import type { Approvals } from '../../guard/operator/approvals.ts'
import type { Flags } from '../../guard/operator/flags.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import { lackingIn, relaxFact, relaxOf } from '../../protocol/relax.ts'
import { taskFault } from '../../protocol/wishes.ts'
import type { Meta } from '../../store/meta.ts'
import type { Agent, Registry } from '../registry.ts'
import { containerNameOf } from '../sandbox/profile.ts'
import { nextUser } from '../sandbox/users.ts'
import type { SessionCards } from '../session-cards.ts'
import type { TaskTraces } from '../traces.ts'
import { applyNarrowing, egressFact, narrowAuthority, rootAuthority } from './authority.ts'
import { expiryAfter, leftMs, mostLeftMs, waitFor } from './expiry.ts'
import { labelFact, originOf } from './origin.ts'
import { SERVICES } from './queue-rows.ts'
import { type SessionRow, type TaskRow, unreadableError } from './rows.ts'
import type { RuntimeGate } from './runtime.ts'
import { type AgentSlot, planNext, whyWaits } from './slots.ts'
import type { Tasks } from './tasks.ts'
import { isStep } from './tree-rows.ts'

const DISPATCHER = hubPrincipal('dispatcher')

export interface DispatcherOptions {
  instance: string
  /** The first id of the range of sessions' users. */
  firstUser: number
  /** Sessions at once: of all agents, and of one. These and the following may change while the hub runs. */
  sessions: number
  sessionsPerAgent: number
  delegationDepth: number
  tasksPerTree: number
  /** How long questions may stop a session's clock in all. */
  questionWaitMs: number
}

export interface Dispatcher {
  /** Tasks of people and agents that could start if there were room. The watchdog's throughput check looks at this. */
  waiting(): number
  /** One round: starts all that may start now. */
  round(): void
  /** Why this queued task cannot start even if others end (slots.ts). Empty if it only waits for room or for a word. */
  whyWaits(task: TaskRow): string
}

/** In whole seconds, so the rules see few values and decisions can be remembered. Always rounded down. */
const quantised = (ms: number) => Math.max(1000, Math.floor(ms / 1000) * 1000)

export function createDispatcher(
  options: DispatcherOptions,
  parts: {
    clock: Clock
    random: Random
    gate: Gate
    modes: Modes
    meta: Meta
    tasks: Tasks
    registry: Registry
    cards: Pick<SessionCards, 'keep'>
    /** Starts that wait for a person, or were approved. */
    approvals: Pick<Approvals, 'dispatches' | 'isStill' | 'stamp' | 'supersede' | 'openOfTask'>
    launch: (session: SessionRow) => void
    runtimeGate: Pick<RuntimeGate, 'fault' | 'hold'>
    flags: Pick<Flags, 'isOn' | 'whyOff'>
    /** Undefined where nobody keeps traces. */
    traces: Pick<TaskTraces, 'placeOf' | 'tracer'> | undefined
  },
): Dispatcher {
  const { clock, random, gate, modes, meta, tasks, registry, cards, approvals, launch, runtimeGate, flags } = parts
  const { traces } = parts

  /** The agents that the rules let the hub choose for tasks that name none, as last asked. */
  let lastAmong = new Map<string, readonly string[]>()

  const slotOf =
    (open: readonly SessionRow[]) =>
    (agent: Agent): AgentSlot => ({
      name: agent.card.name,
      capabilities: agent.card.capabilities,
      sensitivity: agent.card.sensitivity,
      ready:
        agent.state === 'registered' &&
        agent.imageId !== undefined &&
        agent.barred === '' &&
        agent.doubt === undefined &&
        runtimeGate.fault() === undefined,
      isService: agent.card.mode === 'service',
      program: agent.card,
      sessionsMax: agent.card.limits.sessions ?? options.sessionsPerAgent,
      sessions: open.filter((session) => session.agent === agent.card.name).length,
    })

  /** The start of a task with this agent as the gate is asked about it, and what its session would be. */
  function planOf(task: TaskRow, agent: Agent, mustAsk?: Call['mustAsk']) {
    const { card, limits } = agent
    const above = sessionAbove(task)
    const aboveMs = above === undefined ? limits.ttlMs : Math.max(1, leftMs(above, clock))
    const wish = rootAuthority(
      card,
      Math.min(limits.ttlMs, task.ttlMs ?? limits.ttlMs, aboveMs),
      options.delegationDepth,
      options.tasksPerTree,
    )
    const authority = task.ceiling === null ? wish : narrowAuthority(wish, { ...task.ceiling, ttlMs: aboveMs })
    const facts = {
      agent: card.name,
      origin: originOf(task),
      owner: task.requestedBy === 'operator',
      ...labelFact(task),
      depth: task.depth,
      wanted: {
        ...{ capabilities: wish.capabilities, ttlMs: quantised(authority.ttlMs) },
        ...{ ...egressFact(authority), ...relaxFact(wish.relax) },
        ...(card.transcripts === true ? { transcripts: true } : {}),
      },
      ceiling: {
        ...{ capabilities: task.ceiling?.capabilities ?? null, ttlMs: quantised(authority.ttlMs) },
        // Also where it holds none: less than the card asks for is a refusal (D7).
        ...(task.ceiling !== null && wish.relax !== undefined ? { relax: task.ceiling.relax ?? [] } : {}),
      },
    }
    const act = () => ({
      // How much time its parent has left is no part of the act: it only gets less.
      facts: {
        ...facts,
        wanted: { ...facts.wanted, ttlMs: above === undefined ? facts.wanted.ttlMs : null },
        ceiling: facts.ceiling.capabilities,
      },
      bound: {
        agent: card.name,
        card: digestOf('hub-card-v1', card),
        image: agent.imageId ?? null,
        inputs: digestOf('hub-inputs-v1', { inputs: task.inputs, params: task.params }),
      },
    })
    const call: Call = { principal: DISPATCHER, operation: 'task.dispatch', resource: `task:${task.id}`, facts, act }
    return { call: mustAsk === undefined ? call : { ...call, mustAsk }, authority, above }
  }

  function dispatch(task: TaskRow, agent: Agent, mustAsk: Call['mustAsk']): void {
    const { card, imageId } = agent
    const startedWith = registry.startsWith(card.name)
    if (imageId === undefined || startedWith === undefined) return
    // Its card may have changed since the task was asked for: what has no place any more is not left out without a word.
    const unsaid = taskFault(card, task)
    if (unsaid !== undefined) throw new HubError('schema_invalid', unsaid)
    const { call, authority, above } = planOf(task, agent, mustAsk)
    const admit = <Result>(work: () => Result): Result =>
      traces === undefined ? work() : traces.tracer.within(traces.placeOf(task.id), work)
    const start = (grant: Grant) => {
      const id = newSessionId(random)
      const narrowed = applyNarrowing(authority, grant.narrow)
      const lacking = lackingIn(relaxOf(card), narrowed.relax)
      if (lacking.length > 0)
        throw new HubError('policy_denied', `the rules did not grant relax ${lacking.join(', ')} to agent ${card.name}`)
      const uid = nextUser(options.firstUser, tasks.usersHeld(), tasks.userLast())
      // Like all slots being taken: the task waits.
      if (uid === undefined) throw new HubError('conflict', 'all users for sessions are taken')
      meta.set('dispatched_total', String(Number(meta.get('dispatched_total') ?? 0) + 1))
      cards.keep(grant, id, startedWith)
      return tasks.assign(grant, task.id, {
        session: id,
        agent: card.name,
        containerName: containerNameOf(options.instance, id),
        imageId,
        uid,
        authority: narrowed,
        expiresAtMs: clock.wallMs() + narrowed.ttlMs,
        expiresBoot: expiryAfter(clock, narrowed.ttlMs),
        waitLeftMs: waitFor({
          waitMs: options.questionWaitMs,
          ttlMs: narrowed.ttlMs,
          aboveMs: above === undefined ? Number.POSITIVE_INFINITY : mostLeftMs(above, clock),
        }),
      })
    }
    launch(admit(() => gate.admit(call, start)))
  }

  /** Rules and cards by which every waiting start was last compared with what was asked about. */
  let comparedBy: string | undefined
  /** Starts that may not be as they were asked about any more are asked about anew. Answers those with a yes, by task. */
  function approvedStarts(): Map<string, AskedDispatch> {
    const waiting = approvals.dispatches()
    const now =
      waiting.length === 0
        ? undefined
        : approvals.stamp(registry.list().map(({ card, imageId }) => [card, imageId ?? null]))
    const isNew = now !== comparedBy
    comparedBy = now
    const approved = new Map<string, AskedDispatch>()
    for (const one of waiting) {
      if (one.task === null) continue
      if (isNew && !isStill(one, one.task)) supersede(one)
      else if (one.state === 'approved') approved.set(one.task, one)
    }
    return approved
  }
  function isStill(one: AskedDispatch, id: string): boolean {
    const [task, agent] = [tasks.task(id), registry.find(one.agent ?? '')]
    // What is over ends by itself (guard/operator/approvals.ts).
    if (task?.state !== 'queued') return true
    return agent !== undefined && approvals.isStill(one, planOf(task, agent).call)
  }

  function supersede(one: AskedDispatch): void {
    const { id } = one
    gate.admit({ principal: DISPATCHER, operation: 'approval.expire', resource: `approval:${id}` }, (grant) => {
      approvals.supersede(grant, id)
      return { auditEffect: recordEffect(one) }
    })
  }

  return {
    waiting() {
      const isReady = (name: string | null) => name === null || registry.find(name)?.state === 'registered'
      return tasks.queued(clock.wallMs()).filter(({ agent, requestedBy }) => requestedBy !== SERVICES && isReady(agent))
        .length
    },
    round() {
      const mayStartAny = () =>
        permits(modes.current(), 'new_work') && runtimeGate.hold() === undefined && flags.isOn('dispatch')
      const queued: (TaskRow & { among?: readonly string[]; mustAsk?: Call['mustAsk'] })[] = []
      const asked = createAsked()
      const among = new Map<string, readonly string[]>()
      const approved = approvedStarts()
      for (const task of tasks.queued(clock.wallMs())) {
        try {
          requireStartable(task)
          if (task.agent === null && mayStartAny()) {
            const { agents = [], asks } = asked(task)
            among.set(task.id, agents)
            // The yes was for one agent, also if another is less busy now.
            queued.push({ ...task, among: agents, mustAsk: asks, agent: approved.get(task.id)?.agent ?? null })
          } else queued.push(task)
        } catch (thrown) {
          if (!failed(task, thrown)) return
        }
      }
      if (mayStartAny()) lastAmong = among
      while (queued.length > 0 && mayStartAny()) {
        const open = tasks.sessionsOpen()
        // D3: until the container of the earlier attempt is gone, it may still work.
        const mayStart = queued.filter(({ id }) => !open.some(({ task }) => task === id))
        const plan = planNext(
          mayStart.map((task) => ({ ...task, agent: task.agent ?? undefined, createdAtMs: sinceMs(task) })),
          registry.list().map(slotOf(open)),
          open.length,
          { sessionsMax: options.sessions, depthMax: options.delegationDepth },
        )
        const at = queued.findIndex((task) => task.id === plan?.task)
        const [task] = at === -1 ? [] : queued.splice(at, 1)
        const agent = plan === undefined ? undefined : registry.find(plan.agent)
        if (task === undefined || agent === undefined) return
        try {
          dispatch(task, agent, task.mustAsk)
        } catch (thrown) {
          if (!failed(task, thrown)) return
        }
      }
    },
    whyWaits(task) {
      if (task.state !== 'queued' || task.held) return ''
      const paused = flags.whyOff('dispatch')
      if (paused !== '') return `nothing starts: ${paused}`
      const asked = approvals.openOfTask(task.id)
      return asked === undefined
        ? whyWaits(task, registry.list(), lastAmong.get(task.id), registry.whyUnloaded)
        : askedText(asked)
    },
  }

  function requireStartable(task: TaskRow): void {
    const { unreadable, parent } = task
    if (unreadable !== null) throw new HubError('unreadable', unreadableError(unreadable).detail)
    if (parent === null && task.parentSession === null) return
    if (isStep(task) && tasks.task(parent ?? '')?.kind !== 'run') throw new HubError('cancelled', 'its run is gone')
    if (isStep(task) && task.chain.length === 0) return
    const above = sessionAbove(task)
    if (above === undefined || tasks.peers({ id: above.id }).length === 0)
      throw new HubError('cancelled', "its parent's session has ended")
  }

  /** The session that waits for it: of a step, the one that waits for its run. */
  function sessionAbove(task: TaskRow): SessionRow | undefined {
    let row: TaskRow | undefined = task
    while (row !== undefined && row.parentSession === null)
      row = row.parent === null ? undefined : tasks.task(row.parent)
    return typeof row?.parentSession === 'string' ? tasks.session(row.parentSession) : undefined
  }

  /** A step is as old as its run, as the queue has it. */
  function sinceMs(task: TaskRow): number {
    const run = isStep(task) ? tasks.task(task.parent ?? '') : undefined
    return (run ?? task).createdAtMs
  }

  /** Asks the rules which agents the hub may choose if a task names none: once a round for tasks of one kind. Throws their refusal. */
  function createAsked() {
    const known = new Map<string, ReturnType<Gate['foresee']>>()
    return (task: TaskRow): ReturnType<Gate['foresee']> => {
      const facts = { agent: null, needs: task.needs, origin: originOf(task), ...labelFact(task) }
      const key = JSON.stringify(facts)
      const call = { principal: DISPATCHER, operation: 'task.dispatch', resource: `task:${task.id}`, facts } as const
      const answer = known.get(key) ?? gate.foresee(call, true)
      known.set(key, answer)
      return answer
    }
  }

  /** Ends the task with the reason why it could not start. False if nothing can start now; then it waits. */
  function failed(task: TaskRow, thrown: unknown): boolean {
    const { code, message } = toHubError(thrown)
    if (code.startsWith('mode_') || code === 'conflict' || code === 'store_unavailable') return false
    // It waits for a person, and the others go on.
    if (code === 'needs_approval') return true
    fail(task, { code, detail: message })
    return true
  }

  function fail(task: TaskRow, error: { code: string; detail: string }): void {
    gate.admit({ principal: DISPATCHER, operation: 'task.settle', resource: `task:${task.id}` }, (grant) =>
      tasks.failed(grant, task.id, error),
    )
  }
}
