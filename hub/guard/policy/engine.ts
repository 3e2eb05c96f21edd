/**
 * Asks the policy module, and believes only an exact answer (T20).
 *
 * E1. Only the literal `allow: true` in a document of the known version allows. Undefined, an empty set, another type, another version: deny.
 *     A code that is not in RULE_CODES is a denial too, and so is any code on a yes: the caller gets `policy_denied`, and the module is at fault.
 * E2. An input over 64 KiB never reaches the module.
 * E3. After any throw the instance is discarded; the next question gets a new one. If none can be made, every answer is a denial.
 * E4. Synchronous, so that it can run inside the store's transaction. A running rule cannot be interrupted; bundle.ts refuses slow ones.
 */

import type { ErrorCode } from '../../base/errors.ts'
import type { Principal } from '../principal.ts'

/** What the rules see. Never an instant or a random value in it: each would be a question of its own for the memo. */
export interface PolicyInput {
  operation: string
  principal: Principal
  resource: Record<string, unknown>
  mode: string
}

export interface Narrowing {
  capabilities?: string[]
  ttlMs?: number
  /** Of a dispatch: what it may reach outside. */
  egress?: string[]
  /** Of a dispatch: which walls of its container are moved. */
  relax?: string[]
  /** Delegation by capability only: nobody else may be chosen. */
  agents?: string[]
}

/** Why it is a no: the code of the refusal that follows. The rules' own, or that there are none. */
/** What the rules may give as the code of a no. A no without a code is `policy_denied`; with any other it is no exact answer. */
export const RULE_CODES = [
  'policy_denied',
  'delegation_depth',
  'delegation_cycle',
  'delegation_wider',
  'limit_exceeded',
  'no_capable_agent',
] as const satisfies readonly ErrorCode[]
type RuleCode = (typeof RULE_CODES)[number]

export type DenialCode = RuleCode | 'policy_unavailable'

/**
 * Whether the session that delegates could do it itself, in its own container and with its own rights, and what speaks against it: `secrets`,
 * `capabilities`, `image`, `untrusted`, `reach`. The hub gives every delegation a container of its own; this says whether it had to.
 */
export interface DelegationPath {
  kind: 'internal' | 'external'
  because: string[]
}

export interface Verdict {
  effect: 'allow' | 'deny' | 'ask'
  /** Of a deny; none is `policy_denied`. */
  code?: DenialCode
  reason: string
  rule: string
  narrow?: Narrowing
  /** Of an allowed delegation (S1-40). */
  path?: DelegationPath
  /** The module gave no exact answer: its fault, not the caller's. Such a verdict is not remembered. */
  fault: boolean
}

export interface PolicyDecision {
  /** UUIDv7; the row of the table `decision` and what audit records and refusals name. */
  id: string
  effect: 'allow' | 'deny' | 'ask'
  /** Of a deny; none is `policy_denied`. */
  code?: DenialCode
  reason: string
  rule: string
  /** Of the bundle and the data it was decided with. */
  revision: string
  narrow?: Narrowing
  path?: DelegationPath
  memoised: boolean
}

/** One instance of the module; `evaluate` answers its result set, or throws. */
export interface PolicyInstance {
  evaluate(inputText: string): unknown
}

export interface Engine {
  /** The verdict on `JSON.stringify(input)`. Never throws. */
  evaluate(inputText: string): Verdict
}

export const INPUT_BYTES_MAX = 64 * 1024
const RESULT_VERSION = 1
const TEXT_MAX = 2000

/** One instance at a time: made for the first question and after each throw (E3). */
export function createInstances(makeInstance: () => PolicyInstance) {
  let instance: PolicyInstance | undefined
  return {
    /** What `work` answers, or what `failed` makes of the reason why it threw. */
    use<Answer>(work: (instance: PolicyInstance) => Answer, failed: (why: string) => Answer): Answer {
      try {
        instance ??= makeInstance()
        return work(instance)
      } catch (thrown) {
        instance = undefined
        return failed(textOf(thrown))
      }
    },
  }
}

/** `makeInstance` is called for the first question and after each throw; `onFault` hears of every answer that was not exact. */
export function createEngine(makeInstance: () => PolicyInstance, onFault: (reason: string) => void): Engine {
  const instances = createInstances(makeInstance)
  return {
    evaluate(inputText) {
      if (Buffer.byteLength(inputText) > INPUT_BYTES_MAX) {
        const reason = `the policy input is over ${INPUT_BYTES_MAX} bytes; ask for less at once`
        return { effect: 'deny', reason, rule: 'hub.guard.input_bytes', fault: false }
      }
      const verdict = instances.use(
        (instance) => judgeResult(instance.evaluate(inputText)),
        (why) => `the policy module failed: ${why}`,
      )
      if (typeof verdict !== 'string') return verdict
      onFault(verdict)
      return { effect: 'deny', reason: verdict, rule: 'hub.guard.fault', fault: true }
    },
  }
}

/** Pure: a result set of the module as a verdict, or the reason why it is not one. */
export function judgeResult(resultSet: unknown): Verdict | string {
  if (!Array.isArray(resultSet) || resultSet.length !== 1) return 'the policy answered with no single result'
  const result = (resultSet[0] as { result?: unknown } | null)?.result
  if (!isRecord(result)) return 'the policy answered with something other than a document'
  const { version, allow, ask, code, reason, rule, narrow, path } = result
  if (version !== RESULT_VERSION) return 'the policy answered in an unknown version'
  if (typeof allow !== 'boolean' || typeof ask !== 'boolean') return 'the policy answered neither yes nor no'
  if (!isText(reason) || !isText(rule)) return 'the policy answered without rule or reason'
  const effect = allow === true ? (ask === true ? 'ask' : 'allow') : 'deny'
  if (code !== undefined && (effect !== 'deny' || !isRuleCode(code)))
    return 'the policy gave a code that does not belong to its answer'
  const verdict: Verdict = { effect, ...(code === undefined ? {} : { code }), reason, rule, fault: false }
  if (path !== undefined && effect !== 'deny') {
    if (!isPath(path)) return 'the policy named an unknown path of a delegation'
    verdict.path = { kind: path.kind, because: [...path.because] }
  }
  if (narrow === undefined || effect === 'deny') return verdict
  const narrowing = narrowingOf(narrow)
  return narrowing === undefined ? 'the policy narrowed in an unknown way' : { ...verdict, narrow: narrowing }
}

const LISTED = ['capabilities', 'agents', 'egress', 'relax'] as const
const isListed = (key: string): key is (typeof LISTED)[number] => LISTED.some((each) => each === key)

/** Pure: a limit as the rules may give it; undefined for anything else. */
export function narrowingOf(value: unknown): Narrowing | undefined {
  if (!isRecord(value)) return undefined
  const narrowing: Narrowing = {}
  for (const [key, item] of Object.entries(value)) {
    if (isListed(key) && Array.isArray(item) && item.every(isText)) narrowing[key] = item
    else if (key === 'ttlMs' && Number.isSafeInteger(item) && (item as number) > 0) narrowing.ttlMs = item as number
    else return undefined
  }
  return narrowing
}

function isRuleCode(value: unknown): value is RuleCode {
  return (RULE_CODES as readonly unknown[]).includes(value)
}

function isPath(value: unknown): value is DelegationPath {
  if (!isRecord(value) || !Array.isArray(value.because) || !value.because.every(isText)) return false
  return value.kind === 'internal' ? value.because.length === 0 : value.kind === 'external'
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= TEXT_MAX
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function textOf(thrown: unknown): string {
  return (thrown instanceof Error ? thrown.message : String(thrown)).slice(0, 200)
}
