/** What comes to an agent from the hub in memory: messages, and prompts, one turn after the other, with what is said of each (fake-hub.ts). */
import { HubError } from '../../base/errors.ts'
import { newSessionId, newUuid, systemRandom } from '../../base/random.ts'
import { STOP_GRACE_MS } from '../../protocol/stop-grace.ts'
import type { StopReason } from '../../protocol/stop-reasons.ts'
import type { HubAgent } from '../agent.ts'
import type { Body, Message } from './contract.ts'
import type { MessageHandler } from './inbox.ts'
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
    agreed: (act) => act(),
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

/** Of a delivered message what a test may want to say; the rest is made up. */
export type DeliverOptions = Partial<Pick<Message, 'from' | 'messageKind' | 'topic'>>

/** What comes to an agent from the fake hub: each message to its handler, answered as the SDK's inbox answers (inbox.ts). */
interface FakeInbox {
  onType(type: string, handler: MessageHandler): void
  onTopic(topic: string, handler: MessageHandler): void
  onAny(handler: (message: Message) => void): void
  /** The task begins: messages without a handler are answered from now on. */
  begin(): void
  /** The agent answered a message by itself. */
  replied(message: Message, body: Body): void
  /** The reply to a request; nothing for any other kind. */
  deliver(type: string, body: Body, options: DeliverOptions): Promise<Body | undefined>
}

export function createFakeInbox(): FakeInbox {
  const byType = new Map<string, MessageHandler>()
  const byTopic = new Map<string, MessageHandler>()
  const awaiting = new Map<string, (body: Body) => void>()
  const begun = Promise.withResolvers<void>()
  let anyHandler: ((message: Message) => void) | undefined

  const handlerOf = (type: string, topic: string | undefined) =>
    (topic === undefined ? undefined : byTopic.get(topic)) ?? byType.get(type)

  return {
    onType: (type, handler) => void byType.set(type, handler),
    onTopic: (topic, handler) => void byTopic.set(topic, handler),
    onAny(handler) {
      anyHandler = handler
    },
    begin: () => begun.resolve(),
    replied: (message, body) => awaiting.get(message.id)?.(body),
    async deliver(type, body, { from, messageKind = 'request', topic }) {
      if (handlerOf(type, topic) === undefined) await begun.promise
      const handler = handlerOf(type, topic)
      const message: Message = {
        number: 1,
        kind: 'message',
        id: newUuid(systemRandom, Date.now()),
        from: from ?? { agent: 'another', session: newSessionId(systemRandom) },
        messageKind,
        type,
        ...(topic === undefined ? {} : { topic }),
        sentAtMs: Date.now(),
        body,
      }
      if (handler === undefined && anyHandler !== undefined) {
        const { promise, resolve } = Promise.withResolvers<Body | undefined>()
        if (messageKind === 'request') awaiting.set(message.id, resolve)
        else resolve(undefined)
        anyHandler(message)
        return await promise
      }
      const answer = await answerOf(async () => {
        if (handler === undefined) throw new Error(`no handler for ${type}`)
        return (await handler(body, message)) ?? {}
      })
      return messageKind === 'request' ? answer : undefined
    },
  }
}

/** An object as it is, anything else as `{value}`, a throw as `{error}`; undefined stays what it is: no answer. */
export async function answerOf(answer: () => unknown): Promise<Body | undefined> {
  try {
    const value = await answer()
    if (value === undefined) return undefined
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Body) : { value }
  } catch (thrown) {
    return { error: thrown instanceof Error ? thrown.message : String(thrown) }
  }
}
