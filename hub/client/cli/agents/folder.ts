/** Finds the folder of an agent or its card in the home, and reads the card as strictly as the hub does. */
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { cardFileNamed, placesOf } from '../../../base/card-files.ts'
import { type AgentCard, agentCardShape, nameProblem, TRIAL_SUFFIX } from '../../../protocol/agent.ts'
import { nameShape } from '../../../protocol/ids.ts'
import { faultText, judgeYaml } from '../../../protocol/judging.ts'
import { paramsIn } from '../../../protocol/wish-places.ts'
import { usage } from '../../problem.ts'

export const CHECKOUT = fileURLToPath(new URL('../../../..', import.meta.url))

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
  const { value, faults } = judgeYaml(text, agentCardShape)
  if (value !== undefined) return { file, text, card: value }
  const [first, ...others] = faults.map(faultText)
  const more = others.length === 0 ? '' : ` (and: ${others.join('; ')})`
  throw usage(`${file} ${first}${more}`, 'fix the card')
}

/** A name for a new agent or one that is there. @throws Problem usage */
export function checkName(name: string): string {
  const wrong = nameProblem(name)
  if (wrong !== undefined) throw usage(`${JSON.stringify(name)}: ${wrong}`, 'choose another name')
  if (name.endsWith(TRIAL_SUFFIX)) throw usage(`${name}: names that end in ${TRIAL_SUFFIX} belong to \`hub agent try\``)
  if (name.length + TRIAL_SUFFIX.length > 63)
    throw usage(`${name}: an agent's name has at most ${63 - TRIAL_SUFFIX.length} characters`)
  return name
}

/**
 * Refuses the names of shipped agents and base images for a user's folder, because its build would replace the shipped image. With a
 * replaced canary the drill would prove nothing (fault C36). @throws Problem usage
 */
export function refuseShipped(name: string, folder?: string): void {
  const shipped = path.join(CHECKOUT, 'images', name)
  if (!existsSync(shipped) || (folder !== undefined && realpathSync(folder) === realpathSync(shipped))) return
  throw usage(`${name} is the name of a shipped agent or image, and a build would replace it`, 'choose another name')
}

/** The folder at a path, or of the shipped agent of that name; undefined if there is none. */
export function findFolder(named: string): string | undefined {
  const places = [path.resolve(named)]
  if (nameShape.safeParse(named).success) places.push(path.join(CHECKOUT, 'images', named))
  return places.find((place) => existsSync(path.join(place, 'agent.yaml')) && statSync(place).isDirectory())
}

export interface AgentFolder extends ReadCard {
  folder: string
}

/** @throws Problem usage if there is no folder, if its card is wrong, or if it names an image that its build does not make */
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
  refuseShipped(name, folder)
  if (image !== `hub/${name}`)
    throw usage(`${read.file}: image must be hub/${name}, because its build makes that name`, 'fix the card')
  return { ...read, folder }
}

/** Of the home itself, where builds put cards. */
export const cardFileOf = (home: string, name: string): string => path.join(home, 'agents', `${name}.yaml`)

/** The file of the card that counts for this agent, in whichever place; undefined if there is none. */
export const countingCard = (home: string, name: string): string | undefined =>
  cardFileNamed(placesOf(home, CHECKOUT), name)?.path

/** How a task is given to it: with the parameters that its command line names, and a repository where the image of its folder is made for one. */
export function submitStep({ name, run }: Pick<AgentCard, 'name' | 'run'>, folder?: string): string {
  const recipe = folder === undefined ? '' : path.join(folder, 'image.yaml')
  const isForCode = existsSync(recipe) && /^base: *coding\b/m.test(readFileSync(recipe, 'utf8'))
  const words = [...(isForCode ? ['--repo .'] : []), ...paramsIn(run).map((param) => `--param ${param}="..."`)]
  return ['hub submit', name, ...words].join(' ')
}
