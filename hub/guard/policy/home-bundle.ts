/**
 * The operator's part of the rules in the home's folder `policy/` (S1-13, T21): `data.json`, and where they write rules of their own also
 * `*.rego`, what opa made of them (`home.wasm`), questions with their answers (`samples.json`), and the manifest (`bundle.json`).
 *
 * H1. The manifest names every file by its digest. Without own rules and without a signature none is needed; if there is one, it must fit.
 * H2. The hub compiles nothing and starts no program for it. `hub policy reload` and `hub policy seal` run opa, in a process of their own.
 * H3. A signature that is wrong is always refused; a missing one, and one that nothing can check, where `policy.requireSignature` asks for it.
 */
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { join } from 'node:path'
import { z } from 'zod'
import { canonicalText, digestOf, sha256Hex } from '../../base/canonical.ts'
import { sha256Shape } from '../../protocol/ids.ts'
import { type PolicyData, readPolicyData } from './data.ts'
import { digestsShape, type PolicyFiles, readNamed, readShape, refuse } from './shipped.ts'

export const MANIFEST = 'bundle.json'
export const HOME_WASM = 'home.wasm'
const DATA = 'data.json'
const SAMPLES = 'samples.json'
/** What a rule of the operator's must be in, so that it cannot stand for another. */
const PACKAGE = /^package hub\.home(?:\.[a-z0-9_]+)*[ \t]*$/m
const RULES_MAX = 64

export const manifestShape = z.strictObject({
  format: z.literal(1),
  /** SHA-256 over all that the bundle consists of. */
  revision: sha256Shape,
  /** The commit that the files were taken from; null if they were in none. */
  commit: z
    .string()
    .regex(/^[0-9a-f]{40,64}$/)
    .nullable(),
  opaVersion: z.string().max(20).nullable(),
  wasmSha256: sha256Shape.nullable(),
  sources: digestsShape,
  /** `data.json`, and `samples.json` where it is there. */
  data: digestsShape,
  builtins: z.array(z.string().max(64)),
  /** Ed25519 over the manifest without this, in base64. */
  signature: z.string().max(200).optional(),
})
export type Manifest = z.output<typeof manifestShape>

const homeSamplesShape = z
  .array(
    z.strictObject({
      name: z.string().min(1).max(200),
      input: z.record(z.string(), z.unknown()),
      expect: z.strictObject({ effect: z.enum(['allow', 'ask', 'deny']), reason: z.string().optional() }),
    }),
  )
  .max(1000)
export type HomeSample = z.output<typeof homeSamplesShape>[number]

type Body = Omit<Manifest, 'revision' | 'signature'>

/** What `revision` in the manifest must be. */
export const manifestRevision = ({ opaVersion, wasmSha256, sources, data, builtins }: Body): string =>
  digestOf('hub.policy.home', { opaVersion, wasmSha256, sources, data, builtins })

/** The bytes that are signed. */
export function signedBytes(manifest: Manifest): Buffer {
  const { signature: _, ...rest } = manifest
  return Buffer.from(`hub-policy-bundle-v1\0${canonicalText(rest)}`)
}

/** The operator's public key as hub.yaml names it: the base64 of an Ed25519 key (SPKI). Throws for anything else. */
export function publicKeyOf(text: string): KeyObject {
  const bare = text.replace(/-----[A-Z ]+-----/g, '').replace(/\s/g, '')
  const key = createPublicKey({ key: Buffer.from(bare, 'base64'), format: 'der', type: 'spki' })
  if (key.asymmetricKeyType !== 'ed25519') throw new Error('it is no Ed25519 key')
  return key
}

export interface HomeRules {
  /** Of the whole bundle, data included. */
  revision: string
  wasm: Buffer
  builtins: readonly string[]
  sources: ReadonlyMap<string, string>
  samples: readonly HomeSample[]
}

export interface HomeBundle {
  data: PolicyData
  dataDigest: string
  rules?: HomeRules
  manifest?: Manifest
  /** A signature was there and right. */
  isSigned: boolean
  files: ReadonlyMap<string, Buffer>
}

/** What hub.yaml and the profile ask of the operator's bundle. */
export interface HomeTerms {
  mustBeSigned: boolean
  publicKey?: string
}

const isRule = (name: string): boolean => /^[a-z0-9_-]+\.rego$/.test(name) && !name.endsWith('_test.rego')

const SEAL = 'seal it: `hub policy reload`, or `hub policy seal` without a running hub'
const SIGN = 'sign it: `hub policy seal --key FILE`, then `hub policy reload`'
const faulty = (why: string, remedy = SEAL, cause?: unknown) => refuse(why, cause, 'data', remedy)

/** The names of the operator's rules, without tests. Throws if one has a name that no rule may have, or there are too many. */
export function ruleNames(names: readonly string[]): string[] {
  const all = names.filter((name) => name.endsWith('.rego'))
  const odd = all.find((name) => !isRule(name) && !/^[a-z0-9_-]+_test\.rego$/.test(name))
  if (odd !== undefined)
    throw faulty(`policy/${odd} is no name for rules`, 'rename it: small letters, digits, - and _, then .rego')
  const rules = all.filter(isRule)
  if (rules.length > RULES_MAX)
    throw faulty(`policy/ has ${rules.length} files of rules, more than ${RULES_MAX}`, 'join some of them')
  return rules
}

/** Throws if a file of rules is in another package than `hub.home`. */
export function requirePackage(name: string, text: string): void {
  if (!PACKAGE.test(text))
    throw faulty(`policy/${name} must be in package hub.home`, 'write `package hub.home` as its first line')
}

/** Reads and checks the operator's bundle, without running any of it. Throws `policy_unavailable` with the file, why, and what to do. */
export function readHomeBundle(from: PolicyFiles, terms: HomeTerms): HomeBundle {
  const files = new Map<string, Buffer>()
  const take = (name: string): Buffer => {
    const bytes = readNamed(from, name, 'data')
    files.set(name, bytes)
    return bytes
  }
  const { data, digest } = readPolicyData(take(DATA), join(from.place, DATA))
  const names = from.names()
  const rules = ruleNames(names)
  if (!names.includes(MANIFEST)) {
    const [first] = rules
    if (first !== undefined) throw faulty(`policy/${first} is not compiled: there is no policy/${MANIFEST}`)
    if (terms.mustBeSigned) throw faulty(`policy/ has no signature, and policy.requireSignature asks for one`, SIGN)
    return { data, dataDigest: digest, isSigned: false, files }
  }
  const manifest = readShape(manifestShape, take(MANIFEST), `policy/${MANIFEST}`, 'data')
  const given = new Set([...Object.keys(manifest.sources), ...Object.keys(manifest.data)])
  const left = [...rules, ...[DATA, SAMPLES].filter((name) => names.includes(name))].find((name) => !given.has(name))
  if (left !== undefined) throw faulty(`policy/${left} is not in policy/${MANIFEST}`)
  for (const [name, due] of Object.entries({ ...manifest.sources, ...manifest.data })) {
    if (!names.includes(name)) throw faulty(`policy/${name} is named by policy/${MANIFEST}, and it is not there`)
    if (sha256Hex(take(name)) !== due) throw faulty(`policy/${name} is not the file that policy/${MANIFEST} names`)
  }
  if (manifestRevision(manifest) !== manifest.revision)
    throw faulty(`the revision in policy/${MANIFEST} is not that of its files`)
  const isSigned = requireSignature(manifest, terms)
  const home = { data, dataDigest: digest, manifest, isSigned, files }
  const { wasmSha256, builtins, revision } = manifest
  if (Object.keys(manifest.sources).length === 0) return home
  if (wasmSha256 === null) throw faulty(`policy/${MANIFEST} names rules and nothing that was compiled of them`)
  const wasm = take(HOME_WASM)
  if (sha256Hex(wasm) !== wasmSha256) throw faulty(`policy/${HOME_WASM} is not the file that policy/${MANIFEST} names`)
  const sources = new Map(Object.keys(manifest.sources).map((name) => [name, String(files.get(name))]))
  for (const [name, text] of sources) requirePackage(name, text)
  const kept = files.get(SAMPLES)
  const samples = kept === undefined ? [] : readShape(homeSamplesShape, kept, `policy/${SAMPLES}`, 'data')
  return { ...home, rules: { revision, wasm, builtins, sources, samples } }
}

/** Whether it is signed. Throws if it is signed wrongly, or not as the terms ask. */
function requireSignature(manifest: Manifest, { mustBeSigned, publicKey }: HomeTerms): boolean {
  const { signature } = manifest
  if (mustBeSigned && signature === undefined)
    throw faulty(`policy/${MANIFEST} has no signature, and policy.requireSignature asks for one`, SIGN)
  if (mustBeSigned && publicKey === undefined)
    throw faulty('a signature is required, and hub.yaml names no key', 'set policy.publicKey in hub.yaml')
  if (signature === undefined || publicKey === undefined) return false
  let isRight = false
  try {
    isRight = verify(null, signedBytes(manifest), publicKeyOf(publicKey), Buffer.from(signature, 'base64'))
  } catch (thrown) {
    throw faulty('the signature of policy/bundle.json cannot be checked', SIGN, thrown)
  }
  if (!isRight) throw faulty(`the signature of policy/${MANIFEST} is not by the key in policy.publicKey`, SIGN)
  return true
}
