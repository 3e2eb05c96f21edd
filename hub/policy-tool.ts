/**
 * What the command asks about the operator's rules, in a process of its own, with the code that the next hub will run:
 * `node hub/policy-tool.ts check|diff|seal|simulate|test --home DIR [--key FILE]`. The rules are compiled and tried here first, so rules that
 * hang hang no hub. Its answer is one line of JSON. Only `seal` writes, and only into the folder `policy/`. `diff` reads what is in force on
 * stdin, `simulate` the decisions that were made, one a line.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import { placesOf } from './base/card-files.ts'
import { HubError } from './base/errors.ts'
import { judgePolicyData, strangersIn } from './guard/policy/data.ts'
import { filesDifference, type PolicyTexts } from './guard/policy/data-difference.ts'
import type { StoredDecision } from './guard/policy/decisions.ts'
import { readHomeBundle } from './guard/policy/home-bundle.ts'
import { filesOf, readShipped } from './guard/policy/shipped.ts'
import { tryRules } from './guard/policy/trials.ts'
import { requireFields } from './home/policy-fields.ts'
import { hasOpa, makeCandidate, runOpa, writeCandidate } from './home/policy-seal.ts'
import type { Fault } from './protocol/judging.ts'
import { readPlaces } from './work/card-reading.ts'

const CHECKOUT = fileURLToPath(new URL('..', import.meta.url))
const SHIPPED = join(CHECKOUT, 'policies')

/** Every agent that a home has a card of. */
const agentsOf = (home: string): string[] => [...readPlaces(placesOf(home, CHECKOUT)).cards.keys()]

const fault = (message: string): Fault => ({ line: 1, column: 1, key: '', message })

interface Verdict {
  faults: Fault[]
  warnings: string[]
  /** The operator's own, by file. */
  rules: string[]
  /** It is data.json that is at fault. */
  isData: boolean
}

/** Everything that a reload would look at, nothing of it put in force. */
function check(home: string): Verdict {
  const folder = join(home, 'policy')
  try {
    const { data, faults } = judgePolicyData(readFileSync(join(folder, 'data.json')))
    if (data === undefined) return { faults, warnings: [], rules: [], isData: true }
    const bundle = readHomeBundle(makeCandidate(folder).files, { mustBeSigned: false })
    tryRules(readShipped(filesOf(SHIPPED)), bundle, () => undefined, {})
    const rules = [...(bundle.rules?.sources.keys() ?? [])]
    // Where they are compiled already, nobody has looked since; without opa nobody can.
    if (rules.length > 0 && hasOpa()) requireFields(rules, (words) => runOpa(folder, words))
    return { faults: [], warnings: strangersIn(data, agentsOf(home)), rules, isData: false }
  } catch (thrown) {
    if (!(thrown instanceof HubError)) throw thrown
    return { faults: [fault(thrown.message)], warnings: [], rules: [], isData: false }
  }
}

/** Compiles, names and signs what is in `policy/`; answers what it wrote, or why it could not. */
function seal(home: string, key: string | undefined): { written: string[]; removed: string[]; fault?: string } {
  const folder = join(home, 'policy')
  try {
    const candidate = makeCandidate(folder, key)
    writeCandidate(folder, candidate)
    const made = [...candidate.made]
    return {
      written: made.filter(([, bytes]) => bytes !== null).map(([name]) => name),
      removed: made.filter(([, bytes]) => bytes === null).map(([name]) => name),
    }
  } catch (thrown) {
    if (!(thrown instanceof HubError)) throw thrown
    return { written: [], removed: [], fault: thrown.message }
  }
}

async function stdin(): Promise<string> {
  const pieces: Buffer[] = []
  for await (const piece of process.stdin) pieces.push(piece as Buffer)
  return Buffer.concat(pieces).toString('utf8')
}

/** The rules in `policy/` as they are now, compiled, tried and ready to decide. Throws `policy_unavailable`. */
function candidateOf(home: string) {
  const bundle = readHomeBundle(makeCandidate(join(home, 'policy')).files, { mustBeSigned: false })
  return { bundle, ...tryRules(readShipped(filesOf(SHIPPED)), bundle, () => undefined, {}) }
}

/** What `act` answers, or the fault that keeps it from an answer. */
async function orFault<Answer>(act: () => Answer | Promise<Answer>): Promise<Answer | { fault: string }> {
  try {
    return await act()
  } catch (thrown) {
    if (!(thrown instanceof HubError)) throw thrown
    return { fault: thrown.message }
  }
}

async function diff(home: string): Promise<{ lines: string[] }> {
  const before = JSON.parse(await stdin()) as PolicyTexts
  const { bundle } = candidateOf(home)
  const sources = [...(bundle.rules?.sources ?? [])].map(([name, text]) => ({ name, text }))
  return { lines: filesDifference(before, { data: bundle.data, sources }) }
}

const CHANGED_MAX = 1000

/** Asks the present files what was asked before: what would be answered otherwise. */
async function simulate(home: string) {
  const { engine } = candidateOf(home)
  const counts = { replayed: 0, notKept: 0, same: 0 }
  const changed: Record<string, unknown>[] = []
  for (const line of (await stdin()).split('\n')) {
    if (line === '') continue
    const { id, atMs, input, result } = JSON.parse(line) as StoredDecision
    if (input === null) {
      counts.notKept += 1
      continue
    }
    counts.replayed += 1
    const { effect, reason, rule, code, narrow } = engine.evaluate(JSON.stringify(input))
    const now = { effect, reason, rule, ...(code && { code }), ...(narrow && { narrow }) }
    const isSame = result.effect === effect && isDeepStrictEqual(result.narrow, narrow)
    if (isSame) counts.same += 1
    else if (changed.length < CHANGED_MAX) changed.push({ id, atMs, input, was: result, now })
  }
  return { ...counts, otherwise: counts.replayed - counts.same, changed }
}

/** Runs the operator's `*_test.rego` and their `samples.json`. */
function test(home: string) {
  const folder = join(home, 'policy')
  const names = readdirSync(folder).filter((name) => name.endsWith('.rego'))
  const { bundle } = candidateOf(home)
  const samples = bundle.rules?.samples.length ?? 0
  if (!names.some((name) => name.endsWith('_test.rego'))) return { ok: true, samples, tests: 0, said: '' }
  const { status, stdout, stderr } = runOpa(folder, ['test', '--timeout', '30s', 'data.json', ...names])
  const said = `${stdout}${stderr}`.trim()
  const tests = Number(/^(?:PASS|FAIL): \d+\/(\d+)/m.exec(said)?.[1] ?? 0)
  return { ok: status === 0, samples, tests, said }
}

const [verb, ...rest] = process.argv.slice(2)
const option = (name: string) => (rest.includes(name) ? rest[rest.indexOf(name) + 1] : undefined)
const home = resolve(option('--home') ?? '')
const key = option('--key')
const verbs: Readonly<Record<string, () => unknown>> = {
  check: () => check(home),
  diff: () => orFault(() => diff(home)),
  simulate: () => orFault(() => simulate(home)),
  test: () => orFault(() => test(home)),
  seal: () => seal(home, key === undefined ? undefined : resolve(key)),
}
const act = Object.hasOwn(verbs, verb ?? '') ? verbs[verb ?? ''] : undefined
if (act === undefined) {
  process.stderr.write('usage: node hub/policy-tool.ts check|diff|seal|simulate|test --home DIR [--key FILE]\n')
  process.exitCode = 2
} else process.stdout.write(`${JSON.stringify(await act())}\n`)
