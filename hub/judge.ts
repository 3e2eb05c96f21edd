/**
 * Judges a file before it is used: `node hub/judge.ts config|policy|prices|show --home DIR`, its text on stdin; `show` answers every key. A process of its own, so that the command
 * need not load the hub's code, and so that the judge is the code that the next hub will run. It opens no database and changes nothing.
 * Its answer is one line of JSON: faults, each with its place, and warnings.
 */
import { readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { HubError } from './base/errors.ts'
import { hideSecrets } from './base/secret-shapes.ts'
import { judgeConfig } from './config.ts'
import { createForce } from './config-force.ts'
import { limitsOfCard } from './config-limits.ts'
import { judgePolicyData, strangersIn } from './guard/policy/data.ts'
import { tryPolicyData } from './guard/policy/trials.ts'
import type { AgentCard } from './protocol/agent.ts'
import { type Fault, firstOf, judgeYaml } from './protocol/judging.ts'
import { homePricesShape } from './protocol/prices.ts'
import { readCard } from './work/registry.ts'

interface Verdict {
  faults: Fault[]
  warnings: string[]
}

const fault = (message: string): Fault => ({ line: 1, column: 1, key: '', message })

/** The cards of a home that load, by file. */
function cardsOf(home: string): Map<string, AgentCard> {
  const cards = new Map<string, AgentCard>()
  let files: string[] = []
  try {
    files = readdirSync(join(home, 'agents')).filter((name) => name.endsWith('.yaml'))
  } catch {
    // A home without cards, or no home: the file is judged by itself.
  }
  for (const file of files.sort()) {
    try {
      cards.set(file, readCard(join(home, 'agents', file)).card)
    } catch {
      // `hub agent reload` says what is wrong with it.
    }
  }
  return cards
}

function judgeConfigText(home: string, text: string): Verdict {
  try {
    const { config, faults } = judgeConfig(text)
    if (config === undefined) return { faults, warnings: [] }
    const warnings: string[] = []
    for (const [file, card] of cardsOf(home)) {
      try {
        limitsOfCard(config, card)
      } catch (thrown) {
        warnings.push(`with this file the card ${file} would not be loaded: ${(thrown as Error).message}`)
      }
    }
    return { faults: [], warnings }
  } catch (thrown) {
    // A known but unsupported value throws while it is read.
    if (thrown instanceof HubError) return { faults: [fault(thrown.message)], warnings: [] }
    throw thrown
  }
}

function judgePolicyText(home: string, bytes: Buffer): Verdict {
  const { data, faults } = judgePolicyData(bytes)
  if (data === undefined) return { faults, warnings: [] }
  const names = [...cardsOf(home).values()].map(({ name }) => name)
  const warnings = strangersIn(data, names)
  try {
    tryPolicyData(fileURLToPath(new URL('../policies', import.meta.url)), data)
    return { faults: [], warnings }
  } catch (thrown) {
    if (thrown instanceof HubError) return { faults: [fault(thrown.message)], warnings }
    throw thrown
  }
}

/** As `config.show` of a hub that has just started with this text. */
function showConfigText(text: string) {
  const { config, faults } = judgeConfig(text)
  if (config !== undefined) return { fault: null, keys: createForce({ config, text }).rows(undefined) }
  return { fault: firstOf(faults), keys: [] }
}

async function stdin(): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of process.stdin) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}

const [what, flag, home = ''] = process.argv.slice(2)
if ((what !== 'config' && what !== 'policy' && what !== 'prices' && what !== 'show') || flag !== '--home') {
  process.stderr.write('usage: node hub/judge.ts config|policy|prices|show --home DIR < FILE\n')
  process.exitCode = 2
} else {
  const given = await stdin()
  const verdict =
    what === 'show'
      ? showConfigText(given.toString('utf8'))
      : what === 'config'
        ? judgeConfigText(resolve(home), given.toString('utf8'))
        : what === 'prices'
          ? { faults: judgeYaml(given.toString('utf8'), homePricesShape).faults, warnings: [] }
          : judgePolicyText(resolve(home), given)
  // A message may repeat what somebody wrote in the wrong place.
  process.stdout.write(`${hideSecrets(JSON.stringify(verdict))}\n`)
}
