/**
 * Asks the policy module, and believes only an exact answer (T20).
 *
 * E1. Only the literal `allow: true` in a document of the known version allows. Undefined, an empty set, another type, another version: deny.
 * E2. An input over 64 KiB never reaches the module.
 * E3. After any throw the instance is thrown away; the next question gets a new one. If none can be made, every answer is a deny.
 * E4. Synchronous, so that it can run inside the store's transaction. A running rule cannot be interrupted; bundle.ts refuses slow ones.
 */
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
  /** Delegation by capability only: nobody else may be chosen. */
  agents?: string[]
}

export interface Verdict {
  effect: 'allow' | 'deny' | 'ask'
  reason: string
  rule: string
  narrow?: Narrowing
  /** The module gave no exact answer: its fault, not the caller's. Such a verdict is not remembered. */
  fault: boolean
}

export interface PolicyDecision {
  /** UUIDv7; the row of the table `decision` and what audit records and refusals name. */
  id: string
  effect: 'allow' | 'deny' | 'ask'
  reason: string
  rule: string
  /** Of the bundle and the data it was decided with. */
  revision: string
  narrow?: Narrowing
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

/** `makeInstance` is called for the first question and after each throw; `onFault` hears of every answer that was none. */
export function createEngine(makeInstance: () => PolicyInstance, onFault: (reason: string) => void): Engine {
  let instance: PolicyInstance | undefined

  const fault = (reason: string): Verdict => {
    onFault(reason)
    return { effect: 'deny', reason, rule: 'hub.guard.fault', fault: true }
  }
  return {
    evaluate(inputText) {
      if (Buffer.byteLength(inputText) > INPUT_BYTES_MAX) {
        const reason = `the policy input is over ${INPUT_BYTES_MAX} bytes; ask for less at once`
        return { effect: 'deny', reason, rule: 'hub.guard.input_bytes', fault: false }
      }
      try {
        instance ??= makeInstance()
        const verdict = judgeResult(instance.evaluate(inputText))
        return typeof verdict === 'string' ? fault(verdict) : verdict
      } catch (thrown) {
        instance = undefined
        return fault(`the policy module failed: ${textOf(thrown)}`)
      }
    },
  }
}

/** Pure: a result set of the module as a verdict, or the reason why it is none. */
export function judgeResult(resultSet: unknown): Verdict | string {
  if (!Array.isArray(resultSet) || resultSet.length !== 1) return 'the policy answered with no single result'
  const result = (resultSet[0] as { result?: unknown } | null)?.result
  if (!isRecord(result)) return 'the policy answered with something else than a document'
  const { version, allow, ask, reason, rule, narrow } = result
  if (version !== RESULT_VERSION) return 'the policy answered in an unknown version'
  if (typeof allow !== 'boolean' || typeof ask !== 'boolean') return 'the policy answered neither yes nor no'
  if (!isText(reason) || !isText(rule)) return 'the policy answered without rule or reason'
  const effect = allow === true ? (ask === true ? 'ask' : 'allow') : 'deny'
  const verdict: Verdict = { effect, reason, rule, fault: false }
  if (narrow === undefined || effect === 'deny') return verdict
  const narrowing = narrowingOf(narrow)
  return narrowing === undefined ? 'the policy narrowed in a way nobody knows' : { ...verdict, narrow: narrowing }
}

function narrowingOf(value: unknown): Narrowing | undefined {
  if (!isRecord(value)) return undefined
  const narrowing: Narrowing = {}
  for (const [key, item] of Object.entries(value)) {
    if ((key === 'capabilities' || key === 'agents') && Array.isArray(item) && item.every(isText)) narrowing[key] = item
    else if (key === 'ttlMs' && Number.isSafeInteger(item) && (item as number) > 0) narrowing.ttlMs = item as number
    else return undefined
  }
  return narrowing
}

const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= TEXT_MAX
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const textOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown)).slice(0, 200)
