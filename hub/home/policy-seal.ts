/**
 * Makes a bundle of the operator's rules: compiled by opa, named by their digests, signed where a key is given (S1-13). Runs in a process of
 * its own (policy-tool.ts): the hub starts no compiler.
 */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { createPrivateKey, sign } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import { sha256Hex } from '../base/canonical.ts'
import { HubError } from '../base/errors.ts'
import { replaceFile } from '../base/whole-file.ts'
import {
  HOME_WASM,
  MANIFEST,
  type Manifest,
  manifestRevision,
  manifestShape,
  readHomeBundle,
  requirePackage,
  ruleNames,
  signedBytes,
} from '../guard/policy/home-bundle.ts'
import { compileModule, HOME_ENTRY_POINT } from '../guard/policy/module.ts'
import { filesOf, type PolicyFiles } from '../guard/policy/shipped.ts'
import { commitOfFiles } from './init.ts'
import { requireFields } from './policy-fields.ts'

/** What the operator's rules may say, each a set. */
const WORDS = ['deny', 'ask', 'narrow'] as const
/** Compiled beside the operator's rules: their one answer. A word they do not have says nothing. */
const ENTRY = `package hub.entry

answer := {"version": 1, "deny": deny, "ask": ask, "narrow": narrow}

${WORDS.map((word) => `default ${word} := []\n\n${word} := data.hub.home.${word}\n`).join('\n')}`

const INSTALL =
  'install opa 1.x from https://www.openpolicyagent.org/docs/#running-opa so that it is on PATH, or run `scripts/opa version` in the checkout, which builds it where Go 1.24 or later is'
const BUILT = fileURLToPath(new URL('../../.tools/bin/opa', import.meta.url))

const wrong = (why: string, remedy: string) =>
  new HubError('policy_unavailable', `${why}; ${remedy}`, { facts: { broken: 'data' } })

/** The opa of this machine and its version. Throws `policy_unavailable` that says how to install it. */
function findOpa(): { opa: string; version: string } {
  for (const opa of ['opa', BUILT]) {
    const { status, stdout } = spawnSync(opa, ['version'], { encoding: 'utf8' })
    const version = status === 0 ? /^Version: (1\.\S+)$/m.exec(stdout)?.[1] : undefined
    if (version !== undefined) return { opa, version }
  }
  throw wrong("the operator's rules need opa to be compiled, and there is none in version 1", INSTALL)
}

/** Runs opa in the folder of the rules, so that its messages name the files as they are. */
export function runOpa(folder: string, words: readonly string[]): SpawnSyncReturns<string> {
  return spawnSync(findOpa().opa, words, { cwd: folder, encoding: 'utf8', maxBuffer: 64 * 1024 ** 2 })
}

function requireOpa(folder: string, words: readonly string[]): string {
  const { status, stdout, stderr } = runOpa(folder, words)
  if (status === 0) return stdout
  const said = `${stdout}${stderr}`.trim().split('\n').slice(0, 10).join('; ').slice(0, 1500)
  throw wrong(`opa refuses the rules in policy/: ${said}`, 'correct them; `hub policy check` shows it again')
}

/** `data.hub.home`. Longer paths are packages below it, whose rules only help. */
const HOME_PATH_LENGTH = 3

interface Head {
  name?: string
  ref?: { value: unknown }[]
  key?: unknown
  value?: unknown
}

/** Throws unless the rules say at least one of the three words, and each as a set: anything else would deny everything, or nothing. */
function requireWords(folder: string, rules: readonly string[]): void {
  const heads = rules.flatMap((name) => {
    const { package: own, rules: found = [] } = JSON.parse(requireOpa(folder, ['parse', '--format', 'json', name])) as {
      package: { path: unknown[] }
      rules?: { head: Head }[]
    }
    const isPart = own.path.length > HOME_PATH_LENGTH
    return found.map(({ head }) => ({ name, isPart, head, word: String(head.ref?.[0]?.value ?? head.name) }))
  })
  const said = heads.filter(({ word }) => WORDS.some((each) => each === word))
  const unheard = said.find(({ isPart }) => isPart)
  if (unheard !== undefined)
    throw wrong(
      `policy/${unheard.name}: ${unheard.word} counts only in package hub.home itself`,
      'write `package hub.home` as its first line, or give it another name',
    )
  const odd = said.find(({ head }) => head.key === undefined || head.value !== undefined)
  if (odd !== undefined)
    throw wrong(
      `policy/${odd.name}: ${odd.word} must be a set`,
      `write \`${odd.word} contains ${odd.word === 'narrow' ? '{"ttlMs": 60000}' : '"why"'} if { ... }\``,
    )
  if (said.length === 0)
    throw wrong(
      'the rules in policy/ say nothing',
      'write at least one of `deny contains`, `ask contains`, `narrow contains`',
    )
}

/** Whether opa is here. */
export function hasOpa(): boolean {
  try {
    findOpa()
    return true
  } catch {
    return false
  }
}

function compile(folder: string, rules: readonly string[]): { wasm: Buffer; opaVersion: string } {
  const { opa, version } = findOpa()
  requireOpa(folder, ['check', '--strict', ...rules])
  requireWords(folder, rules)
  requireFields(rules, (words) => runOpa(folder, words))
  const work = mkdtempSync(join(tmpdir(), 'hub-policy-'))
  try {
    const [entry, archive] = [join(work, 'entry.rego'), join(work, 'bundle.tar.gz')]
    writeFileSync(entry, ENTRY)
    requireOpa(folder, [
      ...['build', '--target', 'wasm', '--entrypoint', HOME_ENTRY_POINT, '--output', archive],
      ...[...rules, entry],
    ])
    const { status, stdout } = spawnSync('tar', ['-xzOPf', archive, '/policy.wasm'], { maxBuffer: 64 * 1024 ** 2 })
    if (status !== 0) throw wrong(`${opa} made no module of the rules`, INSTALL)
    return { wasm: stdout, opaVersion: version }
  } finally {
    rmSync(work, { recursive: true })
  }
}

export interface Candidate {
  /** The folder as it would be: with what was made now in the place of what is there. */
  files: PolicyFiles
  /** What was made now, by name; null for what is not needed any more. Empty if all that is there fits. */
  made: ReadonlyMap<string, Buffer | null>
}

function overlay(there: PolicyFiles, made: Candidate['made']): PolicyFiles {
  const names = () => [...new Set([...there.names(), ...made.keys()])].filter((name) => made.get(name) !== null).sort()
  return { place: there.place, names, read: (name) => made.get(name) ?? there.read(name) }
}

/**
 * What was compiled of these very rules before, as the manifest says: after a change of the data alone, nobody needs a compiler. Not to be
 * signed: who wrote the manifest may have put another module beside rules that look harmless.
 */
function compiledBefore(
  there: PolicyFiles,
  sources: Record<string, string>,
): { wasm: Buffer; opaVersion: string } | undefined {
  try {
    const before = manifestShape.parse(JSON.parse(String(there.read(MANIFEST))))
    const wasm = there.read(HOME_WASM)
    const isSame = before.wasmSha256 === sha256Hex(wasm) && isDeepStrictEqual(before.sources, sources)
    return isSame && before.opaVersion !== null ? { wasm, opaVersion: before.opaVersion } : undefined
  } catch {
    return undefined
  }
}

/** Whether what is in the folder is a bundle as it stands. */
function fits(folder: string): boolean {
  try {
    readHomeBundle(filesOf(folder), { mustBeSigned: false })
    return true
  } catch {
    return false
  }
}

/**
 * The bundle that the files of `folder` make; writes nothing. `key`: a file with an Ed25519 private key, to sign it.
 * Throws `policy_unavailable` with what opa says, or how to install it.
 */
export function makeCandidate(folder: string, key?: string): Candidate {
  const there = filesOf(folder)
  const names = there.names()
  const rules = ruleNames(names)
  if (key === undefined && fits(folder)) return { files: there, made: new Map() }
  const made = new Map<string, Buffer | null>()
  if (rules.length === 0 && key === undefined) {
    for (const name of [MANIFEST, HOME_WASM]) if (names.includes(name)) made.set(name, null)
    return { files: overlay(there, made), made }
  }
  const digests = (of: readonly string[]) =>
    Object.fromEntries(of.map((name) => [name, sha256Hex(there.read(name))] as const))
  for (const name of rules) requirePackage(name, String(there.read(name)))
  const sources = digests(rules)
  const before = key === undefined ? compiledBefore(there, sources) : undefined
  const compiled = rules.length === 0 ? undefined : (before ?? compile(folder, rules))
  if (compiled !== undefined) made.set(HOME_WASM, compiled.wasm)
  const data = ['data.json', 'samples.json'].filter((name) => names.includes(name))
  const body = {
    format: 1,
    commit: commitOfFiles(folder, [...rules, ...data]) ?? null,
    opaVersion: compiled?.opaVersion ?? null,
    wasmSha256: compiled === undefined ? null : sha256Hex(compiled.wasm),
    sources,
    data: digests(data),
    builtins: compiled === undefined ? [] : [...compileModule(compiled.wasm, HOME_ENTRY_POINT).builtins],
  } as const
  const manifest: Manifest = { ...body, builtins: [...body.builtins], revision: manifestRevision(body) }
  if (key !== undefined) manifest.signature = signatureOf(manifest, key)
  made.set(MANIFEST, Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`))
  return { files: overlay(there, made), made }
}

function signatureOf(manifest: Manifest, key: string): string {
  try {
    const privateKey = createPrivateKey(readFileSync(key))
    if (privateKey.asymmetricKeyType !== 'ed25519') throw new Error('it is no Ed25519 key')
    return sign(null, signedBytes(manifest), privateKey).toString('base64')
  } catch (thrown) {
    throw wrong(
      `${key} cannot sign: ${(thrown as Error).message}`,
      'make a key with `openssl genpkey -algorithm ed25519 -out FILE`',
    )
  }
}

/** Writes what was made into the folder, the manifest last. */
export function writeCandidate(folder: string, { made }: Candidate): void {
  for (const [name, bytes] of made) {
    if (bytes === null) rmSync(join(folder, name), { force: true })
    else replaceFile(join(folder, name), bytes)
  }
}
