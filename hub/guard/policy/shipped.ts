/**
 * The shipped bundle: compiled rules, their sources, samples and data, each the file that `bundle.json` names by digest (T21). Also where any
 * files of rules are read from, and how a bundle that must not rule is refused.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { digestOf, sha256Hex } from '../../base/canonical.ts'
import { HubError } from '../../base/errors.ts'
import { sha256Shape } from '../../protocol/ids.ts'
import { type PolicyData, readPolicyData } from './data.ts'
import { RULE_CODES } from './engine.ts'

const FILE_BYTES_MAX = 4 * 1024 * 1024

/** Files of one bundle: of a folder, or as the home keeps those it last accepted. */
export interface PolicyFiles {
  /** For messages: the folder. */
  readonly place: string
  names(): readonly string[]
  /** Throws with the reason if the file cannot be read. */
  read(name: string): Buffer
}

/** `broken`: whether the operator's files are at fault, or what was shipped. The first leaves the rules in force as they are. */
export type Broken = 'bundle' | 'data'

const AGAIN = 'put it back as it was, then `hub policy reload`, or `hub up` if the hub is down'

/** What is thrown for a bundle that must not rule: why, and what to do. */
export const refuse = (why: string, cause?: unknown, broken: Broken = 'bundle', remedy = AGAIN): HubError =>
  new HubError('policy_unavailable', `${why}; ${remedy}`, { cause, facts: { broken } })

export const filesOf = (folder: string): PolicyFiles => ({
  place: folder,
  names: () => readdirSync(folder).sort(),
  read(name) {
    const bytes = readFileSync(join(folder, name))
    if (bytes.length > FILE_BYTES_MAX) throw new Error(`larger than ${FILE_BYTES_MAX} bytes`)
    return bytes
  },
})

/** Throws `policy_unavailable` with file and reason. */
export function readNamed(files: PolicyFiles, name: string, broken: Broken = 'bundle', remedy?: string): Buffer {
  try {
    return files.read(name)
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException
    const why = code === 'ENOENT' ? 'it is not there' : message
    throw refuse(`${join(files.place, name)} cannot be read: ${why}`, thrown, broken, remedy)
  }
}

/** Throws `policy_unavailable` if the bytes are no JSON of this shape. */
export function readShape<Shape extends z.ZodType>(
  shape: Shape,
  bytes: Buffer,
  name: string,
  broken: Broken = 'bundle',
): z.output<Shape> {
  try {
    return shape.parse(JSON.parse(bytes.toString('utf8')))
  } catch (thrown) {
    const remedy = broken === 'data' ? 'correct or remove it, then `hub policy reload`' : undefined
    throw refuse(`${name} has the wrong form: ${wrongText(thrown)}`, thrown, broken, remedy)
  }
}

/** Where the first fault is, and what it is. */
function wrongText(thrown: unknown): string {
  const [issue] = thrown instanceof z.ZodError ? thrown.issues : []
  if (issue === undefined) return (thrown as Error).message
  return issue.path.length === 0 ? issue.message : `${issue.path.join('.')}: ${issue.message}`
}

export const digestsShape = z.record(z.string().regex(/^[a-z0-9_-]+\.(rego|json)$/), sha256Shape)

export const bundleShape = z.strictObject({
  /** Rises by one whenever the rules change; a hub that has used one version refuses an older one. */
  version: z.int().positive(),
  /** SHA-256 over names and digests of the rules. */
  revision: sha256Shape,
  opaVersion: z.string().max(20),
  wasmSha256: sha256Shape,
  sources: digestsShape,
  /** What a new bundle is tried on. */
  trials: digestsShape,
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
export type ShippedSample = z.output<typeof samplesShape>[number]

/** Identifies the rules: what `revision` in bundle.json must be. */
export const sourcesRevision = (sources: Record<string, string>): string => digestOf('hub.policy.sources', sources)

export interface ShippedBundle {
  bundle: Bundle
  wasm: Buffer
  samples: ShippedSample[]
  data: PolicyData
  /** Every file of it, to be kept. */
  files: ReadonlyMap<string, Buffer>
}

/** Reads and checks the shipped bundle. Throws `policy_unavailable` with the file and what is wrong with it. */
export function readShipped(from: PolicyFiles): ShippedBundle {
  const files = new Map<string, Buffer>()
  const take = (name: string): Buffer => {
    const bytes = readNamed(from, name)
    files.set(name, bytes)
    return bytes
  }
  const bundle = readShape(bundleShape, take('bundle.json'), 'bundle.json')
  const checked = (name: string, digest: string | undefined): Buffer => {
    const bytes = take(name)
    if (sha256Hex(bytes) !== digest)
      throw refuse(`${name} is not the file bundle.json names (after a change: \`node scripts/build-policies.ts\`)`)
    return bytes
  }
  const wasm = checked('policy.wasm', bundle.wasmSha256)
  for (const [name, digest] of Object.entries(bundle.sources)) checked(name, digest)
  if (sourcesRevision(bundle.sources) !== bundle.revision)
    throw refuse('the revision in bundle.json is not that of its rules')
  const samples = readShape(samplesShape, checked('samples.json', bundle.trials['samples.json']), 'samples.json')
  const { data } = readPolicyData(checked('data.json', bundle.trials['data.json']), 'policies/data.json')
  return { bundle, wasm, samples, data, files }
}
