/**
 * The one gate. Runs every check, goes on after a failing one, shows the whole output of what failed, and ends with a
 * line for each test that failed and `N passed, N failed` alone on a line (`, N skipped` if something was skipped). Every test counts as one, and so does
 * every other step. Exit 1 if anything failed.
 *
 *   npm run check                      everything but the images
 *   npm run check -- --images          build the agent images first (scripts/test does)
 *   npm run check -- --only house      one step; may be given several times
 *   npm run check -- --quick           format, lint, types, rules, house, and the tests near to what was changed
 */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs, styleText } from 'node:util'
import { testsOf } from './changed.ts'
import { addCounts, type Counts, countVitest, failedTests, formatCounts } from './counts.ts'

const root = dirname(import.meta.dirname)
const reports = join(root, '.cache/check')
const nothing: Counts = { passed: 0, failed: 0, skipped: 0 }
/** Said once more at the end: the output of a failed step is thousands of lines. */
const failures: string[] = []

type Step = {
  name: string
  /** Program and arguments; this Node runs a program that ends in .ts or .mjs. */
  command: string[]
  /** Where vitest leaves its report; without it the step counts as one. */
  report?: string
  /** Why the step cannot run here, or undefined. */
  skip?: () => Promise<string | undefined>
}

type Outcome = { code: number; output: string }

/** Runs a program to its end with stdout and stderr in one text, in the order they came. */
function run(command: string[]): Promise<Outcome> {
  const [program = '', ...rest] = command
  const byNode = /\.(ts|mjs)$/.test(program)
  const child = spawn(byNode ? process.execPath : program, byNode ? [program, ...rest] : rest, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    // The tools start through `env node`: it must be this Node, whatever else PATH holds. No colours: it goes into logs.
    env: {
      ...process.env,
      PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ''}`,
      NO_COLOR: '1',
      FORCE_COLOR: '0',
    },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8')
    stream.on('data', (text: string) => {
      output += text
    })
  }
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ code: 127, output: `${output}${error.message}\n` }))
    child.on('close', (code, signal) => resolve({ code: code ?? 1, output: signal ? `${output}${signal}\n` : output }))
  })
}

const reportOf = (name: string) => join(reports, `${name}.json`)
/** The steps whose tests prove the safety rules. */
const PROVING = ['house', 'hub', 'containers']

function vitest(name: string, args: string[]): Step {
  const report = reportOf(name)
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  return { name, report, command: ['node_modules/vitest/vitest.mjs', 'run', ...args, ...reporters] }
}

async function skipWithout(file: string): Promise<string | undefined> {
  return existsSync(join(root, file)) ? undefined : `${file} is not there`
}

async function skipWithoutEngine(): Promise<string | undefined> {
  const { code, output } = await run(['scripts/engine', 'status'])
  return code === 0 ? undefined : `${output.trim()}; scripts/engine up starts one`
}

/** Builds it if it is missing: the first build takes minutes, which should not count as a test's time. */
async function skipWithoutEngine29(): Promise<string | undefined> {
  const { code, output } = await run(['scripts/engine-build', '29'])
  return code === 0 ? undefined : `Docker 29: ${output.trim().split('\n').at(-1)}`
}

function planSteps(): Step[] {
  // Every folder of test/ that is not named elsewhere, so that a new one is never left out.
  const apart = ['bench', 'containers', 'house', 'support']
  const fast = readdirSync(join(root, 'test')).filter((entry) => !apart.includes(entry))
  return [
    {
      name: 'images',
      command: ['scripts/build-images.ts'],
      skip: async () => (await skipWithout('scripts/build-images.ts')) ?? (await skipWithoutEngine()),
    },
    { name: 'biome', command: ['node_modules/.bin/biome', 'ci', '--colors=off', '--diagnostic-level=warn', '.'] },
    { name: 'types', command: ['npm', 'run', '--silent', 'types'] },
    {
      name: 'policies',
      command: ['scripts/build-policies.ts', '--check'],
      skip: () => skipWithout('scripts/build-policies.ts'),
    },
    { name: 'reference', command: ['scripts/build-docs.ts', '--check'] },
    vitest('house', ['--project=fast', 'test/house/']),
    vitest('hub', ['--project=fast', ...fast.map((entry) => `test/${entry}`)]),
    { ...vitest('containers', ['--project=containers', '--project=alone']), skip: skipWithoutEngine },
    // It counts only what ran: without the containers their proofs would seem to be missing.
    {
      name: 'proofs',
      command: ['test/house/proofs.ts', ...PROVING.map(reportOf)],
      skip: async () => {
        const absent = PROVING.find((name) => !existsSync(reportOf(name)))
        return absent === undefined ? undefined : `the step ${absent} did not run`
      },
    },
    { ...vitest('matrix', ['--project=matrix']), skip: skipWithoutEngine29 },
  ]
}

/** The files changed since the last commit, or if there are none, by that commit. */
function changedFiles(): string[] {
  const git = (...words: string[]) =>
    execFileSync('git', words, { cwd: root, encoding: 'utf8' }).split('\n').filter(Boolean)
  const open = [...git('diff', '--name-only', 'HEAD'), ...git('ls-files', '--others', '--exclude-standard')]
  return open.length > 0 ? open : git('diff', '--name-only', 'HEAD~1', 'HEAD')
}

/** All steps at once: one alone leaves a core idle. */
async function quick(): Promise<Counts> {
  const texts = new Map(
    readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.test.ts'))
      .map((path) => [`test/${path}`, readFileSync(join(root, 'test', path), 'utf8')]),
  )
  const { tests, more } = testsOf(changedFiles(), texts)
  if (more > 0) console.log(`note: ${more} more tests import what was changed; npm run check -- --only hub runs them`)
  const near = tests.length === 0 ? [] : [vitest('near', ['--project=fast', ...tests])]
  const fast = planSteps().filter(({ name }) => ['biome', 'types', 'policies', 'reference', 'house'].includes(name))
  const counts = await Promise.all([...fast, ...near].map(take))
  return counts.reduce(addCounts, nothing)
}

function readReport(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined // vitest died before it wrote one: the exit code speaks
  }
}

async function take(step: Step): Promise<Counts> {
  const startedAt = performance.now()
  const reason = await step.skip?.()
  if (reason !== undefined) {
    console.log(`${styleText('yellow', 'skip')}  ${step.name.padEnd(10)} ${reason}`)
    return { ...nothing, skipped: 1 }
  }
  const { code, output } = await run(step.command)
  const counts = step.report
    ? countVitest(readReport(step.report), code)
    : { ...nothing, passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1 }
  const word = counts.failed === 0 ? styleText('green', 'ok  ') : styleText('red', 'FAIL')
  const seconds = `${((performance.now() - startedAt) / 1000).toFixed(1)} s`
  // A passing step may have one note, such as that there is no opa.
  const note = step.report ? formatCounts(counts) : code === 0 ? (/^note: (.*)$/m.exec(output)?.[1] ?? '') : ''
  console.log(`${word}  ${step.name.padEnd(10)} ${seconds.padStart(8)}  ${note}`.trimEnd())
  if (counts.failed > 0) {
    console.log(`\n${output.trimEnd()}\n`)
    const named = step.report ? failedTests(readReport(step.report), root) : []
    failures.push(...(named.length > 0 ? named : ['see above']).map((what) => `FAIL  ${step.name}: ${what}`))
  }
  return counts
}

const { values } = parseArgs({
  options: { only: { type: 'string', multiple: true }, images: { type: 'boolean' }, quick: { type: 'boolean' } },
})
const steps = planSteps()
const unknownStep = values.only?.find((name) => !steps.some((step) => step.name === name))
if (unknownStep !== undefined) {
  console.error(`no step is named ${unknownStep}; there are ${steps.map((step) => step.name).join(', ')}`)
  process.exit(2)
}
rmSync(reports, { recursive: true, force: true })
mkdirSync(reports, { recursive: true })
// What tests compiled of sources that have changed since is of no use (vitest.config.ts).
if (!values.quick && !values.only) rmSync(join(root, '.cache/node'), { recursive: true, force: true })
let total = values.quick ? await quick() : nothing
for (const step of values.quick ? [] : steps) {
  const wanted = values.only?.includes(step.name) ?? (step.name !== 'images' || values.images === true)
  if (wanted) total = addCounts(total, await take(step))
}
writeFileSync(join(reports, 'done'), `${formatCounts(total)}\n`)
if (failures.length > 0) console.log(`\n${failures.join('\n')}`)
console.log(`\n${formatCounts(total)}`)
process.exitCode = total.failed > 0 ? 1 : 0
