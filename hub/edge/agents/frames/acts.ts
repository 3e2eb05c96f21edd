/** What one authentic frame of an agent does, inside its group's transaction: an envelope goes to the gate, `seen` frees its mail. */

import { z } from 'zod'
import type { Clock } from '../../../base/clock.ts'
import { HubError, toHubError } from '../../../base/errors.ts'
import { parseStrictJson } from '../../../base/strict-json.ts'
import { type Envelope, envelopeShape } from '../../../protocol/envelope.ts'
import { FRAME_TYPES } from '../../../protocol/frame.ts'
import { parseShape } from '../../../protocol/parse.ts'
import { ACCEPTED, type Hooks, outcomeOf, type SendFacts, sendFacts } from '../../../work/messages/hooks.ts'
import type { Send } from '../messages.ts'
import type { AgentCaller } from '../requests.ts'

export interface HookedFrame {
  type: number
  body: Buffer
  /** What the hooks were asked about, what they refused, and what became of it. */
  facts?: SendFacts
  refusal?: HubError
  error?: HubError
}

/** The hooks for frames. Those of one session run one after the other, in order, and no other session waits for them (S0-21). */
export interface FrameHooks {
  /** Calls `next` when it is the frame's turn. False if too many frames of this line wait already. */
  pass(line: object, sender: { agent: string; id: string }, frame: HookedFrame, next: () => void): boolean
  /** Tells what became of each. `fault`: what kept the whole group from being committed. */
  tell(frames: readonly HookedFrame[], fault?: unknown): void
}

/** As many as an SDK may have unconfirmed. */
const WAITING_MAX = 1024
const WAITING_BYTES_MAX = 4 * 1024 ** 2

export function createFrameHooks(hooks: Hooks): FrameHooks {
  const lines = new WeakMap<object, { turn: Promise<void>; waiting: number; bytes: number }>()
  return {
    pass(line, sender, frame, next) {
      const state = lines.get(line) ?? { turn: Promise.resolve(), waiting: 0, bytes: 0 }
      lines.set(line, state)
      if (state.waiting >= WAITING_MAX || state.bytes >= WAITING_BYTES_MAX) return false
      state.waiting += 1
      state.bytes += frame.body.length
      state.turn = state.turn.then(async () => {
        const envelope = frame.type === FRAME_TYPES.envelope ? envelopeOf(frame.body) : undefined
        if (envelope !== undefined) {
          frame.facts = sendFacts(sender, envelope, frame.body.length)
          const refusal = await hooks.before(frame.facts)
          if (refusal !== undefined) frame.refusal = refusal
        }
        state.waiting -= 1
        state.bytes -= frame.body.length
        next()
      })
      return true
    },
    tell(frames, fault) {
      for (const { facts, error } of frames) {
        const failed = fault ?? error
        if (facts !== undefined) hooks.after(facts, failed === undefined ? ACCEPTED : outcomeOf(failed))
      }
    },
  }
}

/** Undefined for a frame that will be refused in its turn. */
function envelopeOf(body: Buffer): Envelope | undefined {
  try {
    return parseShape(envelopeShape, parseStrictJson(body))
  } catch {
    return undefined
  }
}

/**
 * Carries out the frame. A refusal is recorded, and answered with the id it is about if that was read. In a transaction (durable) it throws
 * a store error, which is the whole group's. Beside the store each frame is refused by itself.
 */
export type FrameAct = (
  caller: AgentCaller,
  frame: HookedFrame,
  durable: boolean,
  onSeen: (after: number) => void,
) => { id: string; error: HubError } | undefined

const FLOOD_RECORD_EVERY_MS = 10_000
const seenShape = z.strictObject({ after: z.int().nonnegative() })

export function createFrameAct(parts: {
  send: Send
  takeQuota: (session: string, agent: string) => void
  clock: Clock
  refuse: (session: string, error: HubError, caller: AgentCaller) => void
  /** Counts one that gets no record of its own. */
  count: (session: string, error: HubError, caller: AgentCaller) => void
}): FrameAct {
  const { send, takeQuota, clock, refuse, count } = parts
  const floods = new WeakMap<AgentCaller, number>()

  /** A flood is recorded once in ten seconds, and the rest of it is counted: a record per refusal would let an agent fill the disk (T65). */
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
      if (type !== FRAME_TYPES.envelope)
        throw new HubError('schema_invalid', `an agent may not send a frame of type ${type}`)
      const envelope = parseShape(envelopeShape, parseStrictJson(body))
      id = envelope.id
      send(caller, envelope, body, refusal)
      return undefined
    } catch (thrown) {
      const error = toHubError(thrown)
      if (durable && (error.code === 'store_unavailable' || error.code === 'audit_unavailable')) throw error
      // The gate has recorded what it refused. A body that never reached it is recorded here.
      if (id === '') (isRecordDue(caller, error) ? refuse : count)(session, error, caller)
      return { id, error }
    }
  }
}
