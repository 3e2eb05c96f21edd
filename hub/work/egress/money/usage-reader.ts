/**
 * Reads what a model's answer says of its usage while the answer passes by. Pure, in bounded memory, and it never throws: what it cannot
 * believe is `odd`, what it did not find is `none`, and both settle at the reserve.
 *
 * How the bytes are cut changes nothing: a property test compares every way.
 */
import { messagesShape } from './usage/anthropic.ts'
import { createEventLines } from './usage/event-lines.ts'
import { generateShape } from './usage/google.ts'
import { createJsonScan, type JsonScan } from './usage/json-scan.ts'
import { chatShape, embeddingsShape, responsesShape } from './usage/openai.ts'
import { Odd, type Shape, type UsageOutcome } from './usage/table.ts'

export type { UsageOutcome } from './usage/table.ts'

/** The metered shapes of requests and answers. */
export type MeteredShape = 'messages' | 'chat' | 'responses' | 'embeddings' | 'generateContent' | 'embedContent'

export interface UsageReader {
  take(chunk: Uint8Array): void
  /** After the last chunk. Whether the transport broke off is not for the reader to say. */
  end(): UsageOutcome
}

const SHAPES: Readonly<Record<MeteredShape, (isStream: boolean) => Shape>> = {
  messages: messagesShape,
  chat: chatShape,
  responses: responsesShape,
  embeddings: embeddingsShape,
  generateContent: generateShape,
  embedContent: (isStream) => generateShape(isStream, true),
}

/** The longest data of an event that may be a word and no JSON. */
const WORD_MAX = 16

/** `contentType`: of the answer. One that is neither JSON nor a stream of events is odd. */
export function createUsageReader(shape: MeteredShape, contentType: string | undefined): UsageReader {
  const kind = contentType?.split(';')[0]?.trim().toLowerCase()
  if (kind === 'text/event-stream') return ofEvents(SHAPES[shape](true))
  if (kind === 'application/json') return ofJson(shape)
  return { take: () => undefined, end: () => ({ kind: 'odd', why: 'it is neither JSON nor a stream of events' }) }
}

/** Runs a step of a shape; what it does not believe is kept, once. */
function createDoubt() {
  let doubt: UsageOutcome | undefined
  const odd = (why: string) => {
    doubt ??= { kind: 'odd', why }
  }
  return {
    odd,
    get: () => doubt,
    step(work: () => void) {
      if (doubt !== undefined) return
      try {
        work()
      } catch (thrown) {
        odd(thrown instanceof Odd ? thrown.message : 'it cannot be read')
      }
    },
    ended(shape: Shape): UsageOutcome {
      let outcome: UsageOutcome = { kind: 'none' }
      this.step(() => {
        outcome = shape.outcome()
      })
      return doubt ?? outcome
    },
  }
}

function ofJson(name: MeteredShape): UsageReader {
  const doubt = createDoubt()
  // A stream of Google that is not asked for as events is one list of its parts.
  const shapes = { whole: SHAPES[name](false), list: SHAPES[name](true) }
  let documents = 0
  let isList: boolean | undefined
  const shape = () => (isList === true && name === 'generateContent' ? shapes.list : shapes.whole)
  const scan = createJsonScan(shapes.whole.paths, (found) => {
    documents += 1
    doubt.step(() => shape().take(found))
  })
  return {
    take(chunk) {
      if (isList === undefined) {
        const first = chunk.find((byte) => byte > 32)
        if (first !== undefined) isList = first === 91
      }
      scan.push(chunk, 0, chunk.length)
    },
    end() {
      const fault = scan.end()
      if (isList === true && name !== 'generateContent') doubt.odd('it is a list')
      // A body that is no JSON to its end broke off; what was found in it is not the whole.
      if (fault === 'it ends in the middle' || (fault === undefined && documents === 0))
        return doubt.get() ?? { kind: 'none' }
      if (fault !== undefined) doubt.odd(fault)
      return doubt.ended(shape())
    },
  }
}

function ofEvents(shape: Shape): UsageReader {
  const doubt = createDoubt()
  let scan: JsonScan | undefined
  let word: number[] | undefined = []
  const begin = (): JsonScan => createJsonScan(shape.paths, (found) => doubt.step(() => shape.take(found)))
  const lines = createEventLines({
    data(bytes, from, to) {
      scan ??= begin()
      scan.push(bytes, from, to)
      if (word === undefined) return
      if (word.length + to - from > WORD_MAX) word = undefined
      else word.push(...bytes.subarray(from, to))
    },
    over() {
      const fault = scan?.end()
      const said = word === undefined ? '' : Buffer.from(word).toString('latin1')
      scan = undefined
      word = []
      if (!shape.takeWord(said) && fault !== undefined) doubt.odd(`an event holds no JSON: ${fault}`)
    },
  })
  return {
    take: (chunk) => lines.push(chunk),
    end: () => doubt.ended(shape),
  }
}
