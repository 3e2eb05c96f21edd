/**
 * Compiles the policies with the real opa and writes what is committed: `policies/policy.wasm` and `policies/bundle.json`.
 *
 *   node scripts/build-policies.ts           format, check, test (coverage 100 %), compile, write; the version rises when the rules changed
 *   node scripts/build-policies.ts --check   the same without writing: what is committed must be byte for byte what comes out
 *
 * The output of one opa version is the same byte for byte, whatever the folder and the time (opa dates its archive 1970), so bytes
 * are compared. Without opa `--check` compares digests only and says so in one line; that is no failure.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sha256Hex } from '../hub/base/canonical.ts'
import { compileModule } from '../hub/guard/policy/module.ts'
import { type Bundle, bundleShape, sourcesRevision } from '../hub/guard/policy/shipped.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, 'policies')
const TRIALS = ['data.json', 'samples.json']

class PolicyFault extends Error {}

const read = (name: string): Buffer => readFileSync(join(folder, name))
const rules = (): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.rego'))
    .sort()
const isTest = (name: string): boolean => name.endsWith('_test.rego')
const digests = (names: string[]): Record<string, string> =>
  Object.fromEntries(names.map((name) => [name, sha256Hex(read(name))]))

/** The path of the pinned opa, or undefined. */
function findOpa(): string | undefined {
  const found = spawnSync(join(root, 'scripts/opa'), ['--path'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return found.status === 0 ? found.stdout.trim() : undefined
}

function run(opa: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(opa, args, {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  if (status !== 0) throw new PolicyFault(`opa ${args[0]}: ${stdout}${stderr}`)
  return stdout
}

function lint(opa: string): void {
  const unformatted = run(opa, 'fmt', '--list', ...rules()).trim()
  if (unformatted !== '')
    throw new PolicyFault(
      `not formatted, run \`scripts/opa fmt --write policies\`:\n${run(opa, 'fmt', '--diff', ...rules())}`,
    )
  run(opa, 'check', '--strict', ...rules())
  // Without coverage first: that output names the failing tests.
  // Five seconds a test, opa's own bound, are not enough on a machine that does other work.
  const patient = ['--timeout', '2m']
  const tested = run(opa, 'test', ...patient, ...rules())
    .trim()
    .split('\n')
    .at(-1)
  const report = JSON.parse(run(opa, 'test', '--coverage', ...patient, ...rules())) as {
    coverage: number
    files: Record<string, { not_covered?: { start: { row: number } }[] }>
  }
  const holes = Object.entries(report.files).flatMap(([file, { not_covered = [] }]) =>
    not_covered.map(({ start }) => `${file}:${start.row}`),
  )
  if (report.coverage !== 100 || holes.length > 0)
    throw new PolicyFault(`coverage is ${report.coverage} %, not 100: ${holes.join(' ')}`)
  console.log(`opa test: ${tested}, coverage 100 %`)
}

function compile(opa: string): Buffer {
  const work = mkdtempSync(join(tmpdir(), 'hub-policies-'))
  try {
    const archive = join(work, 'bundle.tar.gz')
    const sources = rules().filter((name) => !isTest(name))
    run(opa, 'build', '--target', 'wasm', '--entrypoint', 'hub/admit/decision', '--output', archive, ...sources)
    return execFileSync('tar', ['-xzOPf', archive, '/policy.wasm'], { maxBuffer: 64 * 1024 * 1024 })
  } finally {
    rmSync(work, { recursive: true })
  }
}

function committed(): Bundle | undefined {
  try {
    return bundleShape.parse(JSON.parse(read('bundle.json').toString()))
  } catch {
    return undefined
  }
}

/** What bundle.json must say about the present files and this module. */
function describe(wasm: Buffer, opaVersion: string, old: Bundle | undefined): Bundle {
  const sources = digests(rules().filter((name) => !isTest(name)))
  const revision = sourcesRevision(sources)
  const same = old?.revision === revision && old.wasmSha256 === sha256Hex(wasm)
  return {
    version: same ? old.version : (old?.version ?? 0) + 1,
    revision,
    opaVersion,
    wasmSha256: sha256Hex(wasm),
    sources,
    trials: digests(TRIALS),
    builtins: [...compileModule(wasm).builtins],
  }
}

function check(opa: string | undefined): void {
  const bundle = committed()
  if (bundle === undefined)
    throw new PolicyFault('policies/bundle.json is missing or broken: run `node scripts/build-policies.ts`')
  const wasm = read('policy.wasm')
  if (JSON.stringify(describe(wasm, bundle.opaVersion, bundle)) !== JSON.stringify(bundle))
    throw new PolicyFault(
      'policies/ differs from bundle.json: run `node scripts/build-policies.ts` and commit what it writes',
    )
  if (opa === undefined) {
    console.log('policies: no opa here, so digests only: they agree')
    return
  }
  lint(opa)
  if (!compile(opa).equals(wasm))
    throw new PolicyFault(
      'policies/policy.wasm is not what opa makes of the rules: run `node scripts/build-policies.ts`',
    )
  console.log(`policies: version ${bundle.version} is byte for byte what opa ${bundle.opaVersion} makes of the rules`)
}

function build(opa: string | undefined): void {
  if (opa === undefined) throw new PolicyFault('compiling needs opa')
  lint(opa)
  const wasm = compile(opa)
  const opaVersion = /^Version: (.+)$/m.exec(run(opa, 'version'))?.[1] ?? 'unknown'
  const bundle = describe(wasm, opaVersion, committed())
  writeFileSync(join(folder, 'policy.wasm'), wasm)
  writeFileSync(join(folder, 'bundle.json'), `${JSON.stringify(bundle, null, 2)}\n`)
  console.log(`policies: version ${bundle.version}, revision ${bundle.revision.slice(0, 12)}, ${wasm.length} bytes`)
}

try {
  const wanted = process.argv.slice(2)
  if (wanted.some((word) => word !== '--check'))
    throw new PolicyFault('usage: node scripts/build-policies.ts [--check]')
  if (wanted.length > 0) check(findOpa())
  else build(findOpa())
} catch (thrown) {
  if (!(thrown instanceof PolicyFault)) throw thrown
  console.error(`build-policies: ${thrown.message}`)
  process.exitCode = 1
}
