/**
 * Compiles rules and tries them before they rule: every sample answered as written, each within five milliseconds of the processor (T20, T21).
 *
 * R1. Time is that of the processor, the quickest of up to twenty tries: a busy machine, which takes the processor away, refuses no good rules.
 * R2. Rules of the operator are tried under a bound of real time that stops them from outside: a rule that does not come to its end ends
 *     itself and not the hub.
 */
import vm from 'node:vm'
import { threadCpuMs } from '../../base/clock.ts'
import type { HubError } from '../../base/errors.ts'
import type { PolicyData } from './data.ts'
import { createEngine, type Engine, type Verdict } from './engine.ts'
import type { HomeBundle, HomeRules } from './home-bundle.ts'
import { createHomeEngine, type HomeEngine, withHomeRules } from './home-rules.ts'
import { compileModule, HOME_ENTRY_POINT, type PolicyModule } from './module.ts'
import { type Broken, filesOf, readShipped, refuse, type ShippedBundle } from './shipped.ts'

const SAMPLE_MS_MAX = 5
const SAMPLE_TRIES = 20
/** Imported built-ins a module may call in this process. None: what the rules need is compiled into them. */
const BUILTINS_ALLOWED: readonly string[] = []
/** For all trials of one bundle. Good rules take a hundredth of it. */
const TRIAL_MS_MAX = 10_000

interface Trial {
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
function tryAll(
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

function compiled(
  wasm: Buffer,
  named: readonly string[],
  broken: Broken,
  compile: (wasm: Buffer) => PolicyModule,
): PolicyModule {
  const isOwn = broken === 'data'
  const whose = isOwn ? "the module of the operator's rules" : 'the policy module'
  let module: PolicyModule
  try {
    module = compile(wasm)
  } catch (thrown) {
    throw refuse(`${whose} cannot be loaded`, thrown, broken)
  }
  const foreign = module.builtins.filter((name) => !BUILTINS_ALLOWED.includes(name))
  if (foreign.length > 0) {
    const remedy = isOwn ? 'write them without' : undefined
    throw refuse(`${whose} wants built-ins that are not allowed: ${foreign.join(', ')}`, undefined, broken, remedy)
  }
  if (module.builtins.join() !== named.join())
    throw refuse('bundle.json names other built-ins than the module', undefined, broken)
  return module
}

export interface TrialParts {
  /** Time that this thread had of the processor, in milliseconds; the system's own without it. */
  cpuMs?: () => number
  /** For tests: comes between the compiled module and its instances. */
  compile?: (wasm: Buffer) => PolicyModule
}

/** What can decide: both together, and each alone. */
export interface TriedRules {
  readonly engine: Engine
  readonly shipped: Engine
  readonly home?: HomeRules & { engine: HomeEngine }
  /** The same rules on other data, for an explanation. */
  readonly tryWith: (data: PolicyData) => Engine
}

/** Compiles and tries the rules (bundle.ts B2, B3); answers what can decide. Throws `policy_unavailable`. */
export function tryRules(
  shipped: Omit<ShippedBundle, 'files'>,
  { data, rules }: Pick<HomeBundle, 'data' | 'rules'>,
  onFault: (reason: string) => void,
  { cpuMs = threadCpuMs, compile = compileModule }: TrialParts,
): TriedRules {
  const { bundle, wasm, samples } = shipped
  const module = compiled(wasm, bundle.builtins, 'bundle', compile)
  const engineOn = (on: PolicyData, hear: (reason: string) => void = () => undefined) =>
    createEngine(() => module.instantiate(on), hear)
  const trials: Trial[] = samples.map(({ name, input, expect }) => ({ name, input, expect }))
  tryAll(trials, engineOn(shipped.data).evaluate, cpuMs, (why) => refuse(why))
  const failed = (why: string) => refuse(why, undefined, 'data')
  const ofAny = samples.map(({ name, data: on, input, expect }) =>
    on === 'any' ? { name, input, expect } : { name, input },
  )
  tryAll(ofAny, engineOn(data).evaluate, cpuMs, failed)
  const engine = engineOn(data, onFault)
  if (rules === undefined) return { engine, shipped: engine, tryWith: engineOn }
  const own = compiled(rules.wasm, rules.builtins, 'data', (bytes) => compileModule(bytes, HOME_ENTRY_POINT))
  const homeEngine = () => createHomeEngine(() => own.instantiate(data))
  bounded(() => tryHomeRules(rules, trials, engineOn(data), homeEngine(), cpuMs), failed)
  const home = homeEngine()
  const tryWith = (on: PolicyData) =>
    withHomeRules(
      engineOn(on),
      createHomeEngine(() => own.instantiate(on)),
      () => undefined,
    )
  return { engine: withHomeRules(engine, home, onFault), shipped: engine, home: { ...rules, engine: home }, tryWith }
}

/** Every shipped question gets an exact answer from the operator's rules, in time, and their own samples the answer they expect of both. */
function tryHomeRules(
  { samples }: HomeRules,
  trials: readonly Trial[],
  shipped: Engine,
  home: HomeEngine,
  cpuMs: () => number,
): void {
  const exact = (inputText: string) => {
    const answer = home.ask(inputText)
    const fault = typeof answer === 'string'
    return { effect: 'deny', reason: fault ? answer : '', rule: '', fault } as const
  }
  const failed = (why: string) =>
    refuse(why, undefined, 'data', "correct the operator's rules, then `hub policy reload`")
  tryAll(
    trials.map(({ name, input }) => ({ name, input })),
    exact,
    cpuMs,
    failed,
  )
  const both = withHomeRules(shipped, home, () => undefined)
  tryAll(samples, both.evaluate, cpuMs, failed)
}

/** Tries data on the shipped rules without putting it in force, for `hub policy check`. Throws `policy_unavailable`. */
export function tryPolicyData(bundleDir: string, data: PolicyData): void {
  tryRules(readShipped(filesOf(bundleDir)), { data }, () => undefined, {})
}
