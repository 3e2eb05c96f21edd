/**
 * What people ask for: a new task, or one tried again (S1-2). One room for both, so that no way gives more than submitting does.
 *
 * A1. Before the gate: what its rules look at. Which agent would run, who asks and through whom (origin.ts), and whose the inputs are.
 * A2. A task tried again is a new one, of whoever asks now, for the same agent. What a session handed on stays in its chain (fault F4): below
 *     that very session, under the same ceiling, counted in the same tree. Where the session has ended there is nothing to stay in.
 * A3. A key stands for one request of one principal, and makes one task (fault F7).
 */
import { sha256Hex } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { assertGrant, type Grant } from '../../guard/grant.ts'
import { type Principal, principalText } from '../../guard/principal.ts'
import type { FolderRef } from '../../protocol/envelope.ts'
import type { SubmitRequest } from '../../protocol/operations.ts'
import { type Artifacts, uploadsOf } from '../artifacts.ts'
import type { Agent, Registry } from '../registry.ts'
import { leftMs } from './expiry.ts'
import type { NewTask } from './new-task.ts'
import { FROM_PEOPLE, type Origin, originOf } from './origin.ts'
import { SERVICES, type TaskRow, unreadableError } from './rows.ts'
import { canServe } from './slots.ts'
import { requireSpan } from './span-check.ts'
import type { Tasks } from './tasks.ts'

/** What the rules see of a task that is asked for. */
export interface AskedFacts extends Record<string, unknown> {
  agent: string | null
  needs: readonly string[]
  origin: Origin
  /** `own`: this very principal put them. */
  inputs: 'none' | 'own' | 'others'
}

export interface Asking {
  submitFacts(principal: Principal, request: SubmitRequest): AskedFacts
  /** Of trying it again. Throws `unknown_task`, or `unreadable` for a row nobody can read. */
  retryFacts(principal: Principal, id: string): AskedFacts
  /** Of letting a held one go on: it stays whose it was. Throws as `retryFacts`. */
  releaseFacts(id: string): AskedFacts
  /**
   * The effect of `task.submit`. Throws `unknown_agent`, `no_capable_agent`, `agent_unhealthy`, `image_missing`, `unknown_artifact` at once, and
   * `conflict` for a key that stands for another request.
   */
  submit(grant: Grant, request: SubmitRequest, key: string | undefined): TaskRow
  /** The effect of `task.release`. Throws `no_capable_agent` where nobody it may have by now can serve it: it stays held, and waits for nobody. */
  release(grant: Grant, id: string): TaskRow
  /** The effect of `task.retry`. Throws `conflict` for one that cannot be tried again, and says why. */
  retry(grant: Grant, id: string, key: string | undefined): TaskRow
}

const AGAIN: ReadonlySet<string> = new Set(['failed', 'cancelled', 'timed_out'])

export function createAsking(
  options: { tasksPerTreeMax: number },
  parts: {
    clock: Clock
    tasks: Tasks
    registry: Registry
    artifacts: Artifacts
    /** Why nothing may be started under the configured runtime. */
    runtimeFault: () => string | undefined
    /** The longest session that the rules' data gives an agent; undefined where it has no row, which the rules refuse. */
    grantedTtlMs: (agent: string) => number | undefined
  },
): Asking {
  const { clock, tasks, registry, artifacts, runtimeFault, grantedTtlMs } = parts

  function theTask(id: string): TaskRow {
    const task = tasks.task(id)
    if (task === undefined) throw new HubError('unknown_task', `no task has the id ${id}`)
    if (task.error?.code === 'unreadable') throw new HubError('unreadable', task.error.detail)
    if (task.unreadable !== null) throw new HubError('unreadable', unreadableError(task.unreadable).detail)
    return task
  }

  function whose(principal: Principal, inputs: FolderRef | null | undefined): AskedFacts['inputs'] {
    if (inputs === null || inputs === undefined) return 'none'
    const owner = uploadsOf(principal)
    return [inputs.manifest, inputs.pack].every((digest) => artifacts.owns(owner, digest)) ? 'own' : 'others'
  }

  function requireInputs(inputs: FolderRef | null | undefined): void {
    for (const digest of inputs ? [inputs.manifest, inputs.pack] : []) {
      if (artifacts.find(digest) === undefined)
        throw new HubError('unknown_artifact', `inputs: ${digest} has not been put yet`)
    }
  }

  /** `among`: whom the rules let the hub choose, where no agent is named. */
  function requireServable(
    request: Pick<SubmitRequest, 'agent' | 'needs' | 'ttlMs'>,
    among: readonly string[] | undefined,
  ): void {
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
    const capable = requireCapable(request, among)
    requireSpan(
      request,
      capable.map(({ card, limits }) => Math.min(limits.ttlMs, grantedTtlMs(card.name) ?? limits.ttlMs)),
    )
  }

  function requireCapable(request: Pick<SubmitRequest, 'agent' | 'needs'>, among: readonly string[] = []): Agent[] {
    const capable = registry
      .list()
      .filter(({ card }) => canServe({ ...request, among }, { ...card, isService: card.mode === 'service' }))
    if (capable.length === 0)
      throw new HubError('no_capable_agent', `no agent that may take this task has ${request.needs.join(', ')}`)
    return capable
  }

  function requireReady({ card, state, reason, imageId }: Agent): void {
    const fault = runtimeFault()
    if (fault !== undefined) throw new HubError('unsupported_mode', fault)
    if (state !== 'registered')
      throw new HubError('agent_unhealthy', `agent ${card.name} is ${state}${reason === '' ? '' : `: ${reason}`}`)
    if (imageId === undefined)
      throw new HubError(reason.endsWith('is missing') ? 'image_missing' : 'image_refused', reason)
  }

  /** Where a task that a session handed on goes on: nowhere but below it. */
  function chainOf(task: TaskRow): NewTask['parent'] {
    const { parent, parentSession, chain, ceiling } = task
    if (parent === null && parentSession === null && chain.length === 0 && ceiling === null) return undefined
    const above = parent === null ? undefined : tasks.task(parent)
    const session = parentSession === null ? undefined : tasks.session(parentSession)
    if (
      above === undefined ||
      session === undefined ||
      ceiling === null ||
      tasks.peers({ id: session.id }).length === 0
    )
      throw new HubError(
        'conflict',
        `agent ${chain.at(-1) ?? 'unknown'} handed this task on, and its session has ended; try its task again: hub task retry ${parent}`,
      )
    const { root, size } = tasks.tree(above.id)
    if (size >= options.tasksPerTreeMax)
      throw new HubError('limit_exceeded', `the tree of task ${root} holds ${size} tasks, as many as it may`)
    const left = leftMs(session, clock)
    return { task: above, session, delegateId: null, ceiling: { ...ceiling, ttlMs: Math.min(ceiling.ttlMs, left) } }
  }

  /** The task this key of this principal already made, or what `make` makes. */
  function once(
    { principal, operation }: Pick<Grant, 'principal' | 'operation'>,
    key: string | undefined,
    request: unknown,
    make: (more: Pick<NewTask, 'requestedBy' | 'once'>) => TaskRow,
  ): TaskRow {
    const requestedBy = principalText(principal)
    if (key === undefined) return make({ requestedBy })
    // A key has no spaces, and so stands for this principal alone.
    const asked = { key: `${requestedBy} ${key}`, digest: sha256Hex(JSON.stringify([operation, request])) }
    const known = tasks.taskByKey(asked.key)
    if (known === undefined) return make({ requestedBy, once: asked })
    if (known.requestDigest !== asked.digest)
      throw new HubError('conflict', 'idempotency-key: it stands for another request already; take a new key')
    return known
  }

  return {
    submitFacts: (principal, { agent, needs, inputs }) => ({
      agent: agent ?? null,
      needs,
      origin: FROM_PEOPLE,
      inputs: whose(principal, inputs),
    }),
    retryFacts(principal, id) {
      const { agent, needs, chain, inputs } = theTask(id)
      return { agent, needs, origin: { by: 'people', parent: chain.at(-1) ?? null }, inputs: whose(principal, inputs) }
    },
    releaseFacts(id) {
      const task = theTask(id)
      return { agent: task.agent, needs: task.needs, origin: originOf(task), inputs: 'none' }
    },

    submit(grant, request, key) {
      assertGrant(grant, 'task.submit')
      const { agent, needs, params, priority, hold, ttlMs } = request
      return once(grant, key, request, (more) => {
        requireInputs(request.inputs)
        requireServable(request, grant.narrow.agents)
        return tasks.insert(grant, {
          agent,
          needs,
          params,
          inputs: request.inputs ?? null,
          priority,
          hold,
          ttlMs,
          ...more,
        })
      })
    },

    release(grant, id) {
      assertGrant(grant, 'task.release')
      const { agent, needs, state } = theTask(id)
      if (state === 'queued' && agent === null) requireCapable({ needs }, grant.narrow.agents)
      return tasks.released(grant, id)
    },

    retry(grant, id, key) {
      assertGrant(grant, 'task.retry')
      const task = theTask(id)
      return once(grant, key, { id }, (more) => {
        const { state, needs, params, inputs, priority } = task
        if (!AGAIN.has(state))
          throw new HubError('conflict', `the task is ${state}; only an ended one that did not succeed is tried again`)
        if (task.requestedBy === SERVICES)
          throw new HubError('unsupported_mode', `agent ${task.agent} is a service; the hub begins it again by itself`)
        const parent = chainOf(task)
        const agent = task.agent ?? undefined
        requireInputs(inputs)
        requireServable({ agent, needs }, grant.narrow.agents)
        const wish = { agent, needs, params, inputs, priority, hold: false, ttlMs: task.ttlMs ?? undefined, ...more }
        return tasks.insert(grant, { ...wish, ...(parent && { parent }) })
      })
    },
  }
}
