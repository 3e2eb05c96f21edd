/**
 * The compiled policy and its data: found, checked, tried, and swapped whole (S1-4, T21).
 *
 * B1. Every shipped file is the one `bundle.json` names by digest: module, rules, samples, shipped data.
 * B2. The module imports no built-in outside the allow-list, which is empty: nothing leaves its memory.
 * B3. Before it is in force it must answer every sample as written, each within 5 ms, with the shipped data. Samples marked `any` (which
 *     must hold whatever the operator writes) must hold with the operator's data too. With that data all samples are timed.
 * B4. A reload replaces module, data, engine and memo together, or throws and nothing changes. An older version is refused.
 * B5. If nothing could be loaded at the start, the hub answers only reads and repairs, by `noRules` in engine.ts.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { digestOf, sha256Hex } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { HubError, RULE_CODES } from '../../base/errors.ts'
import { sha256Shape } from '../../protocol/ids.ts'
import { type PolicyData, readPolicyData } from './data.ts'
import { createEngine, type Engine, noRules, type PolicyDecision } from './engine.ts'
import { createMemo, type Memo } from './memo.ts'
import { compileModule, type PolicyModule } from './module.ts'

const FILE_BYTES_MAX = 4 * 1024 * 1024
const SAMPLE_MS_MAX = 5
const SAMPLE_TRIES = 20
const MEMO_GENERATION_MAX = 2048
const MEMO_KEY_CHARS_MAX = 4096
/** Imported built-ins a module may call in this process. None: what the rules need is compiled into them. */
const BUILTINS_ALLOWED: readonly string[] = []

const digests = z.record(z.string().regex(/^[a-z0-9_-]+\.(rego|json)$/), sha256Shape)

export const bundleShape = z.strictObject({
  /** Rises by one whenever the rules change; a hub that has used one version refuses an older one. */
  version: z.int().positive(),
  /** SHA-256 over names and digests of the rules. */
  revision: sha256Shape,
  opaVersion: z.string().max(20),
  wasmSha256: sha256Shape,
  sources: digests,
  /** What a new bundle is tried on. */
  trials: digests,
  builtins: z.array(z.string().max(64)),
})
export type Bundle = z.output<typeof bundleShape>

const samplesShape = z
  .array(
    z.strictObject({
      name: z.string().min(1).max(200),
      data: z.enum(['shipped', 'any']).default('shipped'),
      input: z.record(z.string(), z.unknown()),
      expect: z.strictObject({
        allow: z.boolean(),
        code: z.enum(RULE_CODES).optional(),
        reason: z.string().optional(),
      }),
    }),
  )
  .min(10)
type Sample = z.output<typeof samplesShape>[number]

/** Identifies the rules: what `revision` in bundle.json must be. */
export const sourcesRevision = (sources: Record<string, string>): string => digestOf('hub.policy.sources', sources)

const AGAIN = 'put it back as it was, then `hub policy reload`, or `hub up` if the hub is down'

/** `broken`: whether the operator's data is at fault, or what was shipped; the first leaves the rules in force as they are. */
const refuse = (why: string, cause?: unknown, broken: 'bundle' | 'data' = 'bundle') =>
  new HubError('policy_unavailable', `${why}; ${AGAIN}`, { cause, facts: { broken } })

export interface ActivePolicy {
  readonly bundle: Bundle
  readonly engine: Engine
  readonly memo: Memo<PolicyDecision>
  /** Undefined if no rules are in force. */
  readonly data?: PolicyData
  readonly dataDigest: string
  /** Of bundle and data together. */
  readonly revision: string
  readonly dataCommit?: string
  readonly loadedAtMs: number
}

export interface PolicyStatus {
  version: number
  revision: string
  wasmSha256: string
  dataDigest: string
  dataCommit?: string
  loadedAtMs: number
  builtins: string[]
  memoSize: number
}

export interface Policy {
  active(): ActivePolicy
  status(): PolicyStatus
  /** Swaps whole, or throws `policy_unavailable` and keeps the old one. */
  reload(): void
  /** Why nothing could be loaded at the start (B5); undefined if rules were loaded. */
  unloaded(): HubError | undefined
  /** One listener hears every question that the module gave no exact answer to. */
  onFault(listener: (reason: string) => void): void
}

export interface PolicyParts {
  clock: Clock
  /** The commit of the operator's data, if it is in a repository; may throw HubError, for example for a dirty tree (S1-13). */
  commitOf?: (dataPath: string) => string | undefined
  /** For tests: comes between the compiled module and its instances. */
  compile?: (wasm: Buffer) => PolicyModule
}

/**
 * Loads at once; throws `policy_unavailable` with the file and what is wrong with it.
 * `bundleDir` holds the shipped files with their digests, `dataPath` the operator's data; `versionMin` is the newest version used so far.
 * With `goesWithoutRules` it does not throw, and `unloaded` says why there are no rules (B5).
 */
export function createPolicy(
  options: { bundleDir: string; dataPath: string; versionMin?: number; goesWithoutRules?: boolean },
  parts: PolicyParts,
): Policy {
  const oldest = options.versionMin ?? 0
  let unloaded: HubError | undefined
  let tellFault: (reason: string) => void = () => undefined
  let active = first()

  function first(): ActivePolicy {
    try {
      return load(oldest)
    } catch (thrown) {
      if (!(thrown instanceof HubError) || !options.goesWithoutRules) throw thrown
      unloaded = thrown
      return withoutRules(thrown.message, parts.clock.wallMs())
    }
  }

  function load(versionMin: number): ActivePolicy {
    const { bundle, wasm, samples, shipped } = readBundle(options.bundleDir)
    if (bundle.version < versionMin)
      throw new HubError(
        'policy_unavailable',
        `the rules of this version (${bundle.version}) are older than those this hub has already used (${versionMin}); start the newer version again, or go back to the copy made before the update: hub undo-update`,
      )
    const { data, digest } = readPolicyData(readBounded(options.dataPath, 'data'), options.dataPath)
    const dataCommit = parts.commitOf?.(options.dataPath)
    const module = compiled(wasm, bundle, parts.compile)
    trySamples(module, samples, shipped, parts.clock, (sample) => sample)
    trySamples(module, samples, data, parts.clock, ofAny, 'data')
    return {
      bundle,
      data,
      engine: createEngine(
        () => module.instantiate(data),
        (reason) => tellFault(reason),
      ),
      memo: createMemo<PolicyDecision>(MEMO_GENERATION_MAX, MEMO_KEY_CHARS_MAX),
      dataDigest: digest,
      revision: digestOf('hub.policy.revision', { bundle: bundle.revision, data: digest }),
      ...(dataCommit === undefined ? {} : { dataCommit }),
      loadedAtMs: parts.clock.wallMs(),
    }
  }

  return {
    active: () => active,
    status: () => ({
      version: active.bundle.version,
      revision: active.bundle.revision,
      wasmSha256: active.bundle.wasmSha256,
      dataDigest: active.dataDigest,
      ...(active.dataCommit === undefined ? {} : { dataCommit: active.dataCommit }),
      loadedAtMs: active.loadedAtMs,
      builtins: active.bundle.builtins,
      memoSize: active.memo.size,
    }),
    reload() {
      active = load(Math.max(oldest, active.bundle.version))
    },
    unloaded: () => unloaded,
    onFault(listener) {
      tellFault = listener
    },
  }
}

function compiled(wasm: Buffer, bundle: Bundle, compile = compileModule): PolicyModule {
  let module: PolicyModule
  try {
    module = compile(wasm)
  } catch (thrown) {
    throw refuse('the policy module cannot be loaded', thrown)
  }
  const foreign = module.builtins.filter((name) => !BUILTINS_ALLOWED.includes(name))
  if (foreign.length > 0) throw refuse(`the policy module wants built-ins that are not allowed: ${foreign.join(', ')}`)
  if (module.builtins.join() !== bundle.builtins.join())
    throw refuse('bundle.json names other built-ins than the module')
  return module
}

/** Samples that must hold whatever the operator's data says. */
function ofAny(sample: Sample): Sample | undefined {
  return sample.data === 'any' ? sample : undefined
}

/** Tries data on the shipped rules without putting it in force, for `hub policy check`. Throws `policy_unavailable`. */
export function tryPolicyData(bundleDir: string, data: PolicyData, clock: Clock): void {
  const { bundle, wasm, samples } = readBundle(bundleDir)
  trySamples(compiled(wasm, bundle), samples, data, clock, ofAny, 'data')
}

/** Its values cannot be taken for a version or a digest. */
function withoutRules(why: string, nowMs: number): ActivePolicy {
  return {
    bundle: { version: 0, revision: 'none', opaVersion: '', wasmSha256: 'none', sources: {}, trials: {}, builtins: [] },
    engine: noRules(why),
    memo: createMemo<PolicyDecision>(MEMO_GENERATION_MAX, MEMO_KEY_CHARS_MAX),
    dataDigest: 'none',
    revision: 'none',
    loadedAtMs: nowMs,
  }
}

function readBounded(path: string, broken: 'bundle' | 'data' = 'bundle'): Buffer {
  try {
    const bytes = readFileSync(path)
    if (bytes.length > FILE_BYTES_MAX) throw new Error(`larger than ${FILE_BYTES_MAX} bytes`)
    return bytes
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException
    throw refuse(`${path} cannot be read: ${code === 'ENOENT' ? 'it is not there' : message}`, thrown, broken)
  }
}

function readShape<Shape extends z.ZodType>(shape: Shape, bytes: Buffer, name: string): z.output<Shape> {
  try {
    return shape.parse(JSON.parse(bytes.toString('utf8')))
  } catch (thrown) {
    throw refuse(`${name} has the wrong form`, thrown)
  }
}

function readBundle(dir: string): { bundle: Bundle; wasm: Buffer; samples: Sample[]; shipped: PolicyData } {
  const bundle = readShape(bundleShape, readBounded(join(dir, 'bundle.json')), 'bundle.json')
  const checked = (name: string, digest: string | undefined): Buffer => {
    const bytes = readBounded(join(dir, name))
    if (sha256Hex(bytes) !== digest)
      throw refuse(`${name} is not the file bundle.json names (after a change: \`node scripts/build-policies.ts\`)`)
    return bytes
  }
  const wasm = checked('policy.wasm', bundle.wasmSha256)
  for (const [name, digest] of Object.entries(bundle.sources)) checked(name, digest)
  if (sourcesRevision(bundle.sources) !== bundle.revision)
    throw refuse('the revision in bundle.json is not that of its rules')
  const samples = readShape(samplesShape, checked('samples.json', bundle.trials['samples.json']), 'samples.json')
  const shipped = readPolicyData(checked('data.json', bundle.trials['data.json']), 'policies/data.json').data
  return { bundle, wasm, samples, shipped }
}

/** Asks each sample up to twenty times and takes the quickest: on a busy machine three tries were all paused, and the hub did not start. */
function trySamples(
  module: PolicyModule,
  samples: readonly Sample[],
  data: PolicyData,
  clock: Clock,
  answerDue: (sample: Sample) => Sample | undefined,
  broken: 'bundle' | 'data' = 'bundle',
): void {
  const fail = (why: string) => refuse(why, undefined, broken)
  let failed = ''
  const engine = createEngine(
    () => module.instantiate(data),
    (reason) => {
      failed = reason
    },
  )
  for (const sample of samples) {
    const text = JSON.stringify(sample.input)
    let bestMs = Number.POSITIVE_INFINITY
    for (let turn = 0; turn < SAMPLE_TRIES && bestMs > SAMPLE_MS_MAX; turn += 1) {
      const startedAt = clock.monotonicMs()
      const verdict = engine.evaluate(text)
      bestMs = Math.min(bestMs, clock.monotonicMs() - startedAt)
      if (failed !== '') throw fail(`sample "${sample.name}": ${failed}`)
      const { allow, code, reason } = answerDue(sample)?.expect ?? {}
      if (allow !== undefined && (verdict.effect === 'allow') !== allow)
        throw fail(`sample "${sample.name}" must be ${allow ? 'allowed' : 'denied'}, the answer is: ${verdict.reason}`)
      if (code !== undefined && verdict.code !== code)
        throw fail(`sample "${sample.name}" must give the code ${code}, not ${verdict.code ?? 'none'}`)
      if (reason !== undefined && verdict.reason !== reason)
        throw fail(`sample "${sample.name}" must give the reason "${reason}", not "${verdict.reason}"`)
    }
    if (bestMs > SAMPLE_MS_MAX)
      throw fail(`sample "${sample.name}" took ${Math.round(bestMs)} ms, over ${SAMPLE_MS_MAX}`)
  }
}
