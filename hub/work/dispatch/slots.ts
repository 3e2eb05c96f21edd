/**
 * Which task starts next, purely (architecture.md section 4.4, D4).
 *
 * A task of delegation depth d starts only while fewer than cap - (maxDepth - d) sessions exist, and its agent has fewer than its
 * own cap + d. Deeper first, then priority, then age: leads that wait for children never hold the slots those children need.
 */
export interface QueuedTask {
  id: string
  /** The one agent asked for, or undefined when any with `needs` will do. */
  agent: string | undefined
  needs: readonly string[]
  /** Whom the rules let the hub choose, where no agent was asked for. */
  among?: readonly string[] | undefined
  depth: number
  priority: number
  createdAtMs: number
}

export interface AgentSlot {
  name: string
  capabilities: readonly string[]
  /** Healthy and with an image. */
  ready: boolean
  /** Takes only the task the hub makes for it. */
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

/** The next pair to start, or undefined when nothing may start now. */
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

/** The asked-for agent, or the least busy capable one; ties go to the first name. Only agents with a free slot. */
function chooseAgent(task: QueuedTask, agents: readonly AgentSlot[]): string | undefined {
  const free = agents.filter(
    (agent) => agent.ready && agent.sessions < agent.sessionsMax + task.depth && canServe(task, agent),
  )
  return free.sort((a, b) => a.sessions - b.sessions || (a.name < b.name ? -1 : 1))[0]?.name
}

/** Whether the agent is the one asked for, or one that may be chosen, and has every capability asked for. */
export const canServe = (
  task: { agent?: string | undefined; needs: readonly string[]; among?: readonly string[] | undefined },
  agent: Pick<AgentSlot, 'name' | 'capabilities' | 'isService'>,
): boolean =>
  (task.agent === undefined
    ? agent.isService !== true && task.among?.includes(agent.name) === true
    : task.agent === agent.name) && task.needs.every((need) => agent.capabilities.includes(need))
