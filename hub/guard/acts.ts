/**
 * The exact act that an approval is bound to (D-R9). Pure.
 *
 * A1. Who, what operation, on what, with what payload of what class is its place (`slot`): one approval of a place is open at a time. With
 *     what the rules saw, what it stands on (`bound`: inputs, agent, image, card) and by which rules, it is the act (`act`, label
 *     `hub-act-v1`). What an agent may choose anew at each try belongs to the place: else each try would supersede the one before, and none
 *     of them would count as open.
 * A2. Another act of the same place means that something changed while it waited. `changed` says what.
 * A3. A few operations cannot be asked about: what answers an approval, what cannot wait, what only records or is never refused. Asking
 *     about these is a refusal.
 */
import { digestOf } from '../base/canonical.ts'
import type { Tier } from '../protocol/approval.ts'
import { OPERATIONS, type OperationName, type Standing } from '../protocol/operations.ts'
import type { Principal } from './principal.ts'

/** What an approval binds beside principal and operation, where that is not simply the call's own facts. */
export interface ActFacts {
  /** Instead of the call's, if that names who happens to be there now. */
  readonly resource?: string
  /** Digest of the content, without the id of the message that carries it. */
  readonly payload?: string
  readonly facts?: Readonly<Record<string, unknown>>
  /** What it stands on: digests of inputs and card, image, agent. The rules do not see it. */
  readonly bound?: Readonly<Record<string, string | null>>
}

/** What a call to the gate says of its act. */
export interface Actor {
  readonly principal: Principal
  readonly operation: OperationName
  readonly resource: string
  readonly facts?: Readonly<Record<string, unknown>>
  readonly payloadHash?: string
  readonly act?: () => ActFacts
}

export interface Act {
  slot: string
  act: string
  resource: string
  /** Digest or name of each part that may change meanwhile, by the word that says so. */
  parts: Readonly<Record<string, string | null>>
  facts: Readonly<Record<string, unknown>>
}

const LABEL = 'hub-act-v1'

/** `revision`: of the rules and the data that decide. */
export function actOf(call: Actor, revision: string): Act {
  const own = call.act?.() ?? {}
  const { principal, operation } = call
  const resource = own.resource ?? call.resource
  const facts = own.facts ?? call.facts ?? {}
  const payload = own.payload ?? call.payloadHash ?? null
  const place = { principal, operation, resource, payload, dataClass: facts.dataClass ?? null }
  const bound = own.bound ?? {}
  return {
    slot: digestOf(`${LABEL}-slot`, place),
    act: digestOf(LABEL, { ...place, facts, revision, bound }),
    resource,
    parts: { ...bound, facts: digestOf(`${LABEL}-facts`, facts), rules: revision },
    facts,
  }
}

/** The words of the parts that differ: `rules, card`. Empty for the same act. */
export function changedParts(before: Act['parts'], after: Act['parts']): string {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  return names.filter((name) => before[name] !== after[name]).join(', ')
}

const NEVER_ASKED: ReadonlySet<OperationName> = new Set([
  'approval.list',
  'approval.show',
  'approval.answer',
  // The container is about to be made or has just been made; nobody is there to wait. `task.dispatch` can be asked about.
  'session.provision',
  'session.join',
  'session.open',
  'session.renew',
  'message.receive',
])
const ASKED_OF: ReadonlySet<Standing> = new Set(['new_work', 'child_work', 'own', 'mending', 'approve', 'read'])

/** Whether a rule may ask about it (A3). */
export const mayBeAsked = (operation: OperationName): boolean =>
  !NEVER_ASKED.has(operation) && ASKED_OF.has(OPERATIONS[operation].standing)

/** How much an operation can do (S2-26). What governs the hub, deletes or widens rights counts as destructive. */
export function tierOf(operation: OperationName): Tier {
  const { standing } = OPERATIONS[operation]
  if (operation === 'egress.request') return 'external'
  if (standing === 'read') return 'read'
  if (standing === 'own') return 'write'
  return standing === 'new_work' || standing === 'child_work' ? 'execute' : 'destructive'
}
