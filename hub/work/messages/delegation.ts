/** Delegation: a child task with narrower authority, unique by (session, id). Its result is the answer (T40-T45, S1-39). */

import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { newUuid, type Random } from '../../base/random.ts'
import type { Redaction } from '../../base/redaction.ts'
import { assertGrant, type Grant } from '../../guard/grant.ts'
import type { Flags } from '../../guard/operator/flags.ts'
import { type DataClass, takesClass } from '../../protocol/data-class.ts'
import { usdWritten } from '../../protocol/dollars.ts'
import { type DelegateBody, delegateBodyShape, type Envelope } from '../../protocol/envelope.ts'
import { parseShape } from '../../protocol/parse.ts'
import { relaxFact, relaxOf } from '../../protocol/relax.ts'
import { taskMachine } from '../../protocol/task.ts'
import type { TaskSpec } from '../../protocol/task-spec.ts'
import type { Store } from '../../store/database.ts'
import type { Artifacts } from '../artifacts.ts'
import { leftMs } from '../dispatch/expiry.ts'
import { askedByAgent, labelFact } from '../dispatch/origin.ts'
import type { SessionRow, TaskRow } from '../dispatch/rows.ts'
import { canServe, takesNo } from '../dispatch/slots.ts'
import type { Tasks } from '../dispatch/tasks.ts'
import { type RequireModel, thatCanBeTold } from '../dispatch/wished.ts'
import type { Registry } from '../registry.ts'
import type { Mailboxes } from './mailboxes.ts'

export interface Delegation {
  /** What the rules see of a delegation. Read-only, before the gate. */
  facts(sender: SessionRow, envelope: Envelope): Record<string, unknown>
  /** Whether this very delegation was taken already: then `delegate` only answers again. */
  isTaken(sender: SessionRow, envelope: Envelope): boolean
  delegate(grant: Grant, sender: SessionRow, envelope: Envelope): void
  /** Puts the child's result into its parent's mailbox, if the parent is still there. Its SDK drops repeats. */
  answer(child: TaskRow): void
}

const HOUR_MS = 3_600_000

export function createDelegation(
  options: { tasksPerTreeMax: number; delegationsMax: number },
  parts: {
    store: Store
    clock: Clock
    random: Random
    tasks: Tasks
    registry: Registry
    mailboxes: Mailboxes
    artifacts: Artifacts
    flags: Pick<Flags, 'whyOff'>
    redaction: Redaction
    requireModel: RequireModel
  },
): Delegation {
  const { store, clock, random, tasks, registry, mailboxes, artifacts, flags, redaction, requireModel } = parts

  /** The agent asked for, or the first permitted one that is capable and healthy. */
  function chooseAgent(
    {
      agent,
      needs,
      sensitivity,
      spec,
      params,
    }: Pick<DelegateBody, 'agent' | 'needs' | 'spec' | 'params'> & {
      sensitivity: DataClass | null
    },
    among: readonly string[] = [],
  ): string {
    const capable = registry
      .list()
      .filter(({ card }) =>
        canServe({ agent, needs, among, sensitivity }, { ...card, isService: card.mode === 'service' }),
      )
    const [first] = capable
    if (first?.card.mode === 'service')
      throw new HubError('unsupported_mode', `agent ${first.card.name} is a service; it takes messages, no tasks`)
    if (first !== undefined) return (thatCanBeTold(capable, { spec, params }, requireModel)[0] ?? first).card.name
    if (agent !== undefined && registry.find(agent) === undefined) throw registry.missing(agent)
    const named = agent === undefined ? undefined : registry.find(agent)
    if (named !== undefined && !takesClass(named.card.sensitivity, sensitivity))
      throw new HubError('no_capable_agent', takesNo(named.card, sensitivity))
    const what = sensitivity === null ? 'has' : `takes a ${sensitivity} task and has`
    throw new HubError('no_capable_agent', `no agent that you may delegate to ${what} ${needs.join(', ')}`)
  }

  /** The parent's label, or the child's own if that is higher. Throws `delegation_wider` for a lower one. */
  function labelOf(sender: SessionRow, own: DataClass | undefined): DataClass | null {
    const above = tasks.task(sender.task)?.sensitivity ?? null
    if (own !== undefined && !takesClass(own, above))
      throw new HubError(
        'delegation_wider',
        `sensitivity: ${own} is lower than ${above}, which this task has; a child is never lower than its parent`,
      )
    return own ?? above
  }

  /** What would be other for the child than for its parent; null if no agent is named, or there is none of the name. */
  function childOf(name: string | undefined, sender: SessionRow): Record<string, unknown> | null {
    const child = name === undefined ? undefined : registry.find(name)
    if (child === undefined) return null
    const { may, capabilities, shell } = child.card
    return {
      ...{ capabilities, secrets: may.secrets, message: may.message, topics: may.topics, egress: may.egress },
      ...relaxFact(relaxOf(child.card)),
      image: sender.imageId === child.imageId ? 'same' : 'other',
      // With a shell it may run whatever its input says.
      untrusted: shell,
    }
  }

  /** What it asks of its child's model. A child is to cost no more than its parent was to. */
  function specOf(task: TaskRow, { spec }: DelegateBody): TaskSpec | null {
    if (spec === undefined || Object.keys(spec).length === 0) return null
    const above = task.spec?.budget
    if (spec.budget !== undefined && above !== undefined && spec.budget > above)
      throw new HubError(
        'delegation_wider',
        `spec.budget: ${usdWritten(spec.budget)} is more than the ${usdWritten(above)} that this task may cost`,
      )
    return spec
  }

  /** So many in an hour in the whole tree (S2-31). Counted in the rows, so a restart begins nothing anew. */
  function requireFew(sender: SessionRow): void {
    const nowMs = clock.wallMs()
    const latest = tasks.latestChildren(sender.task, options.delegationsMax)
    const oldest = latest.at(-1)
    if (latest.length < options.delegationsMax || oldest === undefined) return
    // A wall clock that was set back makes an hour longer, and never shorter.
    const retryAfterMs = oldest + HOUR_MS - nowMs
    if (retryAfterMs <= 0) return
    throw new HubError(
      'rate_limited',
      `this tree of tasks has had ${options.delegationsMax} delegations within an hour, which is its limit (budget.delegations in hub.yaml)`,
      { facts: { retryAfterMs: Math.min(retryAfterMs, HOUR_MS) } },
    )
  }

  function answer(child: TaskRow): void {
    const { parentSession, delegateId } = child
    if (
      parentSession === null ||
      delegateId === null ||
      !taskMachine.isTerminal(child.state) ||
      !mailboxes.isOpen(parentSession)
    )
      return
    const { value, error, stopReason } = child.outcome ?? {}
    const text = error ?? child.error?.detail
    const body = {
      task: child.id,
      outcome: child.state,
      ...(value === undefined ? {} : { value }),
      ...(stopReason === undefined ? {} : { stopReason }),
      ...(text === undefined ? {} : { error: text }),
      ...(child.error === null ? {} : { code: child.error.code }),
      artifacts: artifacts.list(child.id),
    }
    try {
      mailboxes.put(parentSession, {
        kind: 'reply',
        id: newUuid(random, clock.wallMs()),
        correlationId: delegateId,
        sentAtMs: clock.wallMs(),
        body,
      })
    } catch (thrown) {
      // A parent that does not read its mail repeats its delegation until it has the answer.
      if (!(thrown instanceof HubError) || thrown.code !== 'mailbox_full') throw thrown
    }
  }

  return {
    facts(sender, envelope) {
      const body = parseShape(delegateBodyShape, envelope.body, 'body')
      const { size } = tasks.tree(sender.task)
      const { capabilities, ttlMs, depthLeft } = sender.authority
      return {
        agent: body.agent ?? null,
        needs: body.needs,
        ...labelFact({ sensitivity: labelOf(sender, body.sensitivity) }),
        wanted: { capabilities: body.capabilities ?? capabilities, ttlMs: Math.min(body.ttlMs ?? ttlMs, ttlMs) },
        depthLeft,
        // As a yes or no, so that the decision is remembered per answer and not per count.
        tasksLeft: size < options.tasksPerTreeMax ? 1 : 0,
        chain: [...(tasks.task(sender.task)?.chain ?? []), sender.agent],
        child: childOf(body.agent, sender),
      }
    },

    isTaken: (sender, envelope) => tasks.taskByDelegate(sender.id, envelope.id) !== undefined,

    delegate(grant, sender, envelope) {
      assertGrant(grant, 'task.delegate')
      const known = tasks.taskByDelegate(sender.id, envelope.id)
      if (known !== undefined) return store.afterCommit(() => answer(known))
      const off = flags.whyOff('delegation')
      if (off !== '') throw new HubError('flag_off', `no agent may delegate now: ${off}`)
      requireFew(sender)
      const body = parseShape(delegateBodyShape, envelope.body, 'body')
      // A child's parameters are stored and shown.
      if (redaction.secretIn([body.params, body.spec]) !== undefined)
        throw new HubError(
          'schema_invalid',
          'params or spec: they hold the value of a secret; give it to the child by its name',
        )
      const task = tasks.task(sender.task)
      if (task === undefined) throw new HubError('unknown_task')
      const inputs = body.inputs === undefined ? task.inputs : body.inputs
      for (const digest of inputs === null ? [] : [inputs.manifest, inputs.pack]) {
        if (artifacts.access(task, digest) === 'none')
          throw new HubError('forbidden', `artifact ${digest} is not yours, so you cannot pass it on`)
      }
      const senderMs = leftMs(sender, clock)
      const wanted = body.capabilities ?? sender.authority.capabilities
      if (wanted.some((capability) => !sender.authority.capabilities.includes(capability))) {
        throw new HubError('delegation_wider', 'capabilities: a child may only have what its parent has')
      }
      const sensitivity = labelOf(sender, body.sensitivity)
      tasks.insert(grant, {
        agent: chooseAgent({ ...body, sensitivity }, grant.narrow.agents),
        spec: specOf(task, body),
        sensitivity,
        needs: body.needs,
        params: body.params,
        inputs,
        priority: body.priority,
        hold: false,
        ttlMs: Math.max(1, Math.min(body.ttlMs ?? senderMs, senderMs)),
        requestedBy: askedByAgent(sender),
        parent: {
          task,
          session: sender,
          delegateId: envelope.id,
          ceiling: {
            ...sender.authority,
            capabilities: wanted,
            ttlMs: senderMs,
            depthLeft: sender.authority.depthLeft - 1,
          },
        },
      })
    },

    answer,
  }
}
