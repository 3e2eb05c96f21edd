/**
 * Carries out what a program prints as JSON lines, and answers it (docs/protocol.md 10).
 *
 * 1. One at a time and in order: the next line is read when the hub has accepted the one before. This slows down a fast program.
 * 2. Each line with an id is answered once with `ok` or `error`. `request`, `delegate`, `ask` and `permit` are answered again under the same
 *    id, when their answer comes: with `reply`, or with `error` if none will. A `permit` is always answered with `reply`: yes or no.
 * 3. Where the rules ask a person first, the line is refused with the id of the approval. What became of that follows as a line of its own
 *    under the same id; the program then prints the same line again, or does something else.
 * 4. The first result counts. Nothing a program prints makes this throw.
 * 5. A result that is too long for a line becomes an artifact; one that cannot be read is remembered, so that the task fails with that reason
 *    and not as if there had been none (faults C27, C34).
 */
import { ERRORS, HubError, toHubError } from '../../hub/base/errors.ts'
import { approvalOf } from '../../hub/client/agent/answers.ts'
import type { Delegation, HubAgent, Message, Permit, Turn } from '../../hub/client/agent.ts'
import type { DataClass } from '../../hub/protocol/data-class.ts'
import type { MessageKind } from '../../hub/protocol/envelope.ts'
import type { ResultFault } from '../../hub/protocol/result-faults.ts'
import { STOP_REASONS, stopReasonOf } from '../../hub/protocol/stop-reasons.ts'
import type { Line } from './lines.ts'
import { ID_NEEDED, type Id, readVerb, type Verb, type VerbName } from './verbs.ts'

/** What a program gave as its result. */
export interface Result {
  outcome: 'succeeded' | 'failed'
  value?: unknown
  error?: string
  /** Of a failure that its driver found: what kind it is. */
  code?: ResultFault
}

export interface Conversation {
  take(line: Line): Promise<void>
  /** The line for a message; a request is remembered, so that it can be answered. */
  hear(message: Message): object
  result(): Result | undefined
  /** Why a line that was meant as the result could not be accepted; else undefined. */
  spoiled(): string | undefined
}

export interface ConversationOptions {
  hub: HubAgent
  /** The operations this driver offers. */
  verbs: readonly VerbName[]
  /** Answers the program. `mustArrive` waits until the program has read what came before. */
  say: (answer: object, mustArrive: boolean) => Promise<void>
  /** Hands an event of a topic to the program. */
  hand: (message: Message) => void
  warn: (text: string) => void
  /** Stores a value that no result can hold, and returns its replacement. */
  keepLarge: (value: unknown) => Promise<unknown>
  /** The turn that goes on, if this driver is given prompts. */
  turn?: () => Turn | undefined
  /** Remembers the class of an output. */
  classify: (path: string, dataClass: string) => void
}

/** Whether the line was meant as the result, even if it is broken. */
const meansResult = ({ bytes }: Line): boolean => /"op"\s*:\s*"result"/.test(bytes.toString('latin1'))

const OPEN_REQUESTS_MAX = 1024
const SENT_KINDS: readonly MessageKind[] = ['request', 'event', 'broadcast']

export function createConversation(options: ConversationOptions): Conversation {
  const { hub, verbs, say, hand, warn, keepLarge } = options
  const openRequests = new Map<string, Message>()
  let result: Result | undefined
  let spoiled: string | undefined

  const refuse = (id: Id | undefined, error: HubError) => {
    const { code, message, facts } = error
    const hint = typeof facts.next === 'string' ? `${message} ${facts.next}` : `${message} ${ERRORS[code].next}`
    if (id === undefined) warn(`refused: ${code}: ${message}`)
    const approval = approvalOf(error)
    const said = say(
      { op: 'error', id: id ?? null, code, hint, ...(approval === undefined ? {} : { approval }) },
      id !== undefined,
    )
    if (approval === undefined || id === undefined) return said
    const tell = (answer: object) => say({ op: 'approval', id, ...answer }, true)
    // If the session ends meanwhile, the program is being stopped.
    void said.then(() => hub.answered(approval).then(tell)).catch(() => {})
    return said
  }

  /** Resolves once it is accepted and the program was told so; its answer is passed on when it comes, never before that. */
  async function wait(
    id: Id | undefined,
    begin: (options: { onAccepted: () => void }) => Promise<unknown>,
  ): Promise<void> {
    let isAccepted = false
    const { promise: accepted, resolve, reject } = Promise.withResolvers<void>()
    const onAccepted = () => {
      isAccepted = true
      resolve()
    }
    const told = accepted.then(() => say({ op: 'ok', id }, true))
    begin({ onAccepted })
      .then(
        async (body) => {
          onAccepted()
          await told
          await say({ op: 'reply', id, body }, true)
        },
        async (thrown) => {
          if (!isAccepted) return reject(thrown)
          await told
          await refuse(id, toHubError(thrown))
        },
      )
      .catch(reject)
    await told
  }

  async function carryOut({ op, id, fields }: Verb): Promise<void> {
    // The types of the fields were checked with the line; the hub checks their meaning.
    const { to, type, topic, body, text, timeoutMs, path, dataClass } = fields as {
      [key in 'to' | 'type' | 'topic' | 'text' | 'path']: string
    } & { body?: Record<string, unknown>; timeoutMs?: number; dataClass?: DataClass }
    const carriers: Record<VerbName, () => unknown> = {
      progress: () => hub.progress(fields),
      log: () => hub.log(text, fields.level as 'info' | undefined),
      send() {
        const { kind = 'request' } = fields as { kind?: MessageKind }
        if (!SENT_KINDS.includes(kind)) throw new HubError('schema_invalid', `kind: one of ${SENT_KINDS.join(' ')}`)
        return hub.send(kind, to ?? 'all', type, body, { dataClass })
      },
      request: () => wait(id, (options) => hub.request(to, type, body, { ...options, timeoutMs, dataClass })),
      reply: () => reply(String(fields.correlationId), body, dataClass),
      publish: () => hub.publish(topic, type, body, { dataClass }),
      subscribe: () => hub.subscribe(topic, (_, message) => hand(message)),
      delegate: () => wait(id, (options) => hub.delegate(fields as Delegation, options)),
      ask: () => wait(id, (options) => hub.ask(text, { ...options, timeoutMs })),
      permit: () => wait(id, (more) => hub.permit(fields as unknown as Permit, { ...more, timeoutMs })),
      classify: () => options.classify(path, String(dataClass)),
      turn: () => speak(fields),
      result: () => finish(fields),
    }
    await carriers[op]()
  }

  async function reply(correlationId: string, body?: Record<string, unknown>, dataClass?: DataClass): Promise<void> {
    const message = openRequests.get(correlationId)
    if (message === undefined) throw new HubError('already_resolved', 'no request with that id waits for your reply')
    await hub.reply(message, body, { dataClass })
    openRequests.delete(correlationId)
  }

  async function speak({ text, tool, usage, stopReason, error }: Verb['fields']): Promise<void> {
    const turn = options.turn?.()
    if (turn === undefined) throw new HubError('already_resolved', 'no turn goes on: a prompt begins one')
    const reason = stopReasonOf(stopReason)
    if (stopReason !== undefined && reason === undefined)
      throw new HubError('schema_invalid', `stopReason: one of ${STOP_REASONS.join(' ')}`)
    const call = tool as { name?: unknown; text?: unknown } | undefined
    if (call !== undefined && (typeof call.name !== 'string' || !['string', 'undefined'].includes(typeof call.text)))
      throw new HubError('schema_invalid', 'tool: {name, text}, both texts')
    const used = usage as Record<'input' | 'cached' | 'output', unknown> | undefined
    const figures = used === undefined ? [] : [used.input, used.cached ?? 0, used.output]
    if (!figures.every((each) => Number.isSafeInteger(each) && Number(each) >= 0))
      throw new HubError('schema_invalid', 'usage: {input, cached, output}, whole numbers')
    if (typeof text === 'string') turn.text(text)
    if (call !== undefined) turn.tool(call as { name: string; text?: string })
    if (used !== undefined) turn.usage(used as Parameters<Turn['usage']>[0])
    if (reason !== undefined) await turn.done(reason, error as string | undefined)
  }

  function finish({ outcome = 'succeeded', value, error, stopReason }: Verb['fields']): void {
    if (result !== undefined) throw new HubError('already_resolved', 'a result was given already; the first one counts')
    if (outcome !== 'succeeded' && outcome !== 'failed') {
      throw new HubError('schema_invalid', 'outcome: succeeded or failed')
    }
    if (stopReason !== undefined) {
      const reason = stopReasonOf(stopReason)
      if (reason === undefined) throw new HubError('schema_invalid', `stopReason: one of ${STOP_REASONS.join(' ')}`)
      hub.stopReason(reason)
    }
    result = {
      outcome,
      ...(value === undefined ? {} : { value }),
      ...(error === undefined ? {} : { error: String(error) }),
    }
  }

  function hear(message: Message): object {
    const { number: _, kind: __, messageKind, ...envelope } = message
    if (messageKind === 'request') {
      openRequests.set(message.id, message)
      const [oldest] = openRequests.keys()
      if (openRequests.size > OPEN_REQUESTS_MAX && oldest !== undefined) openRequests.delete(oldest)
    }
    return { op: 'message', ...envelope, kind: messageKind }
  }

  /** The operation of the line; the value of a result that is too long is stored, and the result names it. */
  async function readLine(line: Line): Promise<ReturnType<typeof readVerb>> {
    const large = line.whole === undefined || !meansResult(line) ? undefined : readVerb({ bytes: line.whole })
    if (large === undefined || result !== undefined) return readVerb(line)
    if ('error' in large || large.op !== 'result' || large.fields.value === undefined) return large
    return { ...large, fields: { ...large.fields, value: await keepLarge(large.fields.value) } }
  }

  return {
    async take(line) {
      const read = await readLine(line)
      if ('error' in read) {
        if (meansResult(line)) spoiled ??= read.error.message
        return await refuse(read.id, read.error)
      }
      try {
        if (!verbs.includes(read.op)) {
          throw new HubError('unknown_operation', `this driver offers ${verbs.join(' ')}; json-lines offers the others`)
        }
        await carryOut(read)
      } catch (thrown) {
        const error = toHubError(thrown)
        if (read.op === 'result' && error.code !== 'already_resolved') spoiled ??= error.message
        return await refuse(read.id, error)
      }
      // What is answered later has been told already that it is accepted.
      if (read.id !== undefined && !ID_NEEDED.includes(read.op)) await say({ op: 'ok', id: read.id }, true)
    },
    hear,
    result: () => result,
    spoiled: () => spoiled,
  }
}
