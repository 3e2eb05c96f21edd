/** What comes to an agent from the fake hub: each message to its handler, answered as the SDK's inbox answers (inbox.ts). */
import { newSessionId, newUuid, systemRandom } from '../../base/random.ts'
import type { Body, Message } from './contract.ts'
import type { MessageHandler } from './inbox.ts'

/** Of a delivered message what a test may want to say; the rest is made up. */
export type DeliverOptions = Partial<Pick<Message, 'from' | 'messageKind' | 'topic'>>

export interface FakeInbox {
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
