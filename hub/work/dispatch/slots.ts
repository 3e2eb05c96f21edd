/**
 * Which task starts next (S0-16). Pure.
 *
 * A task of delegation depth d starts only while fewer than cap - (maxDepth - d) sessions exist, and while its agent has fewer than its own
 * cap + d. Deeper tasks come first, then priority, then age. So leads that wait for children never hold the slots that those children need.
 * `whyWaits` says in words why a task cannot start even if others end: no agent offers what it needs, or those that do may not start.
 */
import { type DataClass, takesClass } from '../../protocol/data-class.ts'
import type { Wishes } from '../../protocol/wish-places.ts'
import { taskFault, type WishCard } from '../../protocol/wishes.ts'
import type { Agent } from '../registry.ts'

export interface QueuedTask {
  id: string
  /** The one agent asked for; undefined if any with `needs` will do. */
  agent: string | undefined
  needs: readonly string[]
  /** The agents that the rules let the hub choose from, if no agent was asked for. */
  among?: readonly string[] | undefined
  /** The class of data it works on. */
  sensitivity?: DataClass | null | undefined
  /** What is asked of its agent's model. */
  spec?: Wishes | null | undefined
  params?: Readonly<Record<string, unknown>> | undefined
  depth: number
  priority: number
  createdAtMs: number
}

export interface AgentSlot {
  name: string
  capabilities: readonly string[]
  /** The highest class of data that its card takes. */
  sensitivity?: DataClass | undefined
  /** How its program is told what a task asks for; a task that names no agent goes only to one that is told all of it. */
  program?: WishCard | undefined
  /** Healthy and with an image. */
  ready: boolean
  /** Takes only the task that the hub makes for it. */
  isService?: boolean
  sessionsMax: number
  sessions: number
}

export interface SlotLimits {
  sessionsMax: number
  depthMax: number
}

const order = (a: QueuedTask, b: QueuedTask) =>
  b.depth - a.depth || b.priority - a.priority || a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1)

/** The next pair to start, or undefined if nothing may start now. */
export function planNext(
  queued: readonly QueuedTask[],
  agents: readonly AgentSlot[],
  sessions: number,
  limits: SlotLimits,
): { task: string; agent: string } | undefined {
  for (const task of [...queued].sort(order)) {
    if (sessions >= limits.sessionsMax - (limits.depthMax - Math.min(task.depth, limits.depthMax))) continue
    const agent = chooseAgent(task, agents)
    if (agent !== undefined) return { task: task.id, agent }
  }
  return undefined
}

const mayTell = (task: Pick<QueuedTask, 'spec' | 'params'>, { program }: Pick<AgentSlot, 'program'>): boolean =>
  program === undefined || taskFault(program, task) === undefined

/** Whether the agent is the one asked for, or may be chosen, has every capability asked for, and takes work of that class. */
export const canServe = (
  task: Pick<QueuedTask, 'needs' | 'among' | 'sensitivity' | 'spec' | 'params'> & { agent?: string | undefined },
  agent: Pick<AgentSlot, 'name' | 'capabilities' | 'isService' | 'sensitivity' | 'program'>,
): boolean =>
  (task.agent === undefined
    ? agent.isService !== true && task.among?.includes(agent.name) === true && mayTell(task, agent)
    : task.agent === agent.name) &&
  task.needs.every((need) => agent.capabilities.includes(need)) &&
  takesClass(agent.sensitivity, task.sensitivity)

/** The agent asked for, or the least busy capable one; the first name wins a tie. Only agents with a free slot. */
function chooseAgent(task: QueuedTask, agents: readonly AgentSlot[]): string | undefined {
  const free = agents.filter(
    (agent) => agent.ready && agent.sessions < agent.sessionsMax + task.depth && canServe(task, agent),
  )
  return free.sort((a, b) => a.sessions - b.sessions || (a.name < b.name ? -1 : 1))[0]?.name
}

type Facts = Pick<Agent, 'card' | 'state' | 'imageId' | 'imageCode' | 'reason' | 'barred' | 'doubt'>

/** `among`: the agents that the rules let the hub choose from, if none is named; undefined if they were not asked yet. Empty: it may start. */
export function whyWaits(
  task: Pick<QueuedTask, 'id' | 'needs' | 'sensitivity' | 'spec' | 'params'> & { agent: string | null },
  agents: readonly Facts[],
  among: readonly string[] | undefined,
  whyUnloaded: (agent: string) => string | undefined,
): string {
  const otherwise = `or \`hub task cancel ${task.id}\``
  const asked = {
    agent: task.agent ?? undefined,
    needs: task.needs,
    sensitivity: task.sensitivity,
    among: among ?? agents.map(({ card }) => card.name),
  }
  const able = agents.filter(({ card }) => canServe(asked, { ...card, isService: card.mode === 'service' }))
  const fitting = task.agent === null ? able.filter(({ card }) => mayTell(task, { program: card })) : able
  if (fitting.length > 0) {
    const waiting = fitting.map(whatKeeps)
    return waiting.includes('') ? '' : `${waiting.join('; ')}; ${otherwise.slice(3)} ends it`
  }
  const [first] = able
  if (first !== undefined) return `${taskFault(first.card, task)}; then \`hub agent reload\`, ${otherwise}`
  const named = agents.find(({ card }) => card.name === task.agent)
  if (task.agent !== null && named === undefined) {
    const why = whyUnloaded(task.agent)
    if (why !== undefined) return `agent ${task.agent} starts nothing, ${why}; then \`hub agent reload\`, ${otherwise}`
    return `no agent is named ${task.agent} now: put its card into agents/, then \`hub agent reload\`, ${otherwise}`
  }
  if (task.sensitivity !== null && task.sensitivity !== undefined) {
    const offering = agents.filter(({ card }) =>
      canServe({ ...asked, sensitivity: null }, { ...card, isService: card.mode === 'service' }),
    )
    if (offering.length > 0)
      return `${offering.map(({ card }) => takesNo(card, task.sensitivity)).join('; ')}: raise it, then \`hub agent reload\`, ${otherwise}`
  }
  const who = task.agent === null ? 'no agent that may take it offers' : `agent ${task.agent} does not offer`
  const card = task.agent === null ? 'a card' : 'its card'
  return `${who} ${task.needs.join(', ')} now: add that to \`capabilities\` of ${card}, then \`hub agent reload\`, ${otherwise}`
}

/** That a card does not take work of this class, and what it says of that. */
export function takesNo(
  { name, sensitivity }: { name: string; sensitivity?: DataClass | undefined },
  label: DataClass | null | undefined,
): string {
  const says = sensitivity === undefined ? 'nothing of `sensitivity`' : `sensitivity: ${sensitivity}`
  return `agent ${name} takes no ${label} tasks: its card says ${says}`
}

/** Why no session of this agent starts now; empty if it may. */
function whatKeeps({ card: { name }, state, imageId, imageCode, reason, barred, doubt = '' }: Facts): string {
  if (state !== 'registered')
    return `agent ${name} is ${state}: \`hub agent show ${name}\`, then \`hub agent reset ${name}\``
  if (imageCode === 'image_refused') return `agent ${name} may not use its image: ${reason}`
  if (imageId === undefined) return `agent ${name} has no image (${reason}): \`hub agent build FOLDER\` makes it`
  const why = barred || doubt
  return why === '' ? '' : `agent ${name} does not start: ${why}`
}
