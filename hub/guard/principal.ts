/** Who is asking, as proven by an entrance. Never taken from a request's body. */
import { OPERATIONS, type Operation, type OperationName, type PrincipalKind } from '../protocol/operations.ts'
import type { Authority } from '../protocol/task.ts'

export interface Principal {
  readonly kind: PrincipalKind
  readonly id: string
  /** The id of a device or token: its name may be used again for another. */
  readonly credential?: string
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
/** A loop of the hub itself. When it works for a task, the facts hold the task's own narrowed authority. */
export const hubPrincipal = (loop: string): Principal => Object.freeze({ kind: 'hub', id: loop })

/** One line for audit and logs: `operator`, `agent:reader/s…`, `hub:dispatcher`. */
export function principalText(principal: Principal): string {
  if (principal.kind === 'agent')
    return `agent:${principal.agent}/${principal.session}${principal.proven === false ? ' (unproven)' : ''}`
  return principal.id === principal.kind ? principal.kind : `${principal.kind}:${principal.id}`
}

/** The owner of inputs and idempotency keys: as `principalText`, plus the id of the credential. No name contains a #. */
export const ownerText = (principal: Principal): string =>
  principal.credential === undefined ? principalText(principal) : `${principalText(principal)}#${principal.credential}`

/** The right to stop covers ending what runs. It does not cover keeping evidence and withholding work (`session.quarantine`, fault F17). */
const DEVICE_STOPS: ReadonlySet<OperationName> = new Set([
  'hub.shutdown',
  'mode.safe',
  'session.close',
  'session.interrupt',
  'session.revoke',
  'session.stop',
  'task.cancel',
])

/**
 * The built-in rule for a stop by a bearer: a device needs that right, a token must list the operation. It repeats policies/operator.rego,
 * because the rules are not asked about a stop (I6).
 */
export const mayStop = ({ kind, rights = [], actions = [] }: Principal, operation: OperationName): boolean =>
  (kind !== 'device' || (rights.includes('stop') && DEVICE_STOPS.has(operation))) &&
  (kind !== 'automation' || actions.includes(operation))

/** Whether this bearer may do this read, as policies/operator.rego says: a device by its right to view, a token by its list, both within the reach. */
export function mayRead({ kind, rights = [], actions = [] }: Principal, read: OperationName): boolean {
  if (kind !== 'device' && kind !== 'automation') return true
  const { reach }: Operation = OPERATIONS[read]
  return reach.includes(kind) && (kind === 'device' ? rights.includes('view') : actions.includes(read))
}

/** An operation on a task answers with the task, and must not show more than `task.show` would (fault F7). */
export const mayReadTasks = (principal: Principal): boolean => mayRead(principal, 'task.show')
