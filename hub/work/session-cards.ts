/**
 * What each session was started with: its card, its limits and its schemas. It is supervised and sends messages by these until it has ended,
 * whatever becomes of the card meanwhile: changed, gone, with a fault, or above a limit that was lowered.
 *
 * K1. Kept over restarts of the hub. Written in the step that makes the session; removed in the step that records that it is gone.
 * K2. A session of an earlier hub has none kept, and one that cannot be read counts as none. Then the card of its agent that is loaded now
 *     counts. Without that either, nobody knows what the session owes, and it is ended (dispatch/vitals.ts).
 */
import { Ajv, type ValidateFunction } from 'ajv'
import { HubError } from '../base/errors.ts'
import { assertGrant, assertStopGrant, type Grant, type StopGrant } from '../guard/grant.ts'
import { type AgentCard, agentCardShape, type SessionLimits } from '../protocol/agent.ts'
import type { Envelope } from '../protocol/envelope.ts'
import { judgeYaml } from '../protocol/judging.ts'
import type { Store } from '../store/database.ts'
import { isObject, readText } from '../store/reading.ts'

/** A card that was judged, with everything that sessions of it go by. */
export interface StartedWith {
  /** As its file says it. */
  text: string
  card: AgentCard
  limits: SessionLimits
  /** By `sends TYPE` or `receives TYPE`. */
  schemas: ReadonlyMap<string, Schema>
}
export interface Schema {
  text: string
  validate: ValidateFunction
}
/** As it is stored. */
interface Kept {
  text: string
  limits: SessionLimits
  schemas: Record<string, string>
}

type Ref = { id: string; agent: string }

export interface SessionCards {
  keep(grant: Grant, session: string, startedWith: StartedWith): void
  /** Undefined if nobody knows what the session was started with. */
  of(session: Ref): Pick<StartedWith, 'card' | 'limits'> | undefined
  /** Throws `schema_invalid` unless this session may `direction` messages of this type with this body. */
  checkBody(session: Ref, direction: 'sends' | 'receives', message: Pick<Envelope, 'type' | 'body' | 'dataClass'>): void
  drop(grant: StopGrant, session: string): void
}

/** Throws what is wrong with it, by JSON.parse or ajv. */
export const schemaOf = (text: string): Schema => ({
  text,
  validate: new Ajv({ strict: true, allErrors: false }).compile(JSON.parse(text) as object),
})

/** What was kept, judged again; undefined if it cannot be read. */
function readKept(stored: string | undefined): StartedWith | undefined {
  const kept = readText<Kept | undefined>(stored, isObject, undefined)
  try {
    const card = kept && judgeYaml(kept.text, agentCardShape).value
    if (kept === undefined || card === undefined) return undefined
    const schemas = Object.entries(kept.schemas).map(([name, text]) => [name, schemaOf(text)] as const)
    return { text: kept.text, card, limits: kept.limits, schemas: new Map(schemas) }
  } catch {
    return undefined
  }
}

/** `loaded`: the card of an agent as it is now. */
export function createSessionCards(
  store: Store,
  parts: { loaded: (agent: string) => StartedWith | undefined },
): SessionCards {
  const insert = store.prepare('insert into session_card (session, started_with) values (?, ?)')
  const find = store.prepare('select started_with from session_card where session = ?').pluck()
  const remove = store.prepare('delete from session_card where session = ?')
  const known = new Map<string, StartedWith>()

  function get({ id, agent }: Ref): StartedWith | undefined {
    const found = known.get(id) ?? readKept(find.get(id) as string | undefined)
    if (found !== undefined) known.set(id, found)
    return found ?? parts.loaded(agent)
  }

  return {
    keep(grant, session, startedWith) {
      assertGrant(grant, 'task.dispatch')
      const schemas = Object.fromEntries([...startedWith.schemas].map(([name, { text }]) => [name, text]))
      const kept: Kept = { text: startedWith.text, limits: startedWith.limits, schemas }
      insert.run(session, JSON.stringify(kept))
      store.afterCommit(() => known.set(session, startedWith))
    },
    of: get,
    checkBody(session, direction, { type, body, dataClass }) {
      const found = get(session)
      if (found === undefined || !Object.hasOwn(found.card.messages[direction], type))
        throw new HubError(
          'schema_invalid',
          `agent ${session.agent} ${direction} no messages of type ${type}; its card lists the types that it does`,
        )
      const validate = found.schemas.get(`${direction} ${type}`)?.validate
      if (validate === undefined || validate(body)) return
      // What a fault says of a restricted body could be a part of it, and a refusal is recorded.
      const [first] = dataClass === 'restricted' ? [] : (validate.errors ?? [])
      throw new HubError(
        'schema_invalid',
        `body${first?.instancePath ?? ''} ${first?.message ?? 'does not fit'} (${type} as agent ${session.agent} ${direction} it)`,
      )
    },
    drop(grant, session) {
      assertStopGrant(grant, 'session.reap')
      remove.run(session)
      known.delete(session)
    },
  }
}
