/** What one authentic frame of an agent does, inside its group's transaction: an envelope goes to the gate, `seen` frees its mail. */
import { z } from 'zod'
import type { Clock } from '../base/clock.ts'
import { HubError, toHubError } from '../base/errors.ts'
import { parseStrictJson } from '../base/strict-json.ts'
import { envelopeShape } from '../protocol/envelope.ts'
import { FRAME_TYPES } from '../protocol/frame.ts'
import { parseShape } from '../protocol/parse.ts'
import type { AgentCaller } from './agent-requests.ts'
import type { HookedFrame } from './frame-hooks.ts'
import type { Send } from './routes/messages.ts'

/**
 * Carries it out. A refusal is recorded and answered with the id it is about, if that was read. In a transaction (durable) it throws a
 * store error, which is the whole group's; beside the store each frame is refused by itself.
 */
export type FrameAct = (
  caller: AgentCaller,
  frame: HookedFrame,
  durable: boolean,
  onSeen: (after: number) => void,
) => { id: string; error: HubError } | undefined

/** As of a signed request: a body of 64 KiB and the envelope around it. */
const FLOOD_RECORD_EVERY_MS = 10_000
const seenShape = z.strictObject({ after: z.int().nonnegative() })

export function createFrameAct(parts: {
  send: Send
  takeQuota: (session: string, agent: string) => void
  clock: Clock
  refuse: (session: string, error: HubError, caller: AgentCaller) => void
  /** Counts one that is no record of its own. */
  count: (session: string, error: HubError, caller: AgentCaller) => void
}): FrameAct {
  const { send, takeQuota, clock, refuse, count } = parts
  const floods = new WeakMap<AgentCaller, number>()

  /** A flood is recorded once in ten seconds, and the rest of it counted: a record per refusal would let an agent fill the disk (T65). */
  function isRecordDue(caller: AgentCaller, { code }: HubError): boolean {
    if (code !== 'rate_limited') return true
    const now = clock.monotonicMs()
    if (now - (floods.get(caller) ?? Number.NEGATIVE_INFINITY) < FLOOD_RECORD_EVERY_MS) return false
    floods.set(caller, now)
    return true
  }

  return (caller, frame, durable, onSeen) => {
    const { type, body, refusal } = frame
    const { id: session, agent } = caller.session
    let id = ''
    try {
      takeQuota(session, agent)
      if (type === FRAME_TYPES.seen) {
        onSeen(parseShape(seenShape, parseStrictJson(body, 2)).after)
        return undefined
      }
      if (type !== FRAME_TYPES.envelope) throw new HubError('schema_invalid', `an agent sends no frame of type ${type}`)
      const envelope = parseShape(envelopeShape, parseStrictJson(body))
      id = envelope.id
      send(caller, envelope, body, refusal)
      return undefined
    } catch (thrown) {
      const error = toHubError(thrown)
      if (durable && (error.code === 'store_unavailable' || error.code === 'audit_unavailable')) throw error
      // What the gate refused it has recorded; a body that never reached it is recorded here.
      if (id === '') (isRecordDue(caller, error) ? refuse : count)(session, error, caller)
      return { id, error }
    }
  }
}
