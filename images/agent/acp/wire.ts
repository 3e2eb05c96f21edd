/**
 * Lines of an agent of the Agent Client Protocol as messages for the SDK, and back (docs/protocol.md 10).
 *
 * W1. Every request is answered: what the SDK cannot take, a line too long to be read, an id that is in use and one request too many too.
 * W2. An answer counts once, and only to a question that was asked (fault F13).
 * W3. What the agent says of its work (`session/update`) does not pass through the SDK: it is read as it comes, before any answer after it, and
 *     an event that nobody knows is no fault.
 */
import type { AnyMessage, Stream } from '@agentclientprotocol/sdk'
import type { Child } from '../child.ts'
import { type Line, lineOf } from '../lines.ts'

/** Of the agent's own requests so many may wait for their answers at once. */
const OPEN_REQUESTS_MAX = 32
/** JSON-RPC's own codes, and one of ours. */
export const RPC = { parse: -32_700, invalid: -32_600, limit: -32_029, missing: -32_002 } as const
const UPDATE = 'session/update'

type Id = string | number | null
type Message = Record<string, unknown>

export interface Wire {
  stream: Stream
  /** A line of the agent, in order. */
  take(line: Line): void
  /** No more comes: what still waits for an answer gets none. */
  end(): void
}

export interface WireOptions {
  child: Pick<Child, 'write' | 'drained'>
  onUpdate: (params: unknown) => void
  /** A line that is no message. */
  onText: (text: string) => void
  warn: (text: string) => void
}

const isId = (value: unknown): value is Id =>
  value === null || typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value))
const keyOf = (id: unknown): string => JSON.stringify(id)
const shown = (id: unknown): string => keyOf(id).slice(0, 80)

/** The id and the kind of a message, by the beginning of its line; undefined where they do not stand there. */
function headOf(head: string): { id: Id; isRequest: boolean } | undefined {
  const text = /"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d+)/.exec(head)?.[1]
  return text === undefined ? undefined : { id: JSON.parse(text) as Id, isRequest: /"method"\s*:/.test(head) }
}

export function createWire({ child, onUpdate, onText, warn }: WireOptions): Wire {
  /** Ids of its requests that wait for our answer, and of ours that wait for its answer. */
  const [open, asked] = [new Set<string>(), new Set<string>()]
  let controller: ReadableStreamDefaultController<AnyMessage> | undefined
  const give = (message: Message) => controller?.enqueue(message as unknown as AnyMessage)
  const refuse = (id: Id, code: number, message: string) => {
    warn(message)
    child.write(lineOf({ jsonrpc: '2.0', id, error: { code, message } }))
  }

  const answered = (message: Message) => {
    const key = keyOf(message.id)
    if (asked.delete(key)) give(message)
    else warn(`it answered ${shown(message.id)}, which waits for no answer`)
  }
  const requested = (message: Message & { id: Id }) => {
    const { id } = message
    const key = keyOf(id)
    if (open.has(key))
      return refuse(id, RPC.invalid, `it asked again by the id ${shown(id)}, whose answer is not given yet`)
    if (open.size >= OPEN_REQUESTS_MAX)
      return refuse(id, RPC.limit, `over ${OPEN_REQUESTS_MAX} of its requests wait for their answers at once`)
    open.add(key)
    give(message)
  }
  const skip = ({ bytes, tooLong }: Line) => {
    const why = `a line of ${tooLong} bytes is too long to be read`
    const head = headOf(bytes.toString())
    if (head === undefined) return warn(`${why}: ${bytes}...`)
    if (head.isRequest) return refuse(head.id, RPC.invalid, why)
    warn(why)
    if (asked.delete(keyOf(head.id)))
      give({ jsonrpc: '2.0', id: head.id, error: { code: RPC.parse, message: `its answer could not be read: ${why}` } })
  }
  const read = (text: string) => {
    let message: unknown
    try {
      message = JSON.parse(text)
    } catch {
      if (text.startsWith('{')) refuse(null, RPC.parse, `a line is no JSON: ${text.slice(0, 200)}`)
      else onText(text)
      return
    }
    if (Array.isArray(message))
      return refuse(null, RPC.invalid, 'a line holds several messages, which the protocol does not have')
    if (typeof message !== 'object' || message === null) return onText(text)
    const { method, id } = message as Message
    if (typeof method !== 'string') return 'id' in message ? answered(message as Message) : onText(text)
    if (!('id' in message)) return method === UPDATE ? onUpdate((message as Message).params) : give(message as Message)
    if ((message as Message).jsonrpc !== '2.0' || !isId(id))
      return refuse(isId(id) ? id : null, RPC.invalid, `the request ${method.slice(0, 80)} is no JSON-RPC 2.0`)
    requested({ ...message, id })
  }

  return {
    stream: {
      readable: new ReadableStream<AnyMessage>({
        start(given) {
          controller = given
        },
        // The SDK takes no more.
        cancel() {
          controller = undefined
        },
      }),
      writable: new WritableStream<AnyMessage>({
        async write(message) {
          const { method, id } = message as unknown as Message
          if (method === undefined) open.delete(keyOf(id))
          else if (id !== undefined) asked.add(keyOf(id))
          await child.drained()
          if (!child.write(lineOf(message))) throw new Error('it reads nothing more')
        },
      }),
    },
    take(line) {
      if (line.tooLong !== undefined) return skip(line)
      const text = line.bytes.toString().trim()
      if (text !== '') read(text)
    },
    end() {
      controller?.close()
      controller = undefined
    },
  }
}
