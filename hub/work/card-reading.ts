/** Reads one card with its schemas, as strictly as all of what a person writes. Every fault has its place in the file. */
import { readFileSync } from 'node:fs'
import { dirname, resolve, sep } from 'node:path'
import { sha256Hex } from '../base/canonical.ts'
import { type CardFile, type CardPlaces, cardFiles, distrustOf } from '../base/card-files.ts'
import { findJsonFault, placeOf as placeInText } from '../base/json-fault.ts'
import { type AgentCard, agentCardShape } from '../protocol/agent.ts'
import { type Fault, judgeYaml } from '../protocol/judging.ts'
import { type Schema, schemaOf } from './session-cards.ts'

type Place = Pick<Fault, 'line' | 'column'>
const problem = (place: Place, message: string) => new CardError(place, message)

export class CardError extends Error {
  readonly line: number
  readonly column: number
  readonly code: 'limit_exceeded' | 'unknown_agent'
  /** Whose card it is, where that much of it can be read. */
  readonly agent: string | undefined
  constructor(
    { line, column }: Place,
    message: string,
    code: CardError['code'] = 'unknown_agent',
    agent: string | undefined = undefined,
  ) {
    super(message)
    this.line = line
    this.column = column
    this.code = code
    this.agent = agent
  }
}

export interface ReadCard {
  text: string
  card: AgentCard
  /** SHA-256 of its file. */
  digest: string
  schemas: Map<string, Schema>
  placeOf: ReturnType<typeof judgeYaml>['placeOf']
}

/**
 * Strict YAML (unique keys, no aliases), then the card's shape. `distrust` says why a file may not be used, if it may not. Throws `CardError`, which
 * names line, column and key.
 */
export function readCard(path: string, distrust: (path: string) => string | undefined = () => undefined): ReadCard {
  const why = distrust(path)
  if (why !== undefined) throw problem({ line: 1, column: 1 }, why)
  const text = readFileSync(path, 'utf8')
  if (text.length > 65_536) throw problem({ line: 1, column: 1 }, 'a card is at most 64 KiB')
  const { value, given, faults, placeOf } = judgeYaml(text, agentCardShape)
  const [first = { line: 1, column: 1, key: '', message: '' }] = faults
  if (value === undefined) {
    const { name } = (given ?? {}) as { name?: unknown }
    const said = `${first.key === '' ? '' : `${first.key}: `}${first.message}`
    throw new CardError(first, said, 'unknown_agent', typeof name === 'string' ? name : undefined)
  }
  const { schemas, faults: wrong } = schemasOf(value, dirname(path), placeOf, distrust)
  if (wrong[0] !== undefined) throw wrong[0]
  return { text, card: value, digest: sha256Hex(text), schemas, placeOf }
}

/** The schemas that a card names, and what is wrong with the others. */
export function schemasOf(
  card: AgentCard,
  folder: string,
  placeOf: ReadCard['placeOf'],
  distrust: (path: string) => string | undefined = () => undefined,
): { schemas: Map<string, Schema>; faults: CardError[] } {
  const schemas = new Map<string, Schema>()
  const faults: CardError[] = []
  for (const direction of ['sends', 'receives'] as const) {
    for (const [type, file] of Object.entries(card.messages[direction])) {
      if (file === null) continue
      try {
        schemas.set(`${direction} ${type}`, schemaIn(folder, file, distrust))
      } catch (thrown) {
        const place = placeOf(['messages', direction, type], 'value')
        faults.push(problem(place, `messages.${direction}.${type}: ${(thrown as Error).message}`))
      }
    }
  }
  return { schemas, faults }
}

function schemaIn(folder: string, file: string, distrust: (path: string) => string | undefined): Schema {
  const path = resolve(folder, file)
  if (!path.startsWith(resolve(folder) + sep)) throw new Error("the schema lies outside the agents' folder")
  const why = distrust(path)
  if (why !== undefined) throw new Error(why)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    throw new Error(`it names ${file}, which is not a readable file beside the card`)
  }
  const fault = findJsonFault(text)
  if (fault !== undefined) {
    const { line, column } = placeInText(text, fault.offset)
    throw new Error(`${file} is not JSON: line ${line}, column ${column}: ${fault.what}`)
  }
  try {
    return schemaOf(text)
  } catch (thrown) {
    throw new Error(`${file} is not a usable JSON schema (${(thrown as Error).message})`)
  }
}

export interface FoundCard {
  file: CardFile
  read: ReadCard
}

/** A card that counts for nothing, because a place before its own names the same agent. */
export interface Shadowed {
  agent: string
  file: CardFile
  by: CardFile
}

/**
 * The cards of all places. `formerly` names the agents that were loaded from a file before: with a fault in it now, it is theirs still. One that
 * says just what the card before it says is not mentioned.
 */
export function readPlaces(
  places: CardPlaces,
  formerly: (shown: string) => readonly string[] = () => [],
): {
  /** By agent; several where one place names it more than once. */
  cards: Map<string, FoundCard[]>
  broken: { file: CardFile; agent: string | undefined; thrown: unknown }[]
  shadowed: Shadowed[]
} {
  const cards = new Map<string, FoundCard[]>()
  const broken: ReturnType<typeof readPlaces>['broken'] = []
  const shadowed: Shadowed[] = []
  /** The first file that is about an agent. */
  const holders = new Map<string, CardFile>()
  const holdsBefore = (name: string, file: CardFile): CardFile | undefined => {
    const holder = holders.get(name) ?? file
    holders.set(name, holder)
    return holder.place === file.place ? undefined : holder
  }
  for (const file of cardFiles(places)) {
    try {
      const read = readCard(file.path, (path) => distrustOf(file, path, places))
      const { name } = read.card
      const by = holdsBefore(name, file)
      if (by === undefined) cards.set(name, [...(cards.get(name) ?? []), { file, read }])
      else if (cards.get(name)?.[0]?.read.text !== read.text) shadowed.push({ agent: name, file, by })
    } catch (thrown) {
      const agent = thrown instanceof CardError ? thrown.agent : undefined
      broken.push({ file, agent, thrown })
      for (const name of [agent ?? file.stem, ...formerly(file.shown)]) holdsBefore(name, file)
    }
  }
  return { cards, broken, shadowed }
}
