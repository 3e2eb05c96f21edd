/**
 * Templates in a definition: `{{ params.goal }}`, `{{ steps.edit.value.branch }}`. Pure.
 *
 * P1. A template is a path and nothing else: it cannot call, compare or repeat (S3-51).
 * P2. What is put in is never read again, so a value that holds braces stays as it is.
 * P3. What a template asks for and is not there is an error, but for a step that did not complete: its value is null, and empty within a text.
 * P4. In the words of a command each template is one whole word, never the first, and a value that begins with `-` comes only after `--`.
 */
import { HubError } from '../../base/errors.ts'
import { didYouMean } from '../../base/nearest.ts'
import { isBag } from '../keys.ts'

/** What a template asks for. `text`: as it is written, without braces. */
export type Reference =
  | { of: 'param'; name: string; path: readonly string[]; text: string }
  | { of: 'value' | 'state' | 'error'; step: string; path: readonly string[]; text: string }
  /** In a repair: why the try before it failed. */
  | { of: 'fault'; text: string }

/** What a step left for templates. */
export interface StepScope {
  state: string
  /** Null unless it completed. */
  value: unknown
  /** Null unless it failed. */
  error: string | null
}
export interface Scope {
  params: Readonly<Record<string, unknown>>
  steps: ReadonlyMap<string, StepScope>
  /** Only where a repair is rendered. */
  fault?: string | undefined
}

/** A text in order: what stays, what is put in, and what cannot be read. */
type Part = string | Reference | { wrong: string }

const OPEN = '{{'
const CLOSE = '}}'
const PATH = /^[A-Za-z0-9_-]{1,64}(?:\.[A-Za-z0-9_-]{1,64}){0,15}$/
const ROOTS = ['params', 'steps', 'error']
const OF_STEP = ['value', 'state', 'error']
const INDEX = /^\d{1,6}$/
const RENDERED_BYTES_MAX = 256 * 1024

const isReference = (part: Part): part is Reference => typeof part !== 'string' && 'of' in part

/** In one pass over the text, whatever is in it. */
function partsOf(text: string): Part[] {
  const parts: Part[] = []
  let at = 0
  for (;;) {
    const open = text.indexOf(OPEN, at)
    if (open < 0) break
    if (open > at) parts.push(text.slice(at, open))
    const close = text.indexOf(CLOSE, open + OPEN.length)
    if (close < 0) {
      parts.push({ wrong: `{{ is not closed; write }} after the path` })
      return parts
    }
    parts.push(referenceOf(text.slice(open + OPEN.length, close).trim()))
    at = close + CLOSE.length
  }
  if (at < text.length) parts.push(text.slice(at))
  return parts
}

function referenceOf(text: string): Reference | { wrong: string } {
  const shown = `{{ ${text.length > 80 ? `${text.slice(0, 80)}...` : text} }}`
  if (!PATH.test(text))
    return { wrong: `${shown} is no path: names joined by dots, as params.goal or steps.edit.value.branch` }
  const [root = '', name = '', of = '', ...path] = text.split('.')
  if (root === 'error')
    return name === '' ? { of: 'fault', text } : { wrong: `${shown}: error is a text and has nothing below it` }
  if (root === 'params')
    return name === ''
      ? { wrong: `${shown} names no parameter: params.NAME` }
      : { of: 'param', name, path: of === '' ? [] : [of, ...path], text }
  if (root !== 'steps')
    return { wrong: `${shown} begins with ${root}; a path begins with params or steps${didYouMean(root, ROOTS)}` }
  if (name === '' || of === '') return { wrong: `${shown} names no step and what of it: steps.ID.value` }
  if (of === 'value') return { of, step: name, path, text }
  if (of !== 'state' && of !== 'error')
    return { wrong: `${shown}: a step has value, state and error, and no ${of}${didYouMean(of, OF_STEP)}` }
  return path.length === 0
    ? { of, step: name, path, text }
    : { wrong: `${shown}: ${of} is a text and has nothing below it` }
}

/** A template, or what is wrong with one, with the place of the text it stands in. */
export interface Found {
  path: readonly PropertyKey[]
  reference?: Reference
  wrong?: string
}

/** Every template in a value and in all that it holds, in order. Keys are no place for one. */
export function templatesIn(value: unknown, path: readonly PropertyKey[]): Found[] {
  if (typeof value === 'string')
    return value.includes(OPEN)
      ? partsOf(value).flatMap((part): Found[] => {
          if (typeof part === 'string') return []
          return [isReference(part) ? { path, reference: part } : { path, wrong: part.wrong }]
        })
      : []
  if (Array.isArray(value)) return value.flatMap((item, at) => templatesIn(item, [...path, at]))
  if (!isBag(value)) return []
  return Object.entries(value).flatMap(([key, inner]) => {
    const own = [...path, key]
    const found = templatesIn(inner, own)
    return key.includes(OPEN) ? [{ path: own, wrong: 'a template cannot stand in a key' }, ...found] : found
  })
}

/** What is wrong with the words of a command (P4), each with the number of its word. */
export function wordFaults(words: readonly string[]): { at: number; message: string }[] {
  return words.flatMap((word, at) => {
    if (!word.includes(OPEN)) return []
    const parts = partsOf(word)
    if (parts.length !== 1) return [{ at, message: 'a template must be one whole word of the command' }]
    return at === 0 ? [{ at, message: 'the first word of a command is a program and cannot be a template' }] : []
  })
}

const missing = (text: string, why: string) => new HubError('schema_invalid', `{{ ${text} }}: ${why}`)

/** The value that a template asks for; null for the value of a step that did not complete (P3). */
function valueAt(reference: Reference, scope: Scope): unknown {
  const { text } = reference
  if (reference.of === 'fault') {
    if (scope.fault === undefined) throw missing(text, 'nothing failed before this')
    return scope.fault
  }
  if (reference.of === 'param') {
    if (!Object.hasOwn(scope.params, reference.name)) throw missing(text, 'the run has no such parameter')
    return below(scope.params[reference.name], reference.path, text)
  }
  const step = scope.steps.get(reference.step)
  if (step === undefined) throw missing(text, 'the run has no such step')
  if (reference.of === 'state') return step.state
  if (reference.of === 'error') return step.error
  return step.state === 'completed' ? below(step.value, reference.path, text) : null
}

function below(whole: unknown, path: readonly string[], text: string): unknown {
  let value = whole
  for (const key of path) {
    const holds = Array.isArray(value)
      ? INDEX.test(key) && Object.hasOwn(value, key)
      : isBag(value) && Object.hasOwn(value, key)
    if (!holds) throw missing(text, `there is no ${key}`)
    value = Reflect.get(value as object, key)
  }
  return value
}

const textOf = (value: unknown): string =>
  value === null || value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value)

/** What may still be put in, so that many templates of one large value take no memory before they are refused. */
interface Room {
  bytes: number
}

function renderText(text: string, scope: Scope, room: Room): unknown {
  const take = (value: unknown): string => {
    const put = textOf(value)
    room.bytes -= Buffer.byteLength(put)
    if (room.bytes >= 0) return put
    throw new HubError('too_large', `with its templates put in it is larger than ${RENDERED_BYTES_MAX} bytes`)
  }
  if (!text.includes(OPEN)) return take(text)
  const parts = partsOf(text).map((part) => {
    if (typeof part === 'string') return { put: take(part), value: part }
    if (!isReference(part)) throw new HubError('schema_invalid', part.wrong)
    const value = valueAt(part, scope)
    return { put: take(value), value }
  })
  // A text that is one template is what it stands for: a number stays a number.
  return parts.length === 1 ? parts[0]?.value : parts.map(({ put }) => put).join('')
}

function renderAny(value: unknown, scope: Scope, room: Room): unknown {
  if (typeof value === 'string') return renderText(value, scope, room)
  if (Array.isArray(value)) return value.map((item) => renderAny(item, scope, room))
  if (!isBag(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, renderAny(inner, scope, room)]))
}

/**
 * A value with all of its templates put in. Throws `schema_invalid` that names the template, and `too_large` above 256 KiB.
 */
export function render(value: unknown, scope: Scope): unknown {
  return renderAny(value, scope, { bytes: RENDERED_BYTES_MAX })
}

/**
 * The words of a command with their templates put in (P4). Each stays one word, whatever it holds. Until the runner starts commands, only tests call it. */
export function renderWords(words: readonly string[], scope: Scope): string[] {
  const [fault] = wordFaults(words)
  if (fault !== undefined) throw new HubError('schema_invalid', fault.message)
  const room = { bytes: RENDERED_BYTES_MAX }
  let isAfterDashes = false
  return words.map((word) => {
    if (!word.includes(OPEN)) {
      isAfterDashes ||= word === '--'
      return word
    }
    const value = renderText(word, scope, room)
    if (value === null || value === undefined || typeof value === 'object')
      throw new HubError('schema_invalid', `${word}: a word of a command is a text, a number, true or false`)
    const text = textOf(value)
    if (text.includes('\0')) throw new HubError('schema_invalid', `${word}: the value holds a NUL`)
    if (text.startsWith('-') && !isAfterDashes)
      throw new HubError('schema_invalid', `${word}: the value begins with -; write "--" before it in the command`)
    return text
  })
}
