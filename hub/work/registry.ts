/**
 * Known agents: cards from three places in order (base/card-files.ts, S4-35), images resolved to local ids, health kept in a table (S1-3, S1-11).
 * Files win over the table. A broken card is named with its line and left out; the other cards load.
 */
import type { CardFile, CardPlaces } from '../base/card-files.ts'
import type { CardPlace } from '../base/card-places.ts'
import { HubError } from '../base/errors.ts'
import type { ImageBuild } from '../base/image-builds.ts'
import { assertGrant, type Grant } from '../guard/grant.ts'
import { additionsOf } from '../protocol/additions.ts'
import type { AgentCard, SessionLimits } from '../protocol/agent.ts'
import type { Store } from '../store/database.ts'
import { CardError, type ReadCard, readPlaces, type Shadowed } from './card-reading.ts'
import type { PinnedImages } from './pinned-images.ts'
import type { Provenance } from './sandbox/provenance.ts'
import type { StartedWith } from './session-cards.ts'

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
  /** What its image was made of here, where it was. */
  made: MadeOf
  /** Where its card lies, and the files that count for nothing because of it. */
  origin: { place: CardPlace; path: string; shadows: string[] }
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

/** Of the image's build (base/image-builds.ts). */
export type MadeOf = Pick<ImageBuild, 'from' | 'packages'>

/** What is known of an image beside its id. */
export interface ImageOrigin {
  provenance: Provenance | undefined
  made: MadeOf
  /** What it holds because its card asked when it was built here; undefined if nobody here can say. */
  holds?: readonly string[]
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
  /** Cards that count for nothing, because a place before theirs names the same agent. */
  shadowed(): Shadowed[]
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
  /** A session of it ended without a result. `isBlamed`: it is unhealthy from now on. */
  crashed(grant: Grant, name: string, isBlamed: boolean, reason: string): void
  setState(grant: Grant, name: string, state: 'registered' | 'suspended', reason: string): void
}

interface Loaded extends Pick<ReadCard, 'text' | 'card' | 'schemas' | 'placeOf'>, ImageOrigin {
  file: CardFile
  limits: SessionLimits
  imageId: string | undefined
  imageProblem: string
  imageCode?: 'image_missing' | 'image_refused'
  imageNote: string
}
/** A card that was not loaded, and whose it is where that is known. */
interface Unloaded extends CardProblem {
  stem: string
  agent: string | undefined
  code: 'limit_exceeded' | 'unknown_agent'
}

const ASKED_AGAIN =
  '`images` of hub.yaml was changed, and its image is asked about again; if that does not end, `hub agent reload`'

/** An image that lacks what its card asks for would leave that out without a word, or end each task with a fault: nothing starts from it. */
function lackOf(card: AgentCard, place: CardPlace, { holds }: ImageOrigin) {
  const lacks = holds === undefined ? [] : additionsOf(card).filter((name) => !holds.includes(name))
  if (lacks.length === 0) return {}
  const mend = place === 'package' ? 'node scripts/build-images.ts --home HOME' : 'hub agent build FOLDER'
  const imageProblem = `its card asks for ${lacks.join(' and ')}, and ${card.image} was built without: \`${mend}\`, then \`hub agent reload\``
  return { imageId: undefined, imageCode: 'image_refused' as const, imageProblem }
}

export function createRegistry(
  options: { places: CardPlaces; limitsOf: (card: AgentCard) => SessionLimits },
  parts: {
    store: Store
    images: PinnedImages
    /** Which feature flag keeps an agent with this card from starting, in words; empty if none does. */
    barredBy: (card: AgentCard, provenance: Provenance | undefined, imageId: string | undefined) => string
    /** Where images come from, as it is known now (sandbox/provenance.ts). Called once for each read of the cards. */
    origins: () => (imageId: string | undefined) => ImageOrigin
    /** Who is halted for losing too many sessions; see work/dispatch/breaker.ts. */
    breaker: { haltOf(name: string): { reason: string } | undefined; reset(grant: Grant, name: string): void }
  },
): Registry {
  const { store, images, barredBy, breaker } = parts
  let agents = new Map<string, Loaded>()
  let unloaded: Unloaded[] = []
  let shadowed: Shadowed[] = []
  const problems = (): CardProblem[] =>
    unloaded
      .map(({ file, line, column, message }) => ({ file, line, column, message }))
      .sort((a, b) => (a.file < b.file ? -1 : 1))
  /** Which file each agent was last loaded from, as it is shown. */
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
      made: loaded.made,
      origin: {
        ...{ place: loaded.file.place, path: loaded.file.path },
        shadows: shadowed.filter(({ agent }) => agent === name).map(({ file }) => file.path),
      },
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
    return (
      unloaded.find(({ agent }) => agent === name) ??
      unloaded.find(({ agent, file, stem }) => agent === undefined && (stem === name || file === fileOf.get(name)))
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
  function unloadedAs({ shown, stem }: CardFile, agent: string | undefined, thrown: unknown): Unloaded {
    const { line, column, code } =
      thrown instanceof CardError ? thrown : { line: 1, column: 1, code: 'unknown_agent' as const }
    return { file: shown, stem, line, column, message: (thrown as Error).message, agent, code }
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
    const {
      cards,
      broken,
      shadowed: behind,
    } = readPlaces(options.places, (shown) => [...fileOf].filter(([, file]) => file === shown).map(([name]) => name))
    const found = broken.map(({ file, agent, thrown }) => unloadedAs(file, agent, thrown))
    const terms = imageTerms
    const next = new Map<string, Loaded>()
    const originOf = parts.origins()
    for (const [name, same] of cards) {
      for (const { file, read } of same) {
        const { text, card, schemas, placeOf } = read
        try {
          // The hub cannot guess which of them is meant: a copied card would take over the other's grants (fault C13).
          const other = same.find((each) => each.file !== file)
          if (other !== undefined)
            throw new CardError(
              placeOf(['name'], 'value'),
              `name: ${other.file.shown} is named ${name} too; neither is loaded until one of them has another name`,
            )
          const limits = limitsOf(read)
          const image = await imageOf(read, takesNew)
          const origin = originOf(image.imageId)
          const lack = lackOf(card, file.place, origin)
          next.set(name, { file, text, card, schemas, placeOf, limits, ...image, ...origin, ...lack })
          fileOf.set(name, file.shown)
        } catch (thrown) {
          found.push(unloadedAs(file, name, thrown))
        }
      }
    }
    images.onlyFor(new Set(cards.keys()))
    agents = next
    judgedBy = terms
    unloaded = found
    shadowed = behind
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
    shadowed: () => shadowed,

    read(takesNew = false) {
      const mine = reading.then(() => readAll(takesNew))
      reading = mine.catch(() => undefined)
      return mine
    },

    limitsChanged: fitLimits,
    imagesChanged() {
      imageTerms += 1
    },

    crashed(grant, name, isBlamed, reason) {
      assertGrant(grant, 'session.observe')
      save(name, { crashes: stateOf(name).crashes + 1, ...(isBlamed ? { state: 'unhealthy', reason } : {}) })
    },
    setState(grant, name, state, reason) {
      assertGrant(grant, 'agent.reset', 'agent.suspend')
      known(name)
      save(name, { state, reason, ...(state === 'registered' ? { crashes: 0 } : {}) })
      if (grant.operation === 'agent.reset') breaker.reset(grant, name)
    },
  }
}
