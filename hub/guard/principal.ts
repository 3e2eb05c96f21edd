/** Who is asking, as proven by an entrance. Never taken from a request's body. */
import type { OperationName, PrincipalKind } from '../protocol/operations.ts'
import type { Authority } from '../protocol/task.ts'

export interface Principal {
  readonly kind: PrincipalKind
  readonly id: string
  readonly agent?: string
  readonly session?: string
  readonly generation?: number
  readonly authority?: Authority
  /** What a bearer token lists (automation). */
  readonly actions?: readonly string[]
  /** What an enrolled device was given. */
  readonly rights?: readonly string[]
  /** A device that is the console page. */
  readonly via?: 'console'
  /** False while only the socket vouches for it: no valid signature yet. */
  readonly proven?: false
}

export const OPERATOR: Principal = Object.freeze({ kind: 'operator', id: 'operator' })
export const WATCHDOG: Principal = Object.freeze({ kind: 'watchdog', id: 'watchdog' })
/** Whoever holds the backup contact's card; `unproven` while the words are not the card's. */
export const CONTACT: Principal = Object.freeze({ kind: 'contact', id: 'contact' })
export const NO_CONTACT: Principal = Object.freeze({ kind: 'contact', id: 'unproven', proven: false })
/** A loop of the hub itself; for work it carries a task on with, the task's own narrowed authority is in the facts. */
export const hubPrincipal = (loop: string): Principal => Object.freeze({ kind: 'hub', id: loop })

/** One line for audit and logs: `operator`, `agent:reader/s…`, `hub:dispatcher`. */
export function principalText(principal: Principal): string {
  if (principal.kind === 'agent')
    return `agent:${principal.agent}/${principal.session}${principal.proven === false ? ' (unproven)' : ''}`
  return principal.id === principal.kind ? principal.kind : `${principal.kind}:${principal.id}`
}

/** What the right to stop is: to end what runs. Keeping evidence of it and withholding its work is more (`session.quarantine`, fault F17). */
const DEVICE_STOPS: ReadonlySet<OperationName> = new Set([
  'hub.shutdown',
  'mode.safe',
  'session.revoke',
  'session.stop',
  'task.cancel',
])

/**
 * The built-in rule of stopping for those who bring a bearer: a device with that right, a token that lists the very operation. It says what
 * policies/operator.rego says of them, which is not asked (I6).
 */
export const mayStop = ({ kind, rights = [], actions = [] }: Principal, operation: OperationName): boolean =>
  (kind !== 'device' || (rights.includes('stop') && DEVICE_STOPS.has(operation))) &&
  (kind !== 'automation' || actions.includes(operation))

/**
 * Whether this bearer may read the work of others, as policies/operator.rego has it of `task.show`. What somebody does to a task answers with
 * the task; it must not show more than looking at it would (fault F7).
 */
export const mayReadTasks = ({ kind, rights = [], actions = [] }: Principal): boolean =>
  (kind !== 'device' || rights.includes('view')) && (kind !== 'automation' || actions.includes('task.show'))
