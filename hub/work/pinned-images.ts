/**
 * Which image an agent runs from: the local id that was taken when its card was first read, kept over restarts and outages of the engine
 * (S1-3, S1-56). A name in the engine may come to mean another image at any time; only `hub agent reload`, or a card that names another
 * image, takes it.
 *
 * P1. A change is an event and a record: the new id stands in the store together with its record, or it is not taken.
 * P2. It is refused while a session of that agent is under way: two images would work under one name.
 * P3. A pinned image that is gone is not replaced by its namesake. Its agent starts nothing until the operator says so.
 */
import { HubError, toHubError } from '../base/errors.ts'
import type { Events } from '../guard/events.ts'
import type { Gate } from '../guard/gate.ts'
import { hubPrincipal } from '../guard/principal.ts'
import type { Store } from '../store/database.ts'
import type { TaskRows } from './dispatch/rows.ts'

const REGISTRY = hubPrincipal('registry')

/** What an image look-up answers: the id, or why the image may not be used. */
export type ResolveImage = (nameOrId: string) => Promise<{ id: string } | { refused: string } | undefined>

export interface AgentImage {
  /** Undefined where nothing may be started from it. */
  id: string | undefined
  /** Why not; empty where there is nothing to say. */
  problem: string
  /** Its name means another image by now, which was not taken, and how it is. */
  note: string
}

export interface PinnedImages {
  /** The image that this agent runs from. `takesNew`: the operator asked for what the name means now. */
  of(agent: string, image: string, takesNew: boolean): Promise<AgentImage>
}

const short = (id: string) => id.replace('sha256:', '').slice(0, 12)

export function createPinnedImages(parts: {
  store: Store
  gate: Gate
  events: Events
  sessions: Pick<TaskRows, 'sessionsOpen'>
  resolve: ResolveImage
}): PinnedImages {
  const { store, gate, events, sessions, resolve } = parts
  const find = store.prepare('select image, image_id as id from agent_image where agent = ?')
  const put = store.prepare(
    `insert into agent_image values (?, ?, ?) on conflict (agent) do update set image = excluded.image, image_id = excluded.image_id`,
  )

  /** Of an agent that had none there is nothing to be told but where the store fails: then it is asked again with the next look. */
  function pin(agent: string, image: string, id: string): void {
    try {
      store.transaction(() => put.run(agent, image, id))
    } catch (thrown) {
      if (toHubError(thrown).code !== 'store_unavailable') throw thrown
    }
  }

  function change(agent: string, from: { image: string; id: string }, to: { image: string; id: string }): void {
    if (sessions.sessionsOpen().some((session) => session.agent === agent))
      throw new HubError('conflict', `agent ${agent} is at work`)
    gate.admit({ principal: REGISTRY, operation: 'hub.observe', resource: `agent:${agent}` }, () => {
      put.run(agent, to.image, to.id)
      store.afterCommit(() =>
        events.publish('hub.agent.image_changed.v1', `agent:${agent}`, {
          image: to.image,
          imageId: to.id,
          former: from.id,
        }),
      )
      return { auditEffect: `image:${from.id} -> ${to.id} (${to.image})` }
    })
  }

  return {
    async of(agent, image, takesNew) {
      const found = await resolve(image)
      if (found === undefined) return { id: undefined, problem: `image ${image} is missing`, note: '' }
      if ('refused' in found) return { id: undefined, problem: found.refused, note: '' }
      const { id } = found
      const pinned = find.get(agent) as { image: string; id: string } | undefined
      if (pinned === undefined) {
        pin(agent, image, id)
        return { id, problem: '', note: '' }
      }
      if (pinned.image === image && pinned.id === id) return { id, problem: '', note: '' }
      let why = 'it is taken by `hub agent reload` alone'
      if (takesNew || pinned.image !== image) {
        try {
          change(agent, pinned, { image, id })
          return { id, problem: '', note: '' }
        } catch (thrown) {
          const { code, message } = toHubError(thrown)
          why =
            code === 'conflict'
              ? 'it is not taken while a session of the agent is under way: `hub agent reload` once it has ended'
              : `it is not taken: ${message}; \`hub agent reload\` when that is mended`
        }
      }
      const note = `${image} is another image by now (${short(id)}) than the one it runs from (${short(pinned.id)}); ${why}`
      const kept = await resolve(pinned.id)
      if (kept !== undefined && 'id' in kept) return { id: kept.id, problem: '', note }
      const problem = `image ${image} is not the one that was taken (${short(pinned.id)}), and that one is gone; ${why}`
      return { id: undefined, problem, note: '' }
    },
  }
}
