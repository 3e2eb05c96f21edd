/**
 * Which image an agent runs from: the local id that was taken when its card was first read. It is kept across restarts and engine outages
 * (S1-3, S1-56). In the engine, a name may mean another image at any time. The new one is taken only by `hub agent reload`, or if the card
 * names another image.
 *
 * P1. A change is an event and a record: the new id is in the store together with its record, or it is not taken.
 * P2. A change is refused while a session of that agent is under way: two images would work under one name.
 * P3. With the image, the digest of the card is kept that it was last read with; a change of that is a record too.
 * P4. What the operator's programs say of an image (sandbox/image-checks.ts) is asked before it is taken and before it is used. Of one that is
 *     not taken nothing is asked.
 * P5. A pinned image that is gone is not replaced by another of the same name. Its agent starts nothing until the operator says so.
 */
import { HubError, toHubError } from '../base/errors.ts'
import type { Log } from '../base/telemetry.ts'
import type { Events } from '../guard/events.ts'
import type { Gate } from '../guard/gate.ts'
import { hubPrincipal } from '../guard/principal.ts'
import type { Store } from '../store/database.ts'
import type { TaskRows } from './dispatch/rows.ts'
import type { ImageChecks } from './sandbox/image-checks.ts'

const REGISTRY = hubPrincipal('registry')

/** What an image look-up answers: the id, or why the image may not be used. */
export type ResolveImage = (nameOrId: string) => Promise<{ id: string } | { refused: string } | undefined>

type Found = Awaited<ReturnType<ResolveImage>>
/** The same image if the operator's programs let it pass. */
type Passing = (found: Found) => Promise<Found>

export interface AgentImage {
  /** Undefined if nothing may be started from it. */
  id: string | undefined
  /** Why not; empty if there is nothing to say. */
  problem: string
  /** Of the refusal that follows from the problem. */
  code?: 'image_missing' | 'image_refused'
  /** Set if its name now means another image that was not taken; says how to take it. */
  note: string
}

export interface PinnedImages {
  /** The image that this agent runs from. `takesNew`: the operator asked for what the name means now. */
  of(agent: string, card: { image: string; digest: string }, takesNew: boolean): Promise<AgentImage>
  /** These are all the agents that have a card; to be called once they have been read. */
  onlyFor(agents: ReadonlySet<string>): void
}

interface Pin {
  image: string
  id: string
  /** SHA-256 of the card's file; null if it was never read since this is kept. */
  card: string | null
}

const short = (id: string) => id.replace('sha256:', '').slice(0, 12)

export function createPinnedImages(parts: {
  store: Store
  gate: Gate
  events: Events
  sessions: Pick<TaskRows, 'sessionsOpen'>
  resolve: ResolveImage
  checks: ImageChecks
  log: Log
}): PinnedImages {
  const { store, gate, events, sessions, checks, log } = parts
  const find = store.prepare('select image, image_id as id, card_digest as card from agent_image where agent = ?')
  const put = store.prepare(
    `insert into agent_image (agent, image, image_id, card_digest) values (?, ?, ?, ?) on conflict (agent) do update set
       image = excluded.image, image_id = excluded.image_id, card_digest = excluded.card_digest`,
  )

  /** If the agent had none before, there is nothing to tell. If the store fails, the next look asks again. */
  function pin(agent: string, { image, id, card }: Pin): void {
    try {
      store.transaction(() => put.run(agent, image, id, card))
    } catch (thrown) {
      if (toHubError(thrown).code !== 'store_unavailable') throw thrown
    }
  }

  function change(agent: string, from: Pin, to: Pin): void {
    if (sessions.sessionsOpen().some((session) => session.agent === agent))
      throw new HubError('conflict', `agent ${agent} is at work`)
    gate.admit({ principal: REGISTRY, operation: 'hub.observe', resource: `agent:${agent}` }, () => {
      put.run(agent, to.image, to.id, to.card)
      store.afterCommit(() =>
        events.publish('hub.agent.image_changed.v1', `agent:${agent}`, {
          image: to.image,
          imageId: to.id,
          former: from.id,
          card: to.card,
        }),
      )
      return { auditEffect: `image:${from.id} -> ${to.id} (${to.image}, card ${to.card?.slice(0, 12)})` }
    })
  }

  /** The card is another one, and its image is the same. If that cannot be recorded, the next look asks again. */
  function cardChanged(agent: string, from: Pin, to: Pin): void {
    if (from.card === null) {
      pin(agent, to)
      return
    }
    try {
      gate.admit({ principal: REGISTRY, operation: 'hub.observe', resource: `agent:${agent}` }, () => {
        put.run(agent, to.image, to.id, to.card)
        return { auditEffect: `card:${from.card} -> ${to.card} (image ${to.id})` }
      })
    } catch (thrown) {
      log.error({ agent, reason: toHubError(thrown).reason }, 'a change of a card could not be recorded')
    }
  }

  /** An image that was found for one agent, with what the operator's programs say of it; collects what they warn of. */
  function asking(agent: string, image: string, again: boolean) {
    const warnings = new Set<string>()
    const passing: Passing = async (found) => {
      if (found === undefined || 'refused' in found) return found
      const { refused, warning } = await checks.judge({ agent, image, id: found.id }, again)
      if (warning !== '') warnings.add(warning)
      return refused === '' ? found : { refused }
    }
    return { passing, warnings }
  }

  return {
    onlyFor: checks.onlyFor,
    async of(agent, { image, digest: card }, takesNew) {
      const { passing, warnings } = asking(agent, image, takesNew)
      const judged = await judge(agent, { image, card }, takesNew, passing)
      return { ...judged, note: [judged.note, ...warnings].filter((each) => each !== '').join('; ') }
    },
  }

  async function judge(
    agent: string,
    { image, card }: Pick<Pin, 'image' | 'card'>,
    takesNew: boolean,
    passing: Passing,
  ): Promise<AgentImage> {
    const named = await parts.resolve(image)
    if (named === undefined)
      return { id: undefined, code: 'image_missing', problem: `image ${image} is missing`, note: '' }
    const pinned = find.get(agent) as Pin | undefined
    const isPinned = 'id' in named && named.id === pinned?.id
    // What is not taken is not judged: whoever builds an image of this name must not stop the agent by it.
    if (pinned?.image === image && !isPinned && !takesNew)
      return keep(pinned, named, 'only `hub agent reload` takes it', passing)
    const found = await passing(named)
    if (found === undefined || 'refused' in found)
      return { id: undefined, code: 'image_refused', problem: found?.refused ?? '', note: '' }
    const { id } = found
    if (pinned === undefined) {
      pin(agent, { image, id, card })
      return { id, problem: '', note: '' }
    }
    if (pinned.image === image && pinned.id === id) {
      if (pinned.card !== card) cardChanged(agent, pinned, { image, id, card })
      return { id, problem: '', note: '' }
    }
    try {
      change(agent, pinned, { image, id, card })
      return { id, problem: '', note: '' }
    } catch (thrown) {
      const { code, message } = toHubError(thrown)
      const why =
        code === 'conflict'
          ? 'it cannot be taken while a session of the agent runs: `hub agent reload` once that has ended'
          : `it could not be taken: ${message}; \`hub agent reload\` when that is fixed`
      return keep({ ...pinned, image }, found, why, passing)
    }
  }

  /** The agent goes on with the image that was taken. */
  async function keep(
    { image, id: pinnedId }: Pin,
    other: NonNullable<Found>,
    why: string,
    passing: Passing,
  ): Promise<AgentImage> {
    const which = 'id' in other ? short(other.id) : `refused: ${other.refused}`
    const note = `${image} now names another image (${which}) than the one that the agent runs from (${short(pinnedId)}); ${why}`
    const kept = await passing(await parts.resolve(pinnedId))
    if (kept === undefined) {
      const problem = `image ${image} is not the image that was taken (${short(pinnedId)}), and that one is gone; ${why}`
      return { id: undefined, code: 'image_refused', problem, note: '' }
    }
    if ('refused' in kept) return { id: undefined, code: 'image_refused', problem: kept.refused, note }
    return { id: kept.id, problem: '', note }
  }
}
