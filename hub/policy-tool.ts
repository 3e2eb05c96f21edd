/**
 * What the command asks about the operator's rules, in a process of its own, with the code that the next hub will run:
 * `node hub/policy-tool.ts check|seal --home DIR [--key FILE]`. The rules are compiled and tried here first, so rules that hang hang no hub.
 * Its answer is one line of JSON. Only `seal` writes, and only into the folder `policy/`.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { HubError } from './base/errors.ts'
import { judgePolicyData, strangersIn } from './guard/policy/data.ts'
import { readHomeBundle } from './guard/policy/home-bundle.ts'
import { filesOf, readShipped } from './guard/policy/shipped.ts'
import { tryRules } from './guard/policy/trials.ts'
import { makeCandidate, writeCandidate } from './home/policy-seal.ts'
import type { Fault } from './protocol/judging.ts'
import { readCard } from './work/registry.ts'

const SHIPPED = fileURLToPath(new URL('../policies', import.meta.url))

/** The cards of a home that load, by file. */
function agentsOf(home: string): string[] {
  let files: string[] = []
  try {
    files = readdirSync(join(home, 'agents')).filter((name) => name.endsWith('.yaml'))
  } catch {
    return []
  }
  return files.flatMap((file) => {
    try {
      return [readCard(join(home, 'agents', file)).card.name]
    } catch {
      return []
    }
  })
}

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

const [verb, ...rest] = process.argv.slice(2)
const option = (name: string) => (rest.includes(name) ? rest[rest.indexOf(name) + 1] : undefined)
const home = resolve(option('--home') ?? '')
const key = option('--key')
const verbs: Readonly<Record<string, () => unknown>> = {
  check: () => check(home),
  seal: () => seal(home, key === undefined ? undefined : resolve(key)),
}
const act = Object.hasOwn(verbs, verb ?? '') ? verbs[verb ?? ''] : undefined
if (act === undefined) {
  process.stderr.write('usage: node hub/policy-tool.ts check|seal --home DIR [--key FILE]\n')
  process.exitCode = 2
} else process.stdout.write(`${JSON.stringify(await act())}\n`)
