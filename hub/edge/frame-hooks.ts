/** Hooks for frames: those of one session pass one after the other, in their order, and no other session waits for them (S0-21). */
import type { HubError } from '../base/errors.ts'
import { parseStrictJson } from '../base/strict-json.ts'
import { type Envelope, envelopeShape } from '../protocol/envelope.ts'
import { FRAME_TYPES } from '../protocol/frame.ts'
import { parseShape } from '../protocol/parse.ts'
import { ACCEPTED, type Hooks, outcomeOf, type SendFacts, sendFacts } from '../work/messages/hooks.ts'

export interface HookedFrame {
  type: number
  body: Buffer
  /** What the hooks were asked about, what they refused, and what became of it. */
  facts?: SendFacts
  refusal?: HubError
  error?: HubError
}

export interface FrameHooks {
  /** Calls `next` when the frame's turn has come. False when too many of this line wait already. */
  pass(line: object, sender: { agent: string; id: string }, frame: HookedFrame, next: () => void): boolean
  /** Tells what became of each; `fault` is what kept the whole group from being committed. */
  tell(frames: readonly HookedFrame[], fault?: unknown): void
}

/** As many as an SDK has unconfirmed. */
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

/** Undefined for what will be refused in its turn. */
function envelopeOf(body: Buffer): Envelope | undefined {
  try {
    return parseShape(envelopeShape, parseStrictJson(body))
  } catch {
    return undefined
  }
}
