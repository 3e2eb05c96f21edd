/**
 * Known agents: cards from the home's `agents/*.yaml`, images resolved to local ids, health kept in a table (S1-3, S1-11). Files win over
 * the table. A broken card is named with its line and left out; the other cards load.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve, sep } from 'node:path'
import { sha256Hex } from '../base/canonical.ts'
import { HubError } from '../base/errors.ts'
import { findJsonFault, placeOf as placeInText } from '../base/json-fault.ts'
import { assertGrant, type Grant } from '../guard/grant.ts'
import { type AgentCard, agentCardShape, type SessionLimits } from '../protocol/agent.ts'
import { type Fault, judgeYaml } from '../protocol/judging.ts'
import type { Store } from '../store/database.ts'
import type { PinnedImages } from './pinned-images.ts'
import type { Provenance } from './sandbox/provenance.ts'
import { type Schema, type StartedWith, schemaOf } from './session-cards.ts'

export type AgentState = 'registered' | 'unhealthy' | 'halted' | 'suspended'

export interface Agent {
  card: AgentCard
  /** Local image id; undefined while the image is missing. */
  imageId: string | undefined
  /** Of an image that may not be used: what it is refused with. */
  imageCode?: 'image_missing' | 'image_refused'
  /** Set if its image's name now means another image; says how to take it. Empty otherwise. */
  imageNote: string
  /** Where its image comes from; undefined if nobody can say. */
  provenance: Provenance | undefined
  /** Why no session of it begins although it is fit: a feature flag. Empty if none keeps it. */
  barred: string
  /** Why none begins just now, although work for it is taken: its image is asked about again. */
  doubt?: string
  limits: SessionLimits
  state: AgentState
  reason: string
  crashes: number
}

/** Why a card was not loaded, and the place in the file; line and column count from one. */
export interface CardProblem {
  file: string
  line: number
  column: number
  message: string
}

export interface Registry {
  find(name: string): Agent | undefined
  /** What a session of this agent that begins now goes by until its end. */
  startsWith(name: string): StartedWith | undefined
  /** Why this agent's card is not loaded, with file and line; undefined if it is, or if there is none. */
  whyUnloaded(name: string): string | undefined
  /** The refusal for whoever names an agent that `find` does not know. */
  missing(name: string): HubError
  list(): Agent[]
  problems(): CardProblem[]
  /**
   * Reads the cards again and looks their images up; waits for a read that began before. `takesNew`: the operator asked for it, so a name
   * that now means another image is followed (pinned-images.ts).
   */
  read(takesNew?: boolean): Promise<{ agents: number; problems: CardProblem[] }>
  /**
   * What hub.yaml allows or declares has changed, and counts at once. A card that asks for more is no longer loaded: nothing new of it begins.
   * What runs goes on by what it was started with (session-cards.ts).
   */
  limitsChanged(): void
  /** What is asked about images has changed: no agent starts until a `read` that begins after this has ended. */
  imagesChanged(): void
  crashed(grant: Grant, name: string, giveUp: boolean, reason: string): void
  setState(grant: Grant, name: string, state: 'registered' | 'suspended', reason: string): void
}

interface Loaded extends Pick<ReadCard, 'text' | 'card' | 'schemas' | 'placeOf'> {
  file: string
  limits: SessionLimits
  imageId: string | undefined
  imageProblem: string
  imageCode?: 'image_missing' | 'image_refused'
  imageNote: string
  provenance: Provenance | undefined
}
/** A card that was not loaded, and whose it is where that is known. */
interface Unloaded extends CardProblem {
  agent: string | undefined
  code: 'limit_exceeded' | 'unknown_agent'
}

const ASKED_AGAIN =
  '`images` of hub.yaml was changed, and its image is asked about again; if that does not end, `hub agent reload`'
const problem = (place: Place, message: string) => new CardError(place, message)

export function createRegistry(
  options: { folder: string; limitsOf: (card: AgentCard) => SessionLimits },
  parts: {
    store: Store
    images: PinnedImages
    /** Which feature flag keeps an agent with this card from starting, in words; empty if none does. */
    barredBy: (card: AgentCard, provenance: Provenance | undefined, imageId: string | undefined) => string
    /** Where images come from, as it is known now (sandbox/provenance.ts). Called once for each read of the cards. */
    provenance: () => (imageId: string | undefined) => Provenance | undefined
    /** Who is halted for losing too many sessions; see work/dispatch/breaker.ts. */
    breaker: { haltOf(name: string): { reason: string } | undefined; reset(grant: Grant, name: string): void }
  },
): Registry {
  const { store, images, barredBy, breaker } = parts
  let agents = new Map<string, Loaded>()
  let unloaded: Unloaded[] = []
  const problems = (): CardProblem[] =>
    unloaded
      .map(({ file, line, column, message }) => ({ file, line, column, message }))
      .sort((a, b) => (a.file < b.file ? -1 : 1))
  /** Which file each agent was last loaded from. */
  const fileOf = new Map<string, string>()
  /** One read after the other: what one began with may be over when it ends, and must not replace what a later one found. */
  let reading: Promise<unknown> = Promise.resolve()
  /** How often what is asked about images has changed: in all, and before the read that is in force. */
  let [imageTerms, judgedBy] = [0, 0]

  const stateOf = (name: string) =>
    (store.prepare('select state, reason, crashes from agent where name = ?').get(name) as
      | { state: AgentState; reason: string; crashes: number }
      | undefined) ?? { state: 'registered' as const, reason: '', crashes: 0 }

  const view = (name: string, loaded: Loaded): Agent => {
    const kept = stateOf(name)
    const halt = kept.state === 'registered' ? breaker.haltOf(name) : undefined
    const row = halt === undefined ? kept : { ...kept, state: 'halted' as const, reason: halt.reason }
    const barred = barredBy(loaded.card, loaded.provenance, loaded.imageId)
    const doubt = judgedBy === imageTerms ? undefined : ASKED_AGAIN
    return {
      card: loaded.card,
      barred,
      ...(doubt === undefined ? {} : { doubt }),
      imageId: loaded.imageId,
      ...(loaded.imageCode === undefined ? {} : { imageCode: loaded.imageCode }),
      imageNote: loaded.imageNote,
      provenance: loaded.provenance,
      limits: loaded.limits,
      ...row,
      reason: row.reason || loaded.imageProblem || barred || doubt || loaded.imageNote,
    }
  }

  const save = (name: string, set: { state?: AgentState; reason?: string; crashes?: number }) => {
    const row = { ...stateOf(name), ...set }
    store
      .prepare(
        `insert into agent values (?, ?, ?, ?) on conflict (name) do update
           set state = excluded.state, reason = excluded.reason, crashes = excluded.crashes`,
      )
      .run(name, row.state, row.reason, row.crashes)
  }
  const known = (name: string) => {
    if (!agents.has(name)) throw missing(name)
  }
  /** Without its name in it, a card is known by its file: the one that it was loaded from before, or the one that is named as the agent is. */
  function unloadedOf(name: string): Unloaded | undefined {
    const files = [fileOf.get(name), `${name}.yaml`]
    return (
      unloaded.find(({ agent }) => agent === name) ??
      unloaded.find(({ agent, file }) => agent === undefined && files.includes(file))
    )
  }
  function whyUnloaded(name: string): string | undefined {
    const found = agents.has(name) ? undefined : unloadedOf(name)
    return found && `its card is not loaded: ${found.file} line ${found.line}: ${found.message}`
  }
  function missing(name: string): HubError {
    const why = whyUnloaded(name)
    if (why === undefined) return new HubError('unknown_agent', `no agent is named ${name}; see \`hub agent list\``)
    return new HubError(unloadedOf(name)?.code ?? 'unknown_agent', `agent ${name} starts nothing: ${why}`)
  }
  function unloadedAs(file: string, agent: string | undefined, thrown: unknown): Unloaded {
    const { line, column, code } =
      thrown instanceof CardError ? thrown : { line: 1, column: 1, code: 'unknown_agent' as const }
    return { file, line, column, message: (thrown as Error).message, agent, code }
  }

  /** Throws with the line of the limit that is above what is allowed, or of what it wants to reach and nobody declared. */
  function limitsOf({ card, placeOf }: Pick<ReadCard, 'card' | 'placeOf'>): SessionLimits {
    try {
      return options.limitsOf(card)
    } catch (thrown) {
      if (!(thrown instanceof HubError)) throw thrown
      const place = placeOf(String(thrown.facts.key ?? '').split('.'), 'value')
      throw new CardError(place, thrown.message, thrown.code === 'limit_exceeded' ? thrown.code : 'unknown_agent')
    }
  }
  async function imageOf(
    { card: { name, image }, digest }: Pick<ReadCard, 'card' | 'digest'>,
    takesNew: boolean,
  ): Promise<Pick<Loaded, 'imageId' | 'imageCode' | 'imageProblem' | 'imageNote'>> {
    const { id, code, problem: imageProblem, note } = await images.of(name, { image, digest }, takesNew)
    return { imageId: id, ...(code === undefined ? {} : { imageCode: code }), imageProblem, imageNote: note }
  }

  async function readAll(takesNew: boolean): Promise<{ agents: number; problems: CardProblem[] }> {
    const found: Unloaded[] = []
    const cards = new Map<string, { file: string; read: ReadCard }[]>()
    for (const file of cardFiles(options.folder)) {
      try {
        const read = readCard(join(options.folder, file))
        cards.set(read.card.name, [...(cards.get(read.card.name) ?? []), { file, read }])
      } catch (thrown) {
        found.push(unloadedAs(file, undefined, thrown))
      }
    }
    const terms = imageTerms
    const next = new Map<string, Loaded>()
    const originOf = parts.provenance()
    for (const [name, same] of cards) {
      for (const { file, read } of same) {
        const { text, card, schemas, placeOf } = read
        try {
          // The hub cannot guess which of them is meant: a copied card would take over the other's grants (fault C13).
          const other = same.find((each) => each.file !== file)
          if (other !== undefined)
            throw problem(
              placeOf(['name'], 'value'),
              `name: ${other.file} is named ${name} too; neither is loaded until one of them has another name`,
            )
          const limits = limitsOf(read)
          const image = await imageOf(read, takesNew)
          const provenance = originOf(image.imageId)
          next.set(name, { file, text, card, schemas, placeOf, limits, ...image, provenance })
          fileOf.set(name, file)
        } catch (thrown) {
          found.push(unloadedAs(file, name, thrown))
        }
      }
    }
    images.onlyFor(new Set(cards.keys()))
    agents = next
    judgedBy = terms
    unloaded = found
    // They may have changed while the images were looked up.
    fitLimits()
    return { agents: agents.size, problems: problems() }
  }

  function fitLimits(): void {
    for (const [name, loaded] of agents) {
      try {
        agents.set(name, { ...loaded, limits: limitsOf(loaded) })
      } catch (thrown) {
        if (!(thrown instanceof CardError)) throw thrown
        agents.delete(name)
        unloaded.push(unloadedAs(loaded.file, name, thrown))
      }
    }
  }

  return {
    find(name) {
      const loaded = agents.get(name)
      return loaded === undefined ? undefined : view(name, loaded)
    },
    startsWith: (name) => agents.get(name),
    whyUnloaded,
    missing,
    list: () =>
      [...agents].map(([name, loaded]) => view(name, loaded)).sort((a, b) => (a.card.name < b.card.name ? -1 : 1)),
    problems,

    read(takesNew = false) {
      const mine = reading.then(() => readAll(takesNew))
      reading = mine.catch(() => undefined)
      return mine
    },

    limitsChanged: fitLimits,
    imagesChanged() {
      imageTerms += 1
    },

    crashed(grant, name, giveUp, reason) {
      assertGrant(grant, 'session.observe')
      save(name, { crashes: stateOf(name).crashes + 1, ...(giveUp ? { state: 'unhealthy', reason } : {}) })
    },
    setState(grant, name, state, reason) {
      assertGrant(grant, 'agent.reset', 'agent.suspend')
      known(name)
      save(name, { state, reason, ...(state === 'registered' ? { crashes: 0 } : {}) })
      if (grant.operation === 'agent.reset') breaker.reset(grant, name)
    },
  }
}

type Place = Pick<Fault, 'line' | 'column'>
class CardError extends Error {
  readonly line: number
  readonly column: number
  readonly code: 'limit_exceeded' | 'unknown_agent'
  constructor({ line, column }: Place, message: string, code: CardError['code'] = 'unknown_agent') {
    super(message)
    this.line = line
    this.column = column
    this.code = code
  }
}

function cardFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.yaml'))
      .sort()
  } catch {
    return []
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

/** Strict YAML (unique keys, no aliases), then the card's shape. An error names line, column and key. */
export function readCard(path: string): ReadCard {
  const text = readFileSync(path, 'utf8')
  if (text.length > 65_536) throw problem({ line: 1, column: 1 }, 'a card is at most 64 KiB')
  const { value, faults, placeOf } = judgeYaml(text, agentCardShape)
  const [first] = faults
  if (value === undefined)
    throw problem(first ?? { line: 1, column: 1 }, `${first?.key ? `${first.key}: ` : ''}${first?.message ?? ''}`)
  return { text, card: value, digest: sha256Hex(text), schemas: readSchemas(value, dirname(path), placeOf), placeOf }
}

function readSchemas(card: AgentCard, folder: string, placeOf: ReadCard['placeOf']): Map<string, Schema> {
  const schemas = new Map<string, Schema>()
  for (const direction of ['sends', 'receives'] as const) {
    for (const [type, file] of Object.entries(card.messages[direction])) {
      if (file === null) continue
      const wrong = (why: string) =>
        problem(placeOf(['messages', direction, type], 'value'), `messages.${direction}.${type}: ${why}`)
      const path = resolve(folder, file)
      if (!path.startsWith(resolve(folder) + sep)) throw wrong("the schema lies outside the agents' folder")
      let text: string
      try {
        text = readFileSync(path, 'utf8')
      } catch {
        throw wrong(`it names ${file}, which is not a readable file beside the card`)
      }
      const fault = findJsonFault(text)
      if (fault !== undefined) {
        const { line, column } = placeInText(text, fault.offset)
        throw wrong(`${file} is not JSON: line ${line}, column ${column}: ${fault.what}`)
      }
      try {
        schemas.set(`${direction} ${type}`, schemaOf(text))
      } catch (thrown) {
        throw wrong(`${file} is not a usable JSON schema (${(thrown as Error).message})`)
      }
    }
  }
  return schemas
}
