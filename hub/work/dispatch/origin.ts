/** Who asked for a task, through whom, and what class its data is of. The rules are asked this wherever a session of the task may begin (policies/tasks.rego). Pure. */
import type { DataClass } from '../../protocol/data-class.ts'
import { SERVICES } from './queue-rows.ts'
import type { TaskRow } from './rows.ts'

export interface Origin {
  /** A person or their token; another agent; or the hub itself, for a service. */
  readonly by: 'people' | 'agent' | 'services'
  /** The agent whose session delegated it, or null. */
  readonly parent: string | null
}

export const FROM_PEOPLE: Origin = Object.freeze({ by: 'people', parent: null })
export const FROM_SERVICES: Origin = Object.freeze({ by: 'services', parent: null })
/** The `requestedBy` of what a session delegated. No name of a person's credential holds a colon. */
export const askedByAgent = (session: { agent: string; id: string }): string => `agent:${session.agent}/${session.id}`

export function originOf({ requestedBy, chain }: Pick<TaskRow, 'requestedBy' | 'chain'>): Origin {
  const parent = chain.at(-1) ?? null
  if (requestedBy === SERVICES) return { by: 'services', parent }
  return { by: requestedBy.startsWith('agent:') ? 'agent' : 'people', parent }
}

/** The class of data of a task, as the rules see it. Without one they are asked as ever. */
export const labelFact = ({
  sensitivity,
}: {
  sensitivity?: DataClass | null | undefined
}): { sensitivity?: DataClass } => (sensitivity === null || sensitivity === undefined ? {} : { sensitivity })
