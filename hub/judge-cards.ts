/**
 * What is wrong with cards, recipes of images and folders of agents, all of it at once (`hub agent validate`, S4-35). Reads files alone: it asks no
 * hub and no engine, and changes nothing.
 */
import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { type CardFile, type CardPlaces, cardFiles, distrustOf } from './base/card-files.ts'
import { HubError } from './base/errors.ts'
import type { Config } from './config.ts'
import { limitsOfCard } from './config-limits.ts'
import { type AgentCard, agentCardShape, TRIAL_SUFFIX } from './protocol/agent.ts'
import { holdsShell, type ImageRecipe, imageRecipeShape } from './protocol/image-recipe.ts'
import { type Fault, judgeYaml, type Places } from './protocol/judging.ts'
import { readPlaces, schemasOf } from './work/card-reading.ts'

export interface FileVerdict {
  file: string
  faults: Fault[]
}

const BYTES_MAX = 65_536

interface JudgedCard extends FileVerdict {
  card: AgentCard | undefined
  placeOf: Places
}

const whole = (message: string): Fault => ({ line: 1, column: 1, key: '', message })

function textOf(path: string): string {
  const text = readFileSync(path, 'utf8')
  if (text.length > BYTES_MAX) throw new Error('it is larger than 64 KiB')
  return text
}

/** `config`: what hub.yaml allows; undefined where that has a fault itself, which `hub config check` says. */
export function judgeCard(path: string, config: Config | undefined, of?: CardFile, places?: CardPlaces): JudgedCard {
  const none: Places = () => ({ line: 1, column: 1 })
  const distrust = (each: string) => (of && places ? distrustOf(of, each, places) : undefined)
  try {
    const why = distrust(path)
    if (why !== undefined) throw new Error(why)
    const { value, faults, placeOf } = judgeYaml(textOf(path), agentCardShape)
    if (value === undefined) return { file: path, faults, card: undefined, placeOf }
    const wrong = schemasOf(value, dirname(path), placeOf, distrust).faults.map(
      ({ line, column, message }): Fault => ({ line, column, key: '', message }),
    )
    return { file: path, faults: [...wrong, ...aboveLimits(value, config, placeOf)], card: value, placeOf }
  } catch (thrown) {
    return { file: path, faults: [whole((thrown as Error).message)], card: undefined, placeOf: none }
  }
}

function aboveLimits(card: AgentCard, config: Config | undefined, placeOf: Places): Fault[] {
  try {
    if (config !== undefined) limitsOfCard(config, card)
    return []
  } catch (thrown) {
    if (!(thrown instanceof HubError)) throw thrown
    return [{ ...placeOf(String(thrown.facts.key ?? '').split('.'), 'value'), key: '', message: thrown.message }]
  }
}

export function judgeRecipe(path: string): FileVerdict & { recipe: ImageRecipe | undefined } {
  try {
    const { value, faults } = judgeYaml(textOf(path), imageRecipeShape)
    return { file: path, faults, recipe: value }
  } catch (thrown) {
    return { file: path, faults: [whole((thrown as Error).message)], recipe: undefined }
  }
}

const FILES_MAX = 2_000
const FOLDER_BYTES_MAX = 64 * 1024 ** 2
/** Which source of the folder is which program of its image. */
const SOURCES: Readonly<Record<string, readonly string[]>> = { '.js': ['.ts', '.js'], '.mjs': ['.mjs'] }

/** A folder that `hub agent build` takes: its card, its recipe, its program. `shipped`: the folder of the hub's own agents. */
export function judgeFolder(folder: string, shipped: string, config: Config | undefined): FileVerdict[] {
  const judged = judgeCard(join(folder, 'agent.yaml'), config)
  const recipeFile = join(folder, 'image.yaml')
  const recipe = existsSync(recipeFile) ? judgeRecipe(recipeFile) : undefined
  const { card, placeOf } = judged
  if (card === undefined) return recipe === undefined ? [judged] : [judged, recipe]
  const isOurs = dirname(folder) === shipped
  const faults = [...judged.faults]
  const fault = (key: string, message: string) =>
    void faults.push({ ...placeOf(key.split('.'), 'value'), key, message })
  const { name, image } = card
  if (!isOurs && existsSync(join(shipped, name)))
    fault('name', `${name} is the name of one of the hub's own agents or images; choose another`)
  if (name.endsWith(TRIAL_SUFFIX)) fault('name', `names that end in ${TRIAL_SUFFIX} belong to \`hub agent try\``)
  if (isOurs && basename(folder) !== name) fault('name', `must be ${basename(folder)}, as its folder`)
  if (image !== `hub/${name}`) fault('image', `must be hub/${name}, because its build makes that name`)
  const made = recipe?.recipe
  // Of an image made from another nobody can say before it is looked at; without a file it is Node alone.
  if (made?.from === undefined && (recipe === undefined || made !== undefined) && card.shell !== holdsShell(made ?? {}))
    fault(
      'shell',
      recipe === undefined
        ? 'must be false: without an image.yaml its image holds no shell. For `hub agent build --from IMAGE` write `from: IMAGE` into image.yaml'
        : `must be ${String(holdsShell(made ?? {}))}: its image ${holdsShell(made ?? {}) ? 'holds a' : 'holds no'} shell`,
    )
  for (const [at, word] of card.run.entries()) {
    const message = missingProgram(word, { folder, name, isOurs })
    if (message !== undefined) faults.push({ ...placeOf(['run', at], 'value'), key: `run[${at}]`, message })
  }
  const size = sizeOf(folder)
  if (size.files > FILES_MAX || size.bytes > FOLDER_BYTES_MAX)
    faults.push(whole(`its folder holds over ${FILES_MAX} files or 64 MiB; give data as a task's input`))
  const own = { file: judged.file, faults }
  return recipe === undefined ? [own] : [own, { file: recipe.file, faults: recipe.faults }]
}

/** Where the folder lies in its image, and whether it holds what `run` names there. */
function missingProgram(
  word: string,
  { folder, name, isOurs }: { folder: string; name: string; isOurs: boolean },
): string | undefined {
  const place = `/app/${isOurs ? 'images' : 'agents'}/${name}/`
  const elsewhere = /^\/app\/(?:agents|images)\/[^/]+\//.exec(word)?.[0]
  if (elsewhere === undefined) return undefined
  if (elsewhere !== place)
    return `is in a folder that is not this agent's; write ${place}${word.slice(elsewhere.length)}`
  const path = word.slice(place.length)
  const ending = /\.m?js$/.exec(path)?.[0] ?? ''
  const stem = path.slice(0, path.length - ending.length)
  const sources = (SOURCES[ending] ?? [ending]).map((each) => `${stem}${each}`)
  if (sources.some((each) => existsSync(join(folder, each)))) return undefined
  return `its folder holds no ${sources.join(' and no ')}`
}

function sizeOf(folder: string): { files: number; bytes: number } {
  let [files, bytes] = [0, 0]
  const walk = (below: string) => {
    for (const name of readdirSync(below)) {
      if (name === 'node_modules' || name.startsWith('.') || files > FILES_MAX) continue
      const found = lstatSync(join(below, name))
      if (found.isDirectory()) walk(join(below, name))
      else if (found.isFile()) {
        files += 1
        bytes += found.size
      }
    }
  }
  walk(folder)
  return { files, bytes }
}

/** Every card of a home, or those of one agent, and which of them count for nothing. */
export function judgePlaces(
  places: CardPlaces,
  config: Config | undefined,
  only?: string,
): { files: FileVerdict[]; shadowed: { agent: string; card: string; by: string }[] } {
  const { cards, broken, shadowed } = readPlaces(places)
  const agentOf = new Map<string, string>()
  for (const [name, found] of cards) for (const { file } of found) agentOf.set(file.path, name)
  for (const { agent, file } of [...shadowed, ...broken]) agentOf.set(file.path, agent ?? file.stem)
  const files = cardFiles(places)
    .filter(({ path, stem }) => only === undefined || only === (agentOf.get(path) ?? stem))
    .map((file) => {
      const { faults, placeOf } = judgeCard(file.path, config, file, places)
      const name = agentOf.get(file.path) ?? file.stem
      const same = cards.get(name)?.map((each) => each.file) ?? []
      const other = same.some(({ path }) => path === file.path)
        ? same.find(({ path }) => path !== file.path)
        : undefined
      if (other === undefined) return { file: file.path, faults }
      const message = `${other.shown} is named ${name} too; neither is loaded until one of them has another name`
      return { file: file.path, faults: [{ ...placeOf(['name'], 'value'), key: 'name', message }, ...faults] }
    })
  return {
    files,
    shadowed: shadowed
      .filter(({ agent }) => only === undefined || agent === only)
      .map(({ agent, file, by }) => ({ agent, card: file.path, by: by.path })),
  }
}
