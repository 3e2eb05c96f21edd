/** Prompts of the hub in memory: one turn after the other, and what is said of each (fake-hub.ts). */
import { HubError } from '../../base/errors.ts'
import { newUuid, systemRandom } from '../../base/random.ts'
import { STOP_GRACE_MS } from '../../protocol/stop-grace.ts'
import type { StopReason } from '../../protocol/stop-reasons.ts'
import type { HubAgent } from '../agent.ts'
import type { TaskHandler, TaskRun } from './task-run.ts'
import { createTurns, type PromptHandler } from './turns.ts'

/** How a turn ended, and what it said. */
interface FakeTurn {
  text: string
  tools: { name: string; text?: string }[]
  stopReason: StopReason
  error?: string
}

/** What a test says to a session that lives on. */
export interface FakeTurns {
  /** What `hub session say` does: gives a prompt, and answers what became of its turn. Waits until it has ended. */
  prompt(text: string): Promise<FakeTurn>
  /** What `hub session interrupt` does to the turn that goes on. */
  interrupt(): void
  /** What `hub session close` does: no further prompt comes, and the program gives its result. */
  finish(): void
}

/** The hub's side of turns. `agent`: what the agent is given, and what the test says. */
export function createFakeTurns(run: TaskRun, warn: (text: string) => void) {
  const open = new Map<string, { said: Omit<FakeTurn, 'stopReason'>; end: (turn: FakeTurn) => void }>()
  let number = 0
  let handler: PromptHandler | undefined
  const turning = createTurns({
    signal: run.signal,
    warn,
    async post(kind, body) {
      const told = body as { [key: string]: string } & { tool?: { name: string } }
      const { turn = '', text = '', tool, state, stopReason, error } = told
      const { said, end } = open.get(turn) ?? {}
      if (kind === 'frame') {
        if (said !== undefined) said.text += text
        if (tool !== undefined) said?.tools.push({ ...tool })
      } else if (state === 'ended') {
        const how = { stopReason: stopReason as StopReason, ...(error === undefined ? {} : { error }) }
        end?.({ text: '', tools: [], ...said, ...how })
        open.delete(turn)
      }
    },
  })
  const agent: Pick<HubAgent, 'onPrompt' | 'turns'> & FakeTurns = {
    turns: turning.turns,
    onPrompt(given) {
      if (handler !== undefined) throw new TypeError('onPrompt was called twice: a session has one')
      handler = given
    },
    prompt(prompt) {
      number += 1
      const turn = newUuid(systemRandom, Date.now())
      const ended = new Promise<FakeTurn>((end) => open.set(turn, { said: { text: '', tools: [] }, end }))
      turning.hear('turn.prompt', { turn, number, prompt })
      return ended
    },
    interrupt() {
      const [turn] = open.keys()
      turning.hear('turn.cancelled', { turn })
    },
    finish() {
      setImmediate(() => run.stop(new HubError('inbox_closed', 'the session was closed'), STOP_GRACE_MS))
    },
  }
  return { agent, beside: (task: TaskHandler | undefined) => turning.beside(task, handler) }
}
