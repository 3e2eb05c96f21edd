/**
 * What coding CLIs print, one JSON event a line, in one form: Codex `exec --json`, Gemini CLI `-o stream-json`, Claude Code
 * `--output-format stream-json --verbose`, opencode `run --format json`. Pure. Real lines of each version: `test/support/frames/`.
 *
 * 1. The form is told by the event itself; a card need not name its CLI. An event that is not known gives nothing and passes.
 * 2. An event is what the CLI says of itself, and its texts may come from its input: they are shown and counted, never acted on.
 */

import { type StopReason, stopReasonOf } from '../../hub/protocol/stop-reasons.ts'

/** Tokens by the CLI's own count, from its start to its end. `input` counts those from the cache too. */
export interface Usage {
  input: number
  cached: number
  output: number
}

export type Seen =
  | { kind: 'conversation'; id: string }
  /** `joins`: a piece that continues the one before. */
  | { kind: 'said'; text: string; joins: boolean }
  /** The model answered, without words. */
  | { kind: 'thought' }
  | { kind: 'called'; id: string; words: string }
  | { kind: 'returned'; id: string; ok: boolean; words: string }
  /** An error or a warning. It is no sign of work: a CLI that cannot reach its model prints them for ever. */
  | { kind: 'trouble'; text: string }
  /** A call of the model that ended with its own count. `last`: the model wants nothing more, so the run has ended unless more comes. */
  | { kind: 'step'; usage: Usage; last?: StopReason }
  | { kind: 'ended'; ok: boolean; reason: StopReason; text?: string; error?: string; usage?: Usage }

export type Fields = Record<string, unknown>

const WORDS_MAX = 300
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
export const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {})
export const listOf = (value: unknown): Fields[] => (Array.isArray(value) ? value.filter(isFields) : [])
export const textOf = (value: unknown): string => (typeof value === 'string' ? value.toWellFormed() : '')
export const countOf = (value: unknown): number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : 0
export const short = (text: string): string =>
  text.length > WORDS_MAX ? `${text.slice(0, WORDS_MAX).toWellFormed()}...` : text.toWellFormed()
const inWords = (name: unknown, input: unknown): string =>
  short(input === undefined ? textOf(name) : `${textOf(name)} ${JSON.stringify(input)}`)
/** An error is a text, or an object with one. */
const whyOf = (value: unknown): string => short(textOf(value) || textOf(fieldsOf(value).message))

/** Gemini CLI calls a command that failed without a word a success, and shows this. Of one that printed something it shows no exit code. */
const SILENT_FAILURE = /^Command exited with code: [1-9]\d*$/

/** Words of Codex that are no tool's. */
const SPOKEN: Readonly<Record<string, (item: Fields) => Seen[]>> = {
  agent_message: ({ text }) => [{ kind: 'said', text: textOf(text), joins: false }],
  reasoning: () => [{ kind: 'thought' }],
  todo_list: () => [{ kind: 'thought' }],
  // Beside errors also warnings, such as one of a model that it does not know.
  error: ({ message }) => [{ kind: 'trouble', text: whyOf(message) }],
}

function itemOf(item: Fields, isDone: boolean): Seen[] {
  const type = textOf(item.type)
  const spoken = Object.hasOwn(SPOKEN, type) ? SPOKEN[type] : undefined
  if (spoken !== undefined) return isDone ? spoken(item) : []
  const id = short(textOf(item.id))
  const words = wordsOf(type, item)
  if (words === undefined) return []
  if (!isDone) return [{ kind: 'called', id, words }]
  const { exit_code: code, status } = item
  const ok = status !== 'failed' && status !== 'declined' && (typeof code !== 'number' || code === 0)
  return [{ kind: 'returned', id, ok, words: whyOf(item.error) || short(textOf(item.aggregated_output)) || words }]
}

/** What a tool of Codex does, in words; undefined for an item that is not known. */
function wordsOf(type: string, item: Fields): string | undefined {
  const words: Readonly<Record<string, () => string>> = {
    command_execution: () => short(textOf(item.command)),
    file_change: () =>
      inWords(
        'file_change',
        listOf(item.changes).map(({ path }) => textOf(path)),
      ),
    mcp_tool_call: () => inWords(`${textOf(item.server)}.${textOf(item.tool)}`, item.arguments),
    web_search: () => inWords('web_search', item.query),
  }
  return Object.hasOwn(words, type) ? words[type]?.() : undefined
}

/** Words of Anthropic's API that are no words of ours. */
const OTHER_REASONS: Readonly<Record<string, StopReason>> = {
  model_context_window_exceeded: 'max_tokens',
  refusal: 'error',
}
/** Codex says of a turn that failed only in its message that the answer or the context was full. */
const FULL = /reason: max_output_tokens|ran out of room in the model's context window/

/**
 * Why the model stopped (S4-20). Claude Code may say it in `stop_reason`. A run that came to its most turns ended before its model was given what
 * it wanted; Claude Code says so by `subtype`, Gemini CLI by the type of its error.
 */
function reasonOf(ok: boolean, { stop_reason, subtype, error }: Fields): StopReason {
  if (subtype === 'error_max_turns' || fieldsOf(error).type === 'FatalTurnLimitedError') return 'tool_use'
  if (!ok) return FULL.test(whyOf(error)) ? 'max_tokens' : 'error'
  const told = textOf(stop_reason)
  return stopReasonOf(told) ?? (Object.hasOwn(OTHER_REASONS, told) ? OTHER_REASONS[told] : undefined) ?? 'end_turn'
}

/** Gemini CLI says `status`. Claude Code says `subtype`, and `is_error` beside it, which counts: a failed call of its model is a "success". */
function endOf(event: Fields): Seen {
  const { status, subtype, is_error, result, error, errors, stats, usage } = event
  const ok = status === undefined ? subtype === 'success' && is_error !== true : status === 'success'
  const text = textOf(result)
  const said = [whyOf(error), short(text), short((Array.isArray(errors) ? errors : []).map(textOf).join('; '))]
  const why = said.find((words) => words !== '') ?? textOf(subtype)
  return {
    kind: 'ended',
    ok,
    reason: reasonOf(ok, event),
    ...(ok ? (text === '' ? {} : { text }) : { error: why }),
    ...usageOf(stats ?? usage),
  }
}

function usageOf(told: unknown): { usage?: Usage } {
  if (!isFields(told)) return {}
  // Claude Code counts what goes into the cache and comes from it beside its input, the others within it.
  const [made, read] = [countOf(told.cache_creation_input_tokens), countOf(told.cache_read_input_tokens)]
  const cached = countOf(told.cached_input_tokens) + countOf(told.cached) + read
  return {
    usage: { input: countOf(told.input_tokens) + made + read, cached, output: countOf(told.output_tokens) },
  }
}

/** A call of opencode is told when it has ended. A command without an exit code was ended by a signal or by its time. */
function partOf({ callID, tool, state }: Fields): Seen[] {
  const { status, input, output, error, metadata } = fieldsOf(state)
  const told = fieldsOf(metadata)
  const id = short(textOf(callID))
  const ok = status === 'completed' && (!('exit' in told) || told.exit === 0)
  const words = whyOf(error) || short(textOf(output))
  return [
    { kind: 'called', id, words: inWords(tool, input) },
    { kind: 'returned', id, ok, words },
  ]
}

/** Why a step of opencode ended, where no step has to follow it. */
const LAST_STEP: Readonly<Record<string, StopReason>> = { stop: 'end_turn', length: 'max_tokens' }

/** opencode counts what goes into the cache and comes from it beside its input, and reasoning beside its output. */
function stepOf({ reason, tokens }: Fields): Seen {
  const { input, output, reasoning, cache } = fieldsOf(tokens)
  const [made, read] = [countOf(fieldsOf(cache).write), countOf(fieldsOf(cache).read)]
  const why = textOf(reason)
  const usage = { input: countOf(input) + made + read, cached: read, output: countOf(output) + countOf(reasoning) }
  return { kind: 'step', usage, ...(Object.hasOwn(LAST_STEP, why) ? { last: LAST_STEP[why] } : {}) }
}

/** By the type of the event. */
const READERS: Readonly<Record<string, (event: Fields) => Seen[]>> = {
  // Codex
  'thread.started': ({ thread_id }) => [{ kind: 'conversation', id: short(textOf(thread_id)) }],
  'item.started': ({ item }) => itemOf(fieldsOf(item), false),
  'item.completed': ({ item }) => itemOf(fieldsOf(item), true),
  'turn.completed': ({ usage }) => [{ kind: 'ended', ok: true, reason: 'end_turn', ...usageOf(usage) }],
  'turn.failed': (event) => [{ kind: 'ended', ok: false, reason: reasonOf(false, event), error: whyOf(event.error) }],
  // Gemini CLI
  init: ({ session_id }) => [{ kind: 'conversation', id: short(textOf(session_id)) }],
  message: ({ role, content, delta }) =>
    role === 'assistant' ? [{ kind: 'said', text: textOf(content), joins: delta === true }] : [],
  tool_use: ({ tool_name, tool_id, parameters, part }) =>
    isFields(part)
      ? partOf(part)
      : [{ kind: 'called', id: short(textOf(tool_id)), words: inWords(tool_name, parameters) }],
  tool_result: ({ tool_id, status, output, error }) => [
    {
      kind: 'returned',
      id: short(textOf(tool_id)),
      ok: status === 'success' && !SILENT_FAILURE.test(textOf(output)),
      words: whyOf(error) || short(textOf(output)),
    },
  ],
  // Claude Code
  system: ({ subtype, session_id, error }) => {
    if (subtype === 'init') return [{ kind: 'conversation', id: short(textOf(session_id)) }]
    return subtype === 'api_retry' ? [{ kind: 'trouble', text: `it calls its model again: ${whyOf(error)}` }] : []
  },
  assistant({ message, error, parent_tool_use_id }) {
    const blocks = listOf(fieldsOf(message).content)
    const text = blocks.map((block) => (block.type === 'text' ? textOf(block.text) : '')).join('')
    if (textOf(error) !== '') return [{ kind: 'trouble', text: short(text) || textOf(error) }]
    const said: Seen[] = text === '' ? [{ kind: 'thought' }] : [{ kind: 'said', text, joins: false }]
    const calls = blocks.flatMap(({ type, id, name, input }): Seen[] =>
      type === 'tool_use' ? [{ kind: 'called', id: short(textOf(id)), words: inWords(name, input) }] : [],
    )
    // What a helper of the CLI says is not its own last word.
    return [...(textOf(parent_tool_use_id) === '' ? said : [{ kind: 'thought' } as const]), ...calls]
  },
  user: ({ message }) =>
    listOf(fieldsOf(message).content).flatMap(({ type, tool_use_id, is_error, content }): Seen[] => {
      if (type !== 'tool_result') return []
      const words =
        textOf(content) ||
        listOf(content)
          .map(({ text }) => textOf(text))
          .join('')
      return [{ kind: 'returned', id: short(textOf(tool_use_id)), ok: is_error !== true, words: short(words) }]
    }),
  // opencode
  step_start: ({ sessionID }) => [{ kind: 'conversation', id: short(textOf(sessionID)) }],
  text: ({ part }) => [{ kind: 'said', text: textOf(fieldsOf(part).text), joins: false }],
  reasoning: () => [{ kind: 'thought' }],
  step_finish: ({ part }) => [stepOf(fieldsOf(part))],
  // More than one of them
  error: ({ message, error, sessionID }) => [
    ...(textOf(sessionID) === '' ? [] : [{ kind: 'conversation' as const, id: short(textOf(sessionID)) }]),
    { kind: 'trouble', text: whyOf(message) || whyOf(fieldsOf(error).data) || short(textOf(fieldsOf(error).name)) },
  ],
  result: (event) => [endOf(event)],
}

/** What one line says; nothing for an event that is not known. */
export function readEvent(value: unknown): Seen[] {
  const event = fieldsOf(value)
  const type = textOf(event.type)
  const read = Object.hasOwn(READERS, type) ? READERS[type] : undefined
  return read === undefined ? [] : read(event)
}
