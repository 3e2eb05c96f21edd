/** An agent's folder, or its card in the home: which one a command means, and the card read as strictly as the hub reads it. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { LineCounter, parseDocument } from 'yaml'
import { type AgentCard, agentCardShape } from '../../protocol/agent.ts'
import { nameShape } from '../../protocol/names.ts'
import { usage } from '../problem.ts'

/** What `hub agent try` adds to a name for its own card, image and grant. */
export const DEV_SUFFIX = '--dev'
export const CHECKOUT = fileURLToPath(new URL('../../..', import.meta.url))

export interface ReadCard {
  file: string
  text: string
  card: AgentCard
}

/** @throws Problem usage, naming the line */
export function readCard(file: string): ReadCard {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw usage(
      `${file} cannot be read (${(error as NodeJS.ErrnoException).code})`,
      '`hub agent new NAME` makes a folder',
    )
  }
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, strict: true })
  const wrong = (offset: number | undefined, why: string) =>
    usage(`${file}:${offset === undefined ? 1 : lines.linePos(offset).line}: ${why}`, 'mend the card')
  const [error] = document.errors
  if (error !== undefined) throw wrong(error.pos[0], error.message.split('\n')[0] ?? 'not YAML')
  const parsed = agentCardShape.safeParse(document.toJS({ maxAliasCount: 0 }))
  if (parsed.success) return { file, text, card: parsed.data }
  const [issue] = parsed.error.issues
  const node = document.getIn(issue?.path ?? [], true) as { range?: [number, number, number] } | undefined
  throw wrong(node?.range?.[0], `${issue?.path.join('.') || 'card'}: ${issue?.message}`)
}

/** A name for a new agent or one that is there. @throws Problem usage */
export function checkName(name: string): string {
  const parsed = nameShape.safeParse(name)
  if (!parsed.success) throw usage(`${JSON.stringify(name)}: ${parsed.error.issues[0]?.message}`)
  if (name.endsWith(DEV_SUFFIX)) throw usage(`${name}: names that end in ${DEV_SUFFIX} belong to \`hub agent try\``)
  if (name.length + DEV_SUFFIX.length > 63)
    throw usage(`${name}: an agent's name is at most ${63 - DEV_SUFFIX.length} long`)
  return name
}

/** The folder that is named by its path, by a name below this one, or by the name of a shipped agent; undefined where there is none. */
export function findFolder(named: string): string | undefined {
  const places = [path.resolve(named)]
  if (nameShape.safeParse(named).success) places.push(path.join(CHECKOUT, 'images', named))
  return places.find((place) => existsSync(path.join(place, 'agent.yaml')) && statSync(place).isDirectory())
}

export interface AgentFolder extends ReadCard {
  folder: string
}

/** @throws Problem usage where there is no folder, its card is wrong, or it names another image than its build makes */
export function openFolder(named: string): AgentFolder {
  const folder = findFolder(named)
  if (folder === undefined) {
    throw usage(
      `there is no agent.yaml in ${path.resolve(named)}`,
      'name the folder, or make one: `hub agent new NAME`',
    )
  }
  const read = readCard(path.join(folder, 'agent.yaml'))
  const { name, image } = read.card
  checkName(name)
  if (image !== `hub/${name}`)
    throw usage(`${read.file}: image must be hub/${name}, which is what its build makes`, 'mend the card')
  return { ...read, folder }
}

export const cardFileOf = (home: string, name: string): string => path.join(home, 'agents', `${name}.yaml`)
