/** What a program may print as JSON lines, and the strict reading of it (docs/protocol.md 10). Pure. */
import { HubError, toHubError } from '../../hub/base/errors.ts'
import { parseStrictJson } from '../../hub/base/strict-json.ts'
import { STOP_REASONS } from '../../hub/protocol/stop-reasons.ts'
import type { Line } from './lines.ts'

type Kind = 'string' | 'number' | 'object' | 'list' | 'any'
type Fields = Readonly<Record<string, Kind | `${Kind}?`>>

/** Every operation with its fields; `?` marks what may be left out. */
export const VERBS = {
  progress: { text: 'string?', done: 'number?', total: 'number?' },
  log: { text: 'string', level: 'string?' },
  send: { kind: 'string?', to: 'string?', type: 'string', body: 'object?', dataClass: 'string?' },
  request: { to: 'string', type: 'string', body: 'object?', timeoutMs: 'number?', dataClass: 'string?' },
  reply: { correlationId: 'string', body: 'object?', dataClass: 'string?' },
  publish: { topic: 'string', type: 'string', body: 'object?', dataClass: 'string?' },
  subscribe: { topic: 'string' },
  delegate: {
    agent: 'string?',
    needs: 'list?',
    params: 'object?',
    inputs: 'any?',
    capabilities: 'list?',
    ttlMs: 'number?',
    priority: 'number?',
    sensitivity: 'string?',
    spec: 'object?',
  },
  ask: { text: 'string', timeoutMs: 'number?' },
  permit: {
    tool: 'string',
    kind: 'string',
    title: 'string?',
    arguments: 'any?',
    tier: 'string?',
    timeoutMs: 'number?',
  },
  classify: { path: 'string', dataClass: 'string' },
  turn: { text: 'string?', tool: 'object?', usage: 'object?', stopReason: 'string?', error: 'string?' },
  result: { outcome: 'string?', value: 'any?', error: 'string?', stopReason: 'string?' },
} as const satisfies Record<string, Fields>

export type VerbName = keyof typeof VERBS
export const VERB_NAMES = Object.keys(VERBS) as VerbName[]
const CLASS_WORDS = 'how far its body may be passed on: `public`, `internal`, `confidential` or `restricted`; else none'
/** What each line asks for: the verb, and its fields. For the reference page; a test holds it complete. */
export const VERB_WORDS: {
  readonly [Name in VerbName]: readonly [does: string, fields: Readonly<Record<string, string>>]
} = {
  progress: ['reports progress', { text: 'in words', done: 'how much', total: 'of how much' }],
  log: ['writes a line of the log of the task', { text: 'the line', level: 'debug, info, warn or error; else info' }],
  send: [
    'sends a message and waits for no answer',
    {
      kind: 'request, event or broadcast; else request',
      to: '`agent:NAME`, `session:ID`, `topic:NAME` or `all`; else `all`',
      type: 'type of the message',
      body: 'its body',
      dataClass: CLASS_WORDS,
    },
  ],
  request: [
    'sends a message whose answer comes later as a line `reply`',
    {
      ...{ to: 'as above', type: 'type of the message', body: 'its body' },
      timeoutMs: 'how long the answer may take',
      dataClass: 'as above',
    },
  ],
  reply: [
    'answers a request',
    { correlationId: 'the `id` of the message that asked', body: 'the answer', dataClass: 'as above' },
  ],
  publish: [
    'sends an event to a topic',
    { topic: 'its name', type: 'type of the event', body: 'its body', dataClass: 'as above' },
  ],
  subscribe: ['subscribes to a topic', { topic: 'its name' }],
  delegate: [
    'gives another agent a task, whose outcome comes later as a line `reply`',
    {
      agent: 'its name; else `needs` chooses',
      needs: 'capabilities it must have',
      params: 'parameters of the task',
      inputs: 'a folder as two artifacts, `{manifest, pack}`',
      capabilities: 'what the child may hold; never more than the parent',
      ttlMs: 'how long it may work',
      priority: '0 to 9; else 5',
      sensitivity: "class of its data; else the parent's, and never lower",
      spec: 'what its model is to be: `model`, `system`, `maxTurns`, `budget` in millionths of a US dollar',
    },
  ],
  ask: [
    'asks the operator, whose answer comes later as a line `reply`',
    { text: 'the question', timeoutMs: 'how long the answer may take' },
  ],
  permit: [
    'asks whether a tool may be used; the answer comes later as a line `reply` with `allowed` and `reason`',
    {
      tool: 'its name',
      kind: 'read, search, think, edit, move, execute, delete, switch_mode, fetch or other',
      title: 'what it is about to do, in a line',
      arguments: 'what the tool is given; a person may be shown it',
      tier: 'read, write, execute, destructive or external; counts only where that is more than the kind implies',
      timeoutMs: 'how long the answer may take; without one in time it is a no',
    },
  ],
  classify: [
    'says how far a file in `out` may be passed on. The file gets this class when it is stored, before the result; of several the strictest counts',
    { path: 'a file or a folder, as below `out`; `.` for all of it', dataClass: 'as above' },
  ],
  turn: [
    'says what comes of the prompt that the program was given last',
    {
      text: 'adds to what the turn says',
      tool: '`{name, text}`: a tool is called',
      usage: '`{input, cached, output}`: tokens so far',
      stopReason: `ends the turn: ${STOP_REASONS.join(', ')}`,
      error: 'what went wrong, with `stopReason: error`',
    },
  ],
  result: [
    'gives the result; the first one counts, and the program is told to end',
    {
      ...{ outcome: 'succeeded or failed; else succeeded', value: 'the result', error: 'why it failed' },
      stopReason: `why its model stopped: ${STOP_REASONS.map((each) => `\`${each}\``).join(', ')}`,
    },
  ],
}

/** Answered once when they are accepted, and again later with a `reply`: only an id ties the two together. */
export const ID_NEEDED: readonly VerbName[] = ['request', 'delegate', 'ask', 'permit']

export type Id = string | number
export interface Verb {
  op: VerbName
  id: Id | undefined
  fields: Readonly<Record<string, unknown>>
}
/** Why a line is not an operation; with its id if that could be read. */
export interface Fault {
  error: HubError
  id: Id | undefined
}

const invalid = (detail: string) => new HubError('schema_invalid', detail)
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isId = (value: unknown): value is Id =>
  Number.isSafeInteger(value) || (typeof value === 'string' && value.length > 0 && value.length <= 64)

function isOf(kind: string, value: unknown): boolean {
  if (kind === 'any') return true
  if (kind === 'list') return Array.isArray(value)
  return kind === 'object' ? isObject(value) : typeof value === kind
}

/** Reads one line. Never throws: a bad line gives a fault with a code and a text. */
export function readVerb(line: Line): Verb | Fault {
  let id: Id | undefined
  try {
    if (line.tooLong !== undefined) throw new HubError('too_large', `a line of ${line.tooLong} bytes; 65536 at most`)
    const value = parseStrictJson(line.bytes)
    if (!isObject(value)) throw invalid('a line is one JSON object with an "op"')
    const { op, id: given, ...fields } = value
    if (isId(given)) id = given
    else if (given !== undefined) throw invalid('id: a whole number, or a text of 1 to 64 characters')
    return { op: checkVerb(op, id, fields), id, fields }
  } catch (thrown) {
    return { error: toHubError(thrown), id }
  }
}

function checkVerb(op: unknown, id: Id | undefined, fields: Record<string, unknown>): VerbName {
  if (typeof op !== 'string' || !Object.hasOwn(VERBS, op)) {
    throw new HubError('unknown_operation', `op is one of ${VERB_NAMES.join(' ')}`)
  }
  const name = op as VerbName
  const known: Fields = VERBS[name]
  for (const key of Object.keys(fields)) {
    if (!Object.hasOwn(known, key)) throw invalid(`${key}: ${name} has no such field`)
  }
  for (const [key, kind] of Object.entries(known)) {
    const value = fields[key]
    if (value === undefined) {
      if (!kind.endsWith('?')) throw invalid(`${key}: ${name} needs it`)
    } else if (!isOf(kind.replace('?', ''), value)) throw invalid(`${key}: a ${kind.replace('?', '')} is expected`)
  }
  if (id === undefined && ID_NEEDED.includes(name))
    throw invalid(`id: ${name} needs one, because its reply comes under it`)
  return name
}
