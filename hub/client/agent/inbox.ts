/**
 * What comes from the hub: one waiting receive, repeats dropped, each message to its handler.
 *
 * 1. `after` passes a delivery only once we hold it; a handler never delays the next receive.
 * 2. A message id of one sender is handled once, across reconnects and hub restarts (the last 4 096 of each sender).
 * 3. A request that is offered again after it was answered gets the same answer again: the first may have died with the hub (T13).
 * 4. After a restored link reading begins at 0 again, because a restarted hub counts from 0 again; rule 2 drops what is offered twice.
 */
import { HubError } from '../../base/errors.ts'
import type { ANSWERED_TYPE, AnsweredBody } from '../../protocol/approval.ts'
import type { BUDGET_LOW_TYPE, BudgetLowBody } from '../../protocol/budget.ts'
import type { Delivery } from '../../protocol/envelope.ts'
import { SILENCE_TYPE, type SilenceBody } from '../../protocol/silence.ts'
import type { Body, Message } from './contract.ts'
import type { PendingReplies } from './pending.ts'
import type { Transport } from './transport.ts'

/** What it returns to a `request` is the reply: an object as it is, anything else as `{value}`. */
export type MessageHandler = (body: Body, message: Message) => unknown

export interface InboxOptions {
  transport: Transport
  pending: PendingReplies
  reply: (message: Message, body: Body) => Promise<unknown>
  /** The hub took a message back for whose answer nobody waits. */
  onReturned: (body: Body) => void
  /** A person decided about an act of this session, or nobody does any more. */
  onAnswered: (body: AnsweredBody) => void
  /** Money of this session, or of the tasks it belongs to, runs low. */
  onBudgetLow: (body: BudgetLowBody) => void
  /** The program says nothing. */
  onSilent: (body: SilenceBody) => void
  /** A prompt, or one that was taken back; false if it is neither. */
  onTurn: (type: string | undefined, body: Body) => boolean
  /** A `cancel` or `finish` delivery. */
  onStop: (kind: 'cancel' | 'finish', body: Body) => void
  /** Reading can never succeed again: the session ended or the deadline passed. */
  onEnd: (thrown: unknown) => void
}

export interface Inbox {
  /** Begins to receive; a second call does nothing. */
  start(): void
  /** Messages without a handler wait until the task begins, so that a handler may be registered late; then they are answered. */
  release(): void
  onType(type: string, handler: MessageHandler): void
  onTopic(topic: string, handler: MessageHandler): void
  onAny(handler: (message: Message) => void): void
  stop(): void
}

/** Their modules load others that no image needs. */
const ANSWERED: typeof ANSWERED_TYPE = 'approval.answered'
const BUDGET_LOW: typeof BUDGET_LOW_TYPE = 'budget.low'
const SEEN_PER_SENDER = 4096
const SENDERS_MAX = 256
const HANDLERS_MAX = 1024
const ANSWERS_KEPT = 1024
const WAIT_MS = 25_000

export function createInbox(options: InboxOptions): Inbox {
  const { transport, pending, reply } = options
  const byType = new Map<string, MessageHandler>()
  const byTopic = new Map<string, MessageHandler>()
  let anyHandler: ((message: Message) => void) | undefined
  const isNew = createSeen()
  const answers = new Map<string, Body>()
  let after = 0
  let state: 'idle' | 'running' | 'stopped' = 'idle'
  let held: Message[] | undefined = []
  let handling = 0

  transport.onRestored(() => {
    after = 0
  })

  async function turn(): Promise<void> {
    while (state === 'running') {
      const deliveries = await transport.receive(() => after, WAIT_MS)
      for (const delivery of deliveries) {
        after = Math.max(after, delivery.number)
        if (state !== 'running') return
        if (isNew(delivery)) take(delivery)
        else if (delivery.messageKind === 'request') answerAgain(delivery as Message)
      }
    }
  }

  function take(delivery: Delivery): void {
    if (delivery.kind === 'reply' || delivery.kind === 'refused') {
      if (!pending.settle(delivery) && delivery.kind === 'refused') options.onReturned(delivery.body)
    } else if (delivery.kind !== 'message') options.onStop(delivery.kind, delivery.body)
    else if (delivery.from !== undefined) void handle(delivery as Message)
    else if (delivery.type === ANSWERED) options.onAnswered(delivery.body as unknown as AnsweredBody)
    else if (delivery.type === SILENCE_TYPE) options.onSilent(delivery.body as unknown as SilenceBody)
    else if (delivery.type === BUDGET_LOW) options.onBudgetLow(delivery.body as unknown as BudgetLowBody)
    else options.onTurn(delivery.type, delivery.body)
  }

  /** If a reply cannot be sent any more, nobody waits for it, or it is asked for again. */
  const say = (message: Message, body: Body) => void reply(message, body).catch(() => {})

  function answerAgain(message: Message): void {
    const body = answers.get(message.id)
    if (body !== undefined) say(message, body)
  }

  function answer(message: Message, body: Body): void {
    answers.set(message.id, body)
    if (answers.size > ANSWERS_KEPT) answers.delete(answers.keys().next().value ?? '')
    say(message, body)
  }

  const handlerOf = ({ topic, type = '' }: Message) =>
    (topic === undefined ? undefined : byTopic.get(topic)) ?? byType.get(type)

  async function handle(message: Message): Promise<void> {
    const handler = handlerOf(message)
    if (handler === undefined && held !== undefined) {
      held.push(message)
      return
    }
    if (handler === undefined && anyHandler !== undefined) {
      anyHandler(message)
      return
    }
    let body: Body
    try {
      if (handler === undefined) throw new Error(`no handler for ${message.type}`)
      if (handling >= HANDLERS_MAX) throw new Error(`over ${HANDLERS_MAX} messages are being handled; try again later`)
      handling += 1
      try {
        body = bodyOf(await handler(message.body, message))
      } finally {
        handling -= 1
      }
    } catch (thrown) {
      body = { error: thrown instanceof Error ? thrown.message : String(thrown) }
    }
    if (message.messageKind === 'request') answer(message, body)
  }

  return {
    start() {
      if (state !== 'idle') return
      state = 'running'
      turn().catch((thrown) => {
        if (state === 'running') options.onEnd(thrown)
      })
    },
    release() {
      const messages = held ?? []
      held = undefined
      for (const message of messages) void handle(message)
    },
    onType: (type, handler) => void byType.set(type, handler),
    onTopic: (topic, handler) => void byTopic.set(topic, handler),
    onAny(handler) {
      anyHandler = handler
    },
    stop() {
      state = 'stopped'
      pending.failAll(new HubError('cancelled', 'this session has ended'))
    },
  }
}

function bodyOf(returned: unknown): Body {
  if (returned === undefined || returned === null) return {}
  return typeof returned === 'object' && !Array.isArray(returned) ? (returned as Body) : { value: returned }
}

/** Answers whether a delivery is seen for the first time; remembers the last ids of each sender, oldest forgotten first. */
function createSeen(): (delivery: Delivery) => boolean {
  const senders = new Map<string, Set<string>>()
  return ({ from, id }) => {
    const sender = from?.session ?? 'hub'
    let seen = senders.get(sender)
    if (seen?.has(id)) return false
    if (seen === undefined) {
      seen = new Set()
      senders.set(sender, seen)
      if (senders.size > SENDERS_MAX) senders.delete(senders.keys().next().value ?? '')
    }
    seen.add(id)
    if (seen.size > SEEN_PER_SENDER) seen.delete(seen.keys().next().value ?? '')
    return true
  }
}
