/**
 * The dispatch loop: pick task and agent, ask the gate (which may narrow), write attempt and session, hand over to the launcher.
 *
 * D1. A row first: the session stands in the store before anything is created, so a crash in between loses nothing.
 * D2. Authority is the intersection of card, chain and policy, fixed here for the life of the session (T42).
 * D3. A task waits while a session of an earlier attempt has not been confirmed gone: it never runs twice at once (I3).
 * D4. Each session has a user that no other session holds, until its container is confirmed gone (fault F14).
 */
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import { newSessionId, type Random } from '../../base/random.ts'
import type { Gate } from '../../guard/gate.ts'
import type { Grant } from '../../guard/grant.ts'
import { type Modes, permits } from '../../guard/modes.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { SubmitRequest } from '../../protocol/operations.ts'
import type { Meta } from '../../store/meta.ts'
import type { Agent, Registry } from '../registry.ts'
import { containerNameOf } from '../sandbox/profile.ts'
import { nextUser } from '../sandbox/users.ts'
import { applyNarrowing, narrowAuthority, rootAuthority } from './authority.ts'
import { expiryAfter, leftMs, mostLeftMs, waitFor } from './expiry.ts'
import { SERVICES, type SessionRow, type TaskRow, unreadableError } from './rows.ts'
import { type AgentSlot, canServe, planNext } from './slots.ts'
import { requireSpan } from './span-check.ts'
import type { Tasks } from './tasks.ts'

const DISPATCHER = hubPrincipal('dispatcher')

export interface DispatcherOptions {
  instance: string
  /** Where the range of sessions' users begins. */
  firstUser: number
  sessionsMax: number
  depthMax: number
  tasksPerTreeMax: number
  sessionsPerAgentMax: number
  /** How long questions of a session may stop its clock in all. */
  questionWaitMs: number
}

export interface Dispatcher {
  /** The effect of `task.submit`. Throws `unknown_agent`, `no_capable_agent`, `agent_unhealthy`, `image_missing` at once. */
  submit(grant: Grant, request: SubmitRequest, key: string | undefined): TaskRow
  /** Tasks of people and agents that could start if there were room: what the watchdog's throughput check is about. */
  waiting(): number
  /** One round: starts all that may start now. */
  round(): void
}

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
    launch: (session: SessionRow) => void
    /** Why nothing may be started under the configured runtime. */
    runtimeFault: () => string | undefined
    /** The longest session that the rules' data gives an agent; undefined where it has no row, which the rules refuse. */
    grantedTtlMs: (agent: string) => number | undefined
    /** Why what is queued has to wait for the engine. */
    hold: () => string | undefined
  },
): Dispatcher {
  const { clock, random, gate, modes, meta, tasks, registry, launch, runtimeFault, hold } = parts

  function requireServable(request: SubmitRequest): void {
    if (request.agent !== undefined) {
      const agent = registry.find(request.agent)
      if (agent === undefined)
        throw new HubError('unknown_agent', `no agent is named ${request.agent}; see \`hub agent list\``)
      requireReady(agent)
      if (agent.card.mode === 'service')
        throw new HubError(
          'unsupported_mode',
          `agent ${request.agent} is a service: the hub keeps one session of it running; it takes messages, no tasks`,
        )
    }
    const capable = registry
      .list()
      .filter(({ card }) => canServe(request, { ...card, isService: card.mode === 'service' }))
    requireSpan(
      request,
      capable.map(({ card, limits }) => Math.min(limits.ttlMs, parts.grantedTtlMs(card.name) ?? limits.ttlMs)),
    )
    if (capable.length === 0)
      throw new HubError('no_capable_agent', `no agent has ${request.needs.join(', ') || 'been registered'}`)
  }

  function requireReady({ card, state, reason, imageId }: Agent): void {
    const fault = runtimeFault()
    if (fault !== undefined) throw new HubError('unsupported_mode', fault)
    if (state !== 'registered')
      throw new HubError('agent_unhealthy', `agent ${card.name} is ${state}${reason === '' ? '' : `: ${reason}`}`)
    if (imageId === undefined)
      throw new HubError(reason.endsWith('is missing') ? 'image_missing' : 'image_refused', reason)
  }

  const slotOf =
    (open: readonly SessionRow[]) =>
    (agent: Agent): AgentSlot => ({
      name: agent.card.name,
      capabilities: agent.card.capabilities,
      ready: agent.state === 'registered' && agent.imageId !== undefined && runtimeFault() === undefined,
      isService: agent.card.mode === 'service',
      sessionsMax: agent.card.limits.sessions ?? options.sessionsPerAgentMax,
      sessions: open.filter((session) => session.agent === agent.card.name).length,
    })

  function dispatch(task: TaskRow, agent: Agent): void {
    const { card, limits, imageId } = agent
    if (imageId === undefined) return
    const above = task.parentSession === null ? undefined : tasks.session(task.parentSession)
    const aboveMs = above === undefined ? limits.ttlMs : Math.max(1, leftMs(above, clock))
    const wish = rootAuthority(
      card,
      Math.min(limits.ttlMs, task.ttlMs ?? limits.ttlMs, aboveMs),
      options.depthMax,
      options.tasksPerTreeMax,
    )
    const authority = task.ceiling === null ? wish : narrowAuthority(wish, { ...task.ceiling, ttlMs: aboveMs })
    const facts = {
      agent: card.name,
      depth: task.depth,
      wanted: { capabilities: wish.capabilities, ttlMs: quantised(authority.ttlMs) },
      ceiling: { capabilities: task.ceiling?.capabilities ?? null, ttlMs: quantised(authority.ttlMs) },
    }
    const session = gate.admit(
      { principal: DISPATCHER, operation: 'task.dispatch', resource: `task:${task.id}`, facts },
      (grant) => {
        const id = newSessionId(random)
        const narrowed = applyNarrowing(authority, grant.narrow)
        const uid = nextUser(options.firstUser, tasks.usersHeld(), tasks.userLast())
        // As with every slot taken: it waits.
        if (uid === undefined) throw new HubError('conflict', 'every user of sessions is held')
        meta.set('dispatched_total', String(Number(meta.get('dispatched_total') ?? 0) + 1))
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
      },
    )
    launch(session)
  }

  return {
    submit(grant, request, key) {
      const known = key === undefined ? undefined : tasks.taskByKey(key)
      if (known !== undefined) return known
      requireServable(request)
      const { agent, needs, params, priority, hold, ttlMs } = request
      return tasks.insert(grant, {
        agent,
        needs,
        params,
        inputs: request.inputs ?? null,
        priority,
        hold,
        ttlMs,
        requestedBy: grant.principal.id,
        ...(key === undefined ? {} : { idempotencyKey: key }),
      })
    },

    waiting() {
      const isReady = (name: string | null) => name === null || registry.find(name)?.state === 'registered'
      return tasks.queued(clock.wallMs()).filter(({ agent, requestedBy }) => requestedBy !== SERVICES && isReady(agent))
        .length
    },
    round() {
      const queued: TaskRow[] = []
      for (const task of tasks.queued(clock.wallMs())) {
        if (task.unreadable === null) queued.push(task)
        else fail(task, unreadableError(task.unreadable))
      }
      while (queued.length > 0 && permits(modes.current(), 'new_work') && hold() === undefined) {
        const open = tasks.sessionsOpen()
        // D3: until the container of the attempt before is gone, nothing says that it no longer works.
        const mayStart = queued.filter(({ id }) => !open.some(({ task }) => task === id))
        const plan = planNext(
          mayStart.map((task) => ({ ...task, agent: task.agent ?? undefined })),
          registry.list().map(slotOf(open)),
          open.length,
          { sessionsMax: options.sessionsMax, depthMax: options.depthMax },
        )
        const at = queued.findIndex((task) => task.id === plan?.task)
        const [task] = at === -1 ? [] : queued.splice(at, 1)
        const agent = plan === undefined ? undefined : registry.find(plan.agent)
        if (task === undefined || agent === undefined) return
        try {
          dispatch(task, agent)
        } catch (thrown) {
          const error = toHubError(thrown)
          if (error.code.startsWith('mode_') || error.code === 'conflict' || error.code === 'store_unavailable') return
          fail(task, { code: error.code, detail: error.message })
        }
      }
    },
  }

  function fail(task: TaskRow, error: { code: string; detail: string }): void {
    gate.admit({ principal: DISPATCHER, operation: 'task.settle', resource: `task:${task.id}` }, (grant) =>
      tasks.failed(grant, task.id, error),
    )
  }
}

/** Seconds, so that the rules see few values and decisions can be remembered; only ever rounded down. */
const quantised = (ms: number) => Math.max(1000, Math.floor(ms / 1000) * 1000)
