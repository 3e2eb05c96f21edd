/**
 * Where cards of agents lie: three places in order (docs/agents.md, "Where cards come from"). The first place that names an agent wins; what another
 * place says of it counts for nothing and is said. A card that cannot be read holds its name all the same, so that a fault in one place never
 * lets the card of another in.
 */
import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative, sep } from 'node:path'
import { parse } from 'yaml'
import type { CardPlace } from './card-places.ts'

/** Cards for all homes of a machine: only root may have written them. */
const SYSTEM_CARDS = '/etc/hub/agents'

export interface CardPlaces {
  /** Folders of the hub's own agents, each with its `agent.yaml`. Undefined: there are none. */
  package?: string | undefined
  home: string
  system?: string | undefined
  /** Who must own what lies in `system`; root without it. */
  systemOwner?: number | undefined
}

export interface CardFile {
  place: CardPlace
  path: string
  /** As it is named to a person: below `agents/` of the home, else its path. */
  shown: string
  /** The agent that it is about, as far as its file's name tells. */
  stem: string
}

/** The places of a home, beside the hub in `checkout`. */
export const placesOf = (home: string, checkout: string): CardPlaces => ({
  package: join(checkout, 'images'),
  home: join(home, 'agents'),
  system: SYSTEM_CARDS,
})

/** Cards in the order in which they count. A folder that is not there, or cannot be read, holds none. */
export function cardFiles(places: CardPlaces): CardFile[] {
  const { home, system } = places
  const flat = (place: CardPlace, folder: string): CardFile[] =>
    namesIn(folder)
      .filter((name) => name.endsWith('.yaml'))
      .map((name) => ({
        ...{ place, path: join(folder, name), stem: basename(name, '.yaml') },
        shown: place === 'home' ? name : join(folder, name),
      }))
  return [
    ...(places.package === undefined ? [] : ownCards(places.package)),
    ...flat('home', home),
    ...(system === undefined ? [] : flat('system', system)),
  ]
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort()
  } catch {
    return []
  }
}

/**
 * One that asks for egress is left out: it is refused until its upstream is declared, which only the operator can do; `hub agent build` then
 * brings it into the home.
 */
function ownCards(folder: string): CardFile[] {
  return namesIn(folder).flatMap((stem): CardFile[] => {
    const path = join(folder, stem, 'agent.yaml')
    return existsSync(path) && !asksForEgress(path) ? [{ place: 'package', path, shown: path, stem }] : []
  })
}

function asksForEgress(path: string): boolean {
  const { may } = parse(readFileSync(path, 'utf8')) as { may?: { egress?: unknown[] } }
  return (may?.egress ?? []).length > 0
}

/**
 * Why this file of the system's place may not be used: everybody who can write it, or a folder that it lies in, could start agents in every home.
 * Undefined if it may, or if it lies in another place.
 */
export function distrustOf({ place }: CardFile, path: string, places: CardPlaces): string | undefined {
  const { system, systemOwner = 0 } = places
  if (place !== 'system' || system === undefined) return undefined
  const above = [system, ...foldersAbove(system)]
  const below = relative(system, path).split(sep)
  const inside = below.map((_, at) => join(system, ...below.slice(0, at + 1)))
  for (const each of [...above, ...inside]) {
    const why = writersOf(each, systemOwner, !inside.includes(each))
    if (why !== undefined) return why
  }
  return undefined
}

/** Up to the root. */
function foldersAbove(folder: string): string[] {
  const above = dirname(folder)
  return above === folder ? [] : [above, ...foldersAbove(above)]
}

/** In a folder with the sticky bit, nobody takes away what is another's. */
const STICKY = 0o1000

function writersOf(path: string, owner: number, isAbove: boolean): string | undefined {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return undefined
  if (found.isSymbolicLink())
    return `${path} is a link, and what it leads to may be anybody's; put the file itself there`
  if (found.uid !== owner && !(isAbove && found.uid === 0))
    return `${path} belongs to user ${found.uid}, and only ${owner === 0 ? 'root' : `user ${owner}`} may have written it: chown ${owner} ${path}`
  if ((found.mode & 0o022) !== 0 && !(isAbove && (found.mode & STICKY) !== 0))
    return `${path} may be written by others (mode ${(found.mode & 0o777).toString(8)}): chmod go-w ${path}`
  return undefined
}

/** The card that counts for an agent, by the names of files alone; undefined if no place has one. */
export const cardFileNamed = (places: CardPlaces, name: string): CardFile | undefined =>
  cardFiles(places).find(({ stem }) => stem === name)
