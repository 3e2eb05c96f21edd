/**
 * Tries rules before they rule: every sample answered as written, each within five milliseconds of the processor (T20, T21).
 *
 * R1. Time is that of the processor, the quickest of up to twenty tries: a busy machine, which takes the processor away, refuses no good rules.
 * R2. Rules of the operator are tried under a bound of real time that stops them from outside: a rule that does not come to its end ends
 *     itself and not the hub.
 */
import vm from 'node:vm'
import type { HubError } from '../../base/errors.ts'
import type { Verdict } from './engine.ts'

const SAMPLE_MS_MAX = 5
const SAMPLE_TRIES = 20
/** For all trials of one bundle. Good rules take a hundredth of it. */
const TRIAL_MS_MAX = 10_000

export interface Trial {
  name: string
  input: Record<string, unknown>
  /** Nothing is expected of a question that is only timed. */
  expect?: { allow?: boolean; effect?: Verdict['effect']; code?: string | undefined; reason?: string | undefined }
}

/** What is wrong with an answer, or undefined. Pure. */
function wrongIn(verdict: Verdict, { allow, effect, code, reason }: NonNullable<Trial['expect']>): string | undefined {
  if (allow !== undefined && (verdict.effect === 'allow') !== allow)
    return `must be ${allow ? 'allowed' : 'denied'}, the answer is: ${verdict.reason}`
  if (effect !== undefined && verdict.effect !== effect)
    return `must be answered with ${effect}, the answer is ${verdict.effect}: ${verdict.reason}`
  if (code !== undefined && verdict.code !== code) return `must give the code ${code}, not ${verdict.code ?? 'none'}`
  if (reason !== undefined && verdict.reason !== reason)
    return `must give the reason "${reason}", not "${verdict.reason}"`
  return undefined
}

/** Asks each question until it was quick enough, at most twenty times. `cpuMs`: time of the processor. Throws what `fail` makes of the reason. */
export function tryAll(
  trials: readonly Trial[],
  evaluate: (inputText: string) => Verdict,
  cpuMs: () => number,
  fail: (why: string) => HubError,
): void {
  for (const { name, input, expect } of trials) {
    const text = JSON.stringify(input)
    let bestMs = Number.POSITIVE_INFINITY
    for (let turn = 0; turn < SAMPLE_TRIES && bestMs > SAMPLE_MS_MAX; turn += 1) {
      const startedAt = cpuMs()
      const verdict = evaluate(text)
      bestMs = Math.min(bestMs, cpuMs() - startedAt)
      if (verdict.fault) throw fail(`sample "${name}": ${verdict.reason}`)
      const wrong = expect && wrongIn(verdict, expect)
      if (wrong !== undefined) throw fail(`sample "${name}" ${wrong}`)
    }
    if (bestMs > SAMPLE_MS_MAX) throw fail(`sample "${name}" took ${Math.round(bestMs)} ms, over ${SAMPLE_MS_MAX}`)
  }
}

/** Runs `work`, and stops it from outside after `mostMs` of real time: then throws what `fail` makes of that. */
export function bounded<Result>(work: () => Result, fail: (why: string) => HubError, mostMs = TRIAL_MS_MAX): Result {
  const context = vm.createContext({ work })
  try {
    return vm.runInContext('work()', context, { timeout: mostMs }) as Result
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw thrown
    throw fail(`the rules did not come to an end within ${mostMs} ms`)
  }
}
