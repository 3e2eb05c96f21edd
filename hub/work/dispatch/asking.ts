/**
 * What people ask for: a new task, or another try of an old one (S1-2). Both are in one file, so no way gives more than submitting does.
 *
 * A1. Before the gate: the facts that its rules look at. Which agent would run, who asks and through whom (origin.ts), and whose the inputs
 *     are.
 * A2. A retry is a new task of the caller, for the same agent. A retry of a delegated task stays in its chain (fault F4): below the same
 *     session, under the same ceiling, counted in the same tree. If that session has ended, the retry is refused.
 * A3. A key belongs to one request of one principal, and makes one task (fault F7).
 */

import { sha256Hex } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { assertGrant, type Grant } from '../../guard/grant.ts'
import { ownerText, type Principal, principalText } from '../../guard/principal.ts'
import type { DataClass } from '../../protocol/data-class.ts'
import type { FolderRef } from '../../protocol/envelope.ts'
import type { SubmitRequest } from '../../protocol/submit.ts'
import { type Artifacts, uploadsOf } from '../artifacts.ts'
import { leftMs } from './expiry.ts'
import { requireNoPartOfRun } from './faces.ts'
import { FROM_PEOPLE, labelFact, type Origin, originOf } from './origin.ts'
import { SERVICES } from './queue-rows.ts'
import { type TaskRow, unreadableError } from './rows.ts'
import type { Servable } from './servable.ts'
import type { NewTask, Tasks } from './tasks.ts'

/** The facts that the rules see of a task that is asked for. */
export interface AskedFacts extends Record<string, unknown> {
  agent: string | null
  needs: readonly string[]
  origin: Origin
  /** Only of a task that has one. */
  sensitivity?: DataClass
  /** `own`: this very principal uploaded them. */
  inputs: 'none' | 'own' | 'others'
}

export interface Asking {
  submitFacts(principal: Principal, request: SubmitRequest): AskedFacts
  /** The same for a retry. Throws `unknown_task`, or `unreadable` for a damaged row. */
  retryFacts(principal: Principal, id: string): AskedFacts
  /** The same for the release of a held task, which stays its owner's. Throws as `retryFacts` does. */
  releaseFacts(id: string): AskedFacts
  /**
   * The effect of `task.submit`. Throws `unknown_agent`, `no_capable_agent`, `agent_unhealthy`, `image_missing` or `unknown_artifact` at
   * once, and `conflict` for a key that belongs to another request.
   */
  submit(grant: Grant, request: SubmitRequest, key: string | undefined): TaskRow
  /** The effect of `task.release`. Throws `no_capable_agent` if no agent that the task may have can serve it now; the task stays held. */
  release(grant: Grant, id: string): TaskRow
  /** The effect of `task.retry`. Throws `conflict` with the reason if the task cannot be tried again. */
  retry(grant: Grant, id: string, key: string | undefined): TaskRow
}

const AGAIN: ReadonlySet<string> = new Set(['failed', 'cancelled', 'timed_out'])

export function createAsking(
  options: { tasksPerTreeMax: number },
  parts: {
    clock: Clock
    tasks: Tasks
    artifacts: Artifacts
    servable: Servable
  },
): Asking {
  const { clock, tasks, artifacts, servable } = parts

  function theTask(id: string): TaskRow {
    const task = tasks.task(id)
    if (task === undefined) throw new HubError('unknown_task', `there is no task with the id ${id}`)
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
        throw new HubError('unknown_artifact', `inputs: ${digest} is not stored here; upload it first`)
    }
  }

  /** Where the retry of a delegated task runs: only below the session that delegated it. */
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
        `agent ${chain.at(-1) ?? 'unknown'} delegated this task, and its session has ended; retry the parent task instead: hub task retry ${parent}`,
      )
    const { root, size } = tasks.tree(above.id)
    if (size >= options.tasksPerTreeMax)
      throw new HubError('limit_exceeded', `the tree of task ${root} already holds ${size} tasks, which is its limit`)
    const left = leftMs(session, clock)
    return { task: above, session, delegateId: null, ceiling: { ...ceiling, ttlMs: Math.min(ceiling.ttlMs, left) } }
  }

  /** The task that this key of this principal already made, or else what `make` makes. */
  function once(
    { principal, operation }: Pick<Grant, 'principal' | 'operation'>,
    key: string | undefined,
    request: unknown,
    make: (more: Pick<NewTask, 'requestedBy' | 'once'>) => TaskRow,
  ): TaskRow {
    const requestedBy = principalText(principal)
    if (key === undefined) return make({ requestedBy })
    // A key has no spaces, so the joined text belongs to this very credential, whoever bears its name later.
    const asked = { key: `${ownerText(principal)} ${key}`, digest: sha256Hex(JSON.stringify([operation, request])) }
    const known = tasks.taskByKey(asked.key)
    if (known === undefined) return make({ requestedBy, once: asked })
    if (known.requestDigest !== asked.digest)
      throw new HubError('conflict', 'idempotency-key: this key was already used for another request; use a new key')
    return known
  }

  return {
    submitFacts: (principal, { agent, needs, inputs, sensitivity }) => ({
      agent: agent ?? null,
      needs,
      origin: FROM_PEOPLE,
      ...labelFact({ sensitivity }),
      inputs: whose(principal, inputs),
    }),
    retryFacts(principal, id) {
      const task = theTask(id)
      requireNoPartOfRun(task, 'retry')
      const { agent, needs, chain, inputs } = task
      const origin = { by: 'people', parent: chain.at(-1) ?? null } as const
      return { agent, needs, origin, ...labelFact(task), inputs: whose(principal, inputs) }
    },
    releaseFacts(id) {
      const task = theTask(id)
      requireNoPartOfRun(task, 'release')
      return { agent: task.agent, needs: task.needs, origin: originOf(task), ...labelFact(task), inputs: 'none' }
    },

    submit(grant, request, key) {
      assertGrant(grant, 'task.submit')
      const { agent, needs, params, priority, hold, ttlMs, sensitivity, spec } = request
      return once(grant, key, request, (more) => {
        requireInputs(request.inputs)
        servable.require(request, grant.narrow.agents)
        return tasks.insert(grant, {
          agent,
          needs,
          params,
          inputs: request.inputs ?? null,
          priority,
          hold,
          ttlMs,
          sensitivity,
          spec,
          ...more,
        })
      })
    },

    release(grant, id) {
      assertGrant(grant, 'task.release')
      const { agent, needs, state, sensitivity, spec, params } = theTask(id)
      if (state === 'queued' && agent === null)
        servable.requireCapable({ needs, sensitivity, spec, params }, grant.narrow.agents)
      return tasks.released(grant, id)
    },

    retry(grant, id, key) {
      assertGrant(grant, 'task.retry')
      const task = theTask(id)
      return once(grant, key, { id }, (more) => {
        const { state, needs, params, inputs, priority, sensitivity, spec } = task
        if (!AGAIN.has(state))
          throw new HubError('conflict', `the task is ${state}; only a task that ended without success can be retried`)
        if (task.requestedBy === SERVICES)
          throw new HubError('unsupported_mode', `agent ${task.agent} is a service; the hub restarts it by itself`)
        const parent = chainOf(task)
        const agent = task.agent ?? undefined
        requireInputs(inputs)
        servable.require({ agent, needs, sensitivity, spec, params }, grant.narrow.agents)
        const spans = { hold: false, ttlMs: task.ttlMs ?? undefined }
        const wish = { agent, needs, params, inputs, priority, sensitivity, spec, ...spans, ...more }
        return tasks.insert(grant, { ...wish, ...(parent && { parent }) })
      })
    },
  }
}
