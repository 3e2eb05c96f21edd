/**
 * What is said with an agent of the Agent Client Protocol, turn after turn: its task first, then what people say to its session meanwhile.
 *
 * K1. One turn at a time. A note to an agent at work is its next turn.
 * K2. A cancel ends one turn: the agent is told, what it asks meanwhile is answered as cancelled, and one that does not hear it is ended (S4-29).
 * K3. What goes wrong in a turn of a chat ends that turn. Only an agent that is gone ends the session.
 */
import type { HubAgent, Turn, Turns } from '../../../hub/client/agent.ts'
import type { ResultFault } from '../../../hub/protocol/result-faults.ts'
import type { StopReason } from '../../../hub/protocol/stop-reasons.ts'
import type { Seen, Usage } from '../stream-events.ts'
import type { AcpFault, Conversation, TurnEnd } from './session.ts'

/** A stop reason of the protocol as one of ours (S4-20), and what it is to a task. */
interface Meaning {
  reason: StopReason
  fault?: readonly [ResultFault, string]
}

const REASONS: Readonly<Record<string, Meaning>> = {
  end_turn: { reason: 'end_turn' },
  max_tokens: { reason: 'max_tokens', fault: ['turn_limited', 'it came to the most tokens of an answer'] },
  max_turn_requests: { reason: 'tool_use', fault: ['turn_limited', 'it came to the most requests of a turn'] },
  refusal: { reason: 'error', fault: ['turn_refused', 'it refused to go on'] },
  cancelled: { reason: 'cancelled', fault: ['turn_failed', 'it says that it was cancelled'] },
}

export const meaningOf = ({ reason }: TurnEnd): Meaning =>
  (Object.hasOwn(REASONS, reason) ? REASONS[reason] : undefined) ?? {
    reason: 'error',
    fault: ['turn_failed', `it ended for a reason that is not known: ${reason}`],
  }

const sum = (a: Usage | undefined, b: Usage | undefined): Usage | undefined =>
  a === undefined || b === undefined
    ? (a ?? b)
    : { input: a.input + b.input, cached: a.cached + b.cached, output: a.output + b.output }

export interface TalkOptions {
  hub: Pick<HubAgent, 'signal' | 'progress'>
  turns: Turns
  /** The session goes on after each turn, until it is closed. */
  chat: boolean
  observe: (seen: Seen) => void
  /** An agent that was told to stop its turn has so long to do it, in ms; then `giveUp` ends it. */
  cancelMs: number
  giveUp: () => void
}

export interface Talk {
  /** The whole talk. Answers how the turn of the task ended; undefined where there was none. @throws AcpFault */
  hold(conversation: Conversation, first: readonly object[] | undefined): Promise<TurnEnd | undefined>
  /** Aborted once the turn that goes on is cancelled or over; undefined where none goes on. */
  current(): AbortSignal | undefined
  /** The turn of a person that goes on. */
  speaking(): Turn | undefined
}

export function createTalk({ hub, turns, chat, observe, cancelMs, giveUp }: TalkOptions): Talk {
  let current: AbortController | undefined
  let speaking: Turn | undefined
  let used: Usage | undefined

  async function turnOf(open: Conversation, blocks: readonly object[], cancelled: AbortSignal): Promise<TurnEnd> {
    const mine = new AbortController()
    current = mine
    let stuck: NodeJS.Timeout | undefined
    const stop = () => {
      mine.abort()
      open.cancel()
      stuck = setTimeout(giveUp, cancelMs)
    }
    const { taken, ended } = open.prompt(blocks)
    if (cancelled.aborted) stop()
    else cancelled.addEventListener('abort', stop, { once: true })
    void taken.then(() => hub.progress({ text: 'it took its prompt' }))
    try {
      const end = await ended
      used = sum(used, end.usage)
      const { reason, fault } = meaningOf(end)
      observe({ kind: 'ended', ok: fault === undefined, reason, ...(used === undefined ? {} : { usage: used }) })
      return end
    } finally {
      clearTimeout(stuck)
      cancelled.removeEventListener('abort', stop)
      mine.abort()
      current = undefined
    }
  }

  async function answer(open: Conversation, turn: Turn): Promise<void> {
    speaking = turn
    try {
      const end = await turnOf(open, [{ type: 'text', text: turn.prompt }], turn.signal)
      const { reason, fault } = meaningOf(end)
      if (used !== undefined) turn.usage(used)
      await (turn.signal.aborted ? turn.done('cancelled') : turn.done(reason, fault?.[1]))
    } catch (thrown) {
      const { code, message } = thrown as AcpFault
      await (turn.signal.aborted ? turn.done('cancelled') : turn.done('error', message))
      if (code === 'ended_early') throw thrown
    } finally {
      speaking = undefined
    }
  }

  return {
    async hold(open, first) {
      const work = first === undefined ? Promise.resolve(undefined) : turnOf(open, first, hub.signal)
      let note: Promise<void> | undefined
      const notes = (async () => {
        for await (const turn of turns) {
          note = work.then(() => answer(open, turn))
          await note
          note = undefined
        }
      })()
      // Whoever waits for it hears of it.
      notes.catch(() => {})
      const end = await work
      if (chat) await notes
      // Of a task only what was said while it went on.
      while (note !== undefined) await note
      return end
    },
    current: () => current?.signal,
    speaking: () => speaking,
  }
}
