/**
 * Judges a file before it is used: `node hub/judge.ts config|policy|prices|show --home DIR`, its text on stdin; `show` answers every key, and `cards`
 * judges the files that its input names (judge-cards.ts). A process of its own, so that the command
 * need not load the hub's code, and so that the judge is the code that the next hub will run. It opens no database and changes nothing.
 * Its answer is one line of JSON: faults, each with its place, and warnings.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { placesOf } from './base/card-files.ts'
import { HubError } from './base/errors.ts'
import { hideSecrets } from './base/secret-shapes.ts'
import { type Config, judgeConfig } from './config.ts'
import { createForce } from './config-force.ts'
import { limitsOfCard } from './config-limits.ts'
import { judgePolicyData, strangersIn } from './guard/policy/data.ts'
import { tryPolicyData } from './guard/policy/trials.ts'
import { judgeCard, judgeFolder, judgePlaces, judgeRecipe } from './judge-cards.ts'
import type { AgentCard } from './protocol/agent.ts'
import { type Fault, firstOf, judgeYaml } from './protocol/judging.ts'
import { homePricesShape } from './protocol/prices.ts'
import { readPlaces } from './work/card-reading.ts'

interface Verdict {
  faults: Fault[]
  warnings: string[]
}

const fault = (message: string): Fault => ({ line: 1, column: 1, key: '', message })

const CHECKOUT = fileURLToPath(new URL('..', import.meta.url))

/** The cards that a home loads, by file. What is wrong with the others `hub agent validate` says. */
function cardsOf(home: string): Map<string, AgentCard> {
  const { cards } = readPlaces(placesOf(home, CHECKOUT))
  return new Map([...cards.values()].flat().map(({ file, read }) => [file.shown, read.card]))
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
    tryPolicyData(join(CHECKOUT, 'policies'), data)
    return { faults: [], warnings }
  } catch (thrown) {
    if (thrown instanceof HubError) return { faults: [fault(thrown.message)], warnings }
    throw thrown
  }
}

/** What `hub agent validate` asks about, in words of the command. */
type Asked =
  | { kind: 'card' | 'recipe' | 'folder'; path: string }
  /** Every card of the home's places, or those of one agent. */
  | { kind: 'places'; only?: string }

function judgeAsked(home: string, asked: readonly Asked[]) {
  const file = join(home, 'hub.yaml')
  let config: Config | undefined
  try {
    config = judgeConfig(existsSync(file) ? readFileSync(file, 'utf8') : '').config
  } catch (thrown) {
    if (!(thrown instanceof HubError)) throw thrown
  }
  const judged = asked.map((each): ReturnType<typeof judgePlaces> => {
    if (each.kind === 'places') return judgePlaces(placesOf(home, CHECKOUT), config, each.only)
    if (each.kind === 'folder') return { files: judgeFolder(each.path, join(CHECKOUT, 'images'), config), shadowed: [] }
    const { path } = each
    const { faults } = each.kind === 'recipe' ? judgeRecipe(path) : judgeCard(path, config)
    return { files: [{ file: path, faults }], shadowed: [] }
  })
  return {
    files: judged.flatMap(({ files }) => files),
    shadowed: judged.flatMap(({ shadowed }) => shadowed),
    isLimited: config !== undefined,
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
if (
  (what !== 'config' && what !== 'policy' && what !== 'prices' && what !== 'show' && what !== 'cards') ||
  flag !== '--home'
) {
  process.stderr.write('usage: node hub/judge.ts config|policy|prices|show|cards --home DIR < FILE\n')
  process.exitCode = 2
} else {
  const given = await stdin()
  const verdict =
    what === 'show'
      ? showConfigText(given.toString('utf8'))
      : what === 'cards'
        ? judgeAsked(resolve(home), JSON.parse(given.toString('utf8')) as Asked[])
        : what === 'config'
          ? judgeConfigText(resolve(home), given.toString('utf8'))
          : what === 'prices'
            ? { faults: judgeYaml(given.toString('utf8'), homePricesShape).faults, warnings: [] }
            : judgePolicyText(resolve(home), given)
  // A message may repeat what somebody wrote in the wrong place.
  process.stdout.write(`${hideSecrets(JSON.stringify(verdict))}\n`)
}
