/**
 * What an agent of the Agent Client Protocol says of its work, in the form that all coding CLIs are read in (stream-events.ts). An event that is not
 * known, or of an odd shape, gives nothing and passes.
 */
import { countOf, type Fields, fieldsOf, listOf, type Seen, short, textOf, type Usage } from '../stream-events.ts'

/** Of so many calls of tools it is remembered whether they have ended. */
const CALLS_MAX = 4096
/** Of a message so much is remembered, to know its whole again. */
const SPOKEN_MAX = 65_536
const ENDED: ReadonlySet<unknown> = new Set(['completed', 'failed', 'cancelled'])

export interface Updates {
  /** The events of one `session/update`. */
  read(params: unknown): Seen[]
  /** A tool that it asks about: many agents tell of it here first. What it left out here counts as it said it before. */
  asked(toolCall: unknown): { seen: Seen[]; tool: Fields }
}

/** What a tool says of itself, in words. */
export const wordsOf = ({ title, name, kind }: Fields): string =>
  short(textOf(title) || textOf(name) || textOf(kind) || 'a tool')

/** Of a call only its names are remembered, and no more of them than is shown. */
const toldOf = ({ title, name, kind }: Fields): Fields => ({
  title: short(textOf(title)),
  name: short(textOf(name)),
  kind: short(textOf(kind)),
})
/** In an update, `null` and what is left out mean: as before. */
const withoutEmpty = (fields: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined))

/** The first text among what a call has brought. */
const broughtBy = ({ content, rawOutput }: Fields): string => {
  const texts = listOf(content).map((item) => textOf(fieldsOf(item.content).text))
  return short(texts.find((text) => text !== '') ?? textOf(rawOutput))
}

export function createUpdates(): Updates {
  const calls = new Map<string, { hasEnded: boolean; told: Fields }>()
  let [message, spoken] = ['', '']

  function call(fields: Fields): Seen[] {
    const id = short(textOf(fields.toolCallId))
    const known = calls.get(id)
    if (id === '' || (known === undefined && calls.size >= CALLS_MAX)) return []
    const seen: Seen[] = known === undefined ? [{ kind: 'called', id, words: wordsOf(fields) }] : []
    const ends = ENDED.has(fields.status)
    const { title, name, kind } = toldOf({ ...known?.told, ...withoutEmpty(fields) })
    calls.set(id, { hasEnded: known?.hasEnded === true || ends, told: { title, name, kind } })
    if (!ends || known?.hasEnded === true) return seen
    const ok = fields.status === 'completed'
    return [...seen, { kind: 'returned', id, ok, words: broughtBy(fields) || wordsOf({ title, name, kind }) }]
  }
  /** A new id begins a new message. */
  function said({ content, messageId }: Fields): Seen[] {
    const begins = textOf(messageId) !== message
    message = textOf(messageId)
    const text = textOf(fieldsOf(content).text)
    spoken = `${begins ? '' : spoken}${text}`.slice(0, SPOKEN_MAX)
    const piece: Seen[] = text === '' ? [{ kind: 'thought' }] : [{ kind: 'said', text, joins: true }]
    return begins ? [{ kind: 'thought' }, ...piece] : piece
  }
  /** The whole of a message, which only version 2 has: it takes the place of the pieces before it. */
  function whole({ content, messageId }: Fields): Seen[] {
    const text = listOf(content)
      .map((block) => textOf(block.text))
      .join('')
    if (text === '' || (textOf(messageId) === message && text === spoken)) return []
    ;[message, spoken] = [textOf(messageId), text.slice(0, SPOKEN_MAX)]
    return [{ kind: 'thought' }, { kind: 'said', text, joins: true }]
  }
  const readers: Readonly<Record<string, (update: Fields) => Seen[]>> = {
    agent_message_chunk: said,
    agent_message: whole,
    agent_thought: () => [{ kind: 'thought' }],
    agent_thought_chunk: () => [{ kind: 'thought' }],
    plan: () => [{ kind: 'thought' }],
    plan_update: () => [{ kind: 'thought' }],
    tool_call: call,
    tool_call_update: call,
  }
  return {
    read(params) {
      const update = fieldsOf(fieldsOf(params).update)
      const kind = textOf(update.sessionUpdate)
      return Object.hasOwn(readers, kind) ? (readers[kind]?.(update) ?? []) : []
    },
    asked(toolCall) {
      const { status: _, ...fields } = fieldsOf(toolCall)
      const seen = call(fields)
      return { seen, tool: { ...calls.get(short(textOf(fields.toolCallId)))?.told, ...withoutEmpty(fields) } }
    },
  }
}

/** Tokens of one turn. The protocol has no stable place for them yet: `usage` of its draft, and what Gemini CLI tells. */
export function usageOf(answer: Fields): Usage | undefined {
  const { inputTokens, outputTokens, cachedReadTokens } = fieldsOf(answer.usage)
  if (inputTokens !== undefined)
    return { input: countOf(inputTokens), cached: countOf(cachedReadTokens), output: countOf(outputTokens) }
  const { input_tokens, output_tokens } = fieldsOf(fieldsOf(fieldsOf(answer._meta).quota).token_count)
  return input_tokens === undefined
    ? undefined
    : { input: countOf(input_tokens), cached: 0, output: countOf(output_tokens) }
}
