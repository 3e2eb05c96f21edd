/**
 * Judges one body for a model server (E7, E21, E22, E23): strict JSON, closed lists of fields, one model at its exact place, no reference to what is stored
 * elsewhere. What is sent is what was judged, byte for byte, but for the output cap, `store` and `stream_options.include_usage`.
 */
import { createHash } from 'node:crypto'
import { type JsonNode, numberOf, readJsonTree, textOf } from '../../../base/json-tree.ts'
import type { Upstream } from '../../../protocol/egress/upstreams.ts'
import { countRequestOf } from './count.ts'
import { countOf, plainWord, Refusal, ROOT, type Rule, refusalOf, type Walk } from './fields.ts'
import { type CappedBody, isRefused, type JudgedBody, type JudgedHead, type Refused, refused } from './judged.ts'
import { chat, embeddings } from './shapes/chat.ts'
import { embed, embedBatch, generate, generateCount } from './shapes/generate.ts'
import { messages, messagesCount } from './shapes/messages.ts'
import { responses, responsesCount } from './shapes/responses.ts'

/** Real requests of a coding agent at 150 000 tokens have fewer than 10 000 values. */
const LIMITS = { depthMax: 100, valuesMax: 100_000 }
const PREFIXES_MAX = 128
/** Bytes that are hashed in one turn. */
const TURN_BYTES = 512 * 1024
const CHOICES_MAX = 128
const SERVER_USES_MAX = 999

type Tree = JsonNode & { kind: 'object' }
/** What a shape says about where its facts stand. */
interface Layout {
  rule: Rule
  /** The list whose items follow each other as a conversation grows. */
  turns: string
  /** Fields that the model never sees: requests of one conversation may differ in them. */
  unseen: readonly string[]
  cap: { path: readonly string[]; name: string } | undefined
  alwaysStored: boolean
}

const NEUTRAL = ['stream', 'stream_options', 'metadata', 'client_metadata', 'user', 'safety_identifier', 'store']
const SAMPLING = [
  'cache_control',
  'temperature',
  'top_p',
  'top_k',
  'stop',
  'stop_sequences',
  'service_tier',
  'prompt_cache_key',
  'include',
]
const CAPS = ['max_tokens', 'max_completion_tokens', 'max_output_tokens']
const UNSEEN = [...NEUTRAL, ...SAMPLING, ...CAPS]

function layoutOf(upstream: Upstream, head: JudgedHead): Layout | Refused {
  const plain = { turns: 'messages', unseen: UNSEEN, cap: undefined, alwaysStored: false }
  const model = head.model ?? ''
  const cap = (name: string, path: readonly string[] = []) => ({ name, path })
  switch (head.shape) {
    case 'messages':
      return { ...plain, rule: messages, cap: cap('max_tokens') }
    case 'chat':
      return {
        ...plain,
        rule: chat,
        cap: cap(upstream.local ? 'max_tokens' : 'max_completion_tokens'),
        alwaysStored: true,
      }
    case 'responses':
      return { ...plain, rule: responses, turns: 'input', cap: cap('max_output_tokens'), alwaysStored: true }
    case 'generateContent':
      return { ...plain, rule: generate, turns: 'contents', cap: cap('maxOutputTokens', ['generationConfig']) }
    case 'embeddings':
      return { ...plain, rule: embeddings }
    case 'embedContent':
      return { ...plain, rule: head.path.endsWith(':batchEmbedContents') ? embedBatch(model) : embed(model) }
    case 'count':
      if (upstream.kind === 'anthropic') return { ...plain, rule: messagesCount }
      return { ...plain, rule: upstream.kind === 'openai' ? responsesCount : generateCount(model) }
    default:
      return refused('internal', 'this endpoint takes no body')
  }
}

/** Judges a whole body at once, for what is small; `judgeBodyInTurns` is for bodies of any size. */
export function judgeBody(upstream: Upstream, head: JudgedHead, bytes: Buffer): JudgedBody | Refused {
  const turns = judgeBodyInTurns(upstream, head, bytes)
  for (;;) {
    const turn = turns.next()
    if (turn.done) return turn.value
  }
}

/**
 * Judges a body in turns of a few milliseconds: let others run between them. Never throws for what an agent sent. The bytes must not change
 * until `withCap` was called.
 */
export function* judgeBodyInTurns(
  upstream: Upstream,
  head: JudgedHead,
  bytes: Buffer,
): Generator<undefined, JudgedBody | Refused> {
  const layout = layoutOf(upstream, head)
  if (isRefused(layout)) return layout
  try {
    if (bytes.length > upstream.bodyBytesMax)
      throw new Refusal(
        'too_large',
        `the body has more than ${upstream.bodyBytesMax} bytes; the limit is upstreams.${upstream.name}.bodyBytes`,
      )
    const tree = yield* readJsonTree(bytes, LIMITS)
    if (tree.kind !== 'object') throw new Refusal('schema_invalid', 'the body must be a JSON object')
    const walk: Walk = {
      ...{ bytes, upstream: upstream.name, serverTools: upstream.serverTools, serverUses: [], marks: [] },
      ...{ surcharges: new Set(), media: { images: 0, documents: 0, audios: 0, videos: 0 } },
    }
    layout.rule(tree, ROOT, walk)
    yield
    const facts = factsOf(layout, head, tree, walk)
    if (!upstream.free) nameServerUses(tree, walk)
    const prefixes = yield* prefixesOf(layout, facts.model, tree, walk)
    return {
      ...facts,
      inputBytes: bytes.length,
      prefixes,
      media: walk.media,
      surcharges: [...new Set([...head.surcharges, ...walk.surcharges])].sort(),
      withCap: (cap) => capped(layout, tree, bytes, facts, cap),
      toCount: () => countRequestOf(head, tree.fields, bytes),
    }
  } catch (thrown) {
    return refusalOf(thrown)
  }
}

type Facts = Pick<JudgedBody, 'model' | 'askedOutput' | 'thinking' | 'stream' | 'choices'>

/** A field below the root; null counts as not there. */
function fieldOf(tree: JsonNode | undefined, ...path: readonly string[]): JsonNode | undefined {
  let at: JsonNode | undefined = tree
  for (const name of path) at = at?.kind === 'object' ? at.fields.get(name)?.value : undefined
  return at?.kind === 'word' && at.value === null ? undefined : at
}

function factsOf(layout: Layout, head: JudgedHead, tree: Tree, { bytes }: Walk): Facts {
  const count = (...path: string[]) => countOf(bytes, fieldOf(tree, ...path))
  const named = CAPS.filter((name) => fieldOf(tree, name) !== undefined)
  if (named.length > 1) throw new Refusal('schema_invalid', `${named.join(' and ')} are both there; send one of them`)
  const choices = count('n') ?? count('generationConfig', 'candidateCount') ?? 1
  if (choices < 1 || choices > CHOICES_MAX) throw new Refusal('schema_invalid', `n must be from 1 to ${CHOICES_MAX}`)
  const budget =
    fieldOf(tree, 'thinking', 'budget_tokens') ?? fieldOf(tree, 'generationConfig', 'thinkingConfig', 'thinkingBudget')
  const stream = fieldOf(tree, 'stream')
  const capName = named[0] ?? layout.cap?.name ?? ''
  const askedOutput = layout.cap === undefined ? undefined : count(...layout.cap.path, capName)
  // To Messages it means to write a cache alone; elsewhere it may mean no cap, and nothing would be reserved.
  if (askedOutput === 0 && layout.rule !== messages)
    throw new Refusal('schema_invalid', `${capName} must be at least 1`)
  return {
    model: head.model ?? modelOf(bytes, fieldOf(tree, 'model')),
    askedOutput,
    thinking: budget?.kind === 'number' ? Math.max(0, numberOf(bytes, budget)) : undefined,
    stream: head.path.endsWith(':streamGenerateContent') || (stream?.kind === 'word' && stream.value === true),
    choices,
  }
}

/** How often tools of the provider may run in all: each use has a price, so without a bound there is no worst case. */
function nameServerUses(tree: Tree, { bytes, serverUses, surcharges }: Walk): void {
  if (serverUses.length === 0) return
  const together = countOf(bytes, fieldOf(tree, 'max_tool_calls'))
  const each = serverUses.reduce((sum: number, uses) => sum + (uses ?? Number.POSITIVE_INFINITY), 0)
  const uses = Math.min(together ?? Number.POSITIVE_INFINITY, each)
  if (uses > SERVER_USES_MAX)
    throw new Refusal(
      'server_tool_refused',
      `a tool that runs at the provider must say how often it may run, at most ${SERVER_USES_MAX} times: max_uses of the tool (Anthropic), or max_tool_calls of the request (OpenAI)`,
    )
  surcharges.add(`server_tools:${uses}`)
}

/** The model at its one place: missing or odd, it could only be priced by a guess (E7). */
function modelOf(bytes: Buffer, node: JsonNode | undefined): string {
  if (node?.kind !== 'string') throw new Refusal('schema_invalid', '`model` must name a model')
  const model = textOf(bytes, node)
  if (!/^[\w][\w.:@/+-]{0,199}$/.test(model))
    throw new Refusal('schema_invalid', `\`model\` is no name of a model: ${plainWord(model)}`)
  return model
}

/** What a conversation begins with, hashed turn by turn; fields that the model never sees and marks of caches are left out. */
function* prefixesOf(
  layout: Layout,
  model: string,
  tree: Tree,
  { bytes, marks }: Walk,
): Generator<undefined, JudgedBody['prefixes']> {
  const cuts = [...marks].sort((one, other) => one.from - other.from)
  // The same text has another number of tokens with another model.
  const hash = createHash('sha256').update(model)
  let hashed = 0
  function* add(node: JsonNode): Generator<undefined, void> {
    let from = node.from
    for (let at = firstFrom(cuts, from); at < cuts.length; at += 1) {
      const cut = cuts[at]
      if (cut === undefined || cut.from >= node.to) break
      if (cut.from > from) yield* take(from, cut.from)
      from = Math.max(from, cut.to)
    }
    yield* take(from, node.to)
  }
  function* take(from: number, to: number): Generator<undefined, void> {
    for (let at = from; at < to; at += TURN_BYTES) {
      hash.update(bytes.subarray(at, Math.min(at + TURN_BYTES, to)))
      hashed += Math.min(TURN_BYTES, to - at)
      if (hashed < TURN_BYTES) continue
      hashed = 0
      yield
    }
  }
  const seen = [...tree.fields].filter(([name]) => name !== layout.turns && !layout.unseen.includes(name))
  for (const [name, { value }] of seen.sort(([one], [other]) => (one < other ? -1 : 1))) {
    hash.update(`\0${name}\0`)
    yield* add(value)
  }
  const turns = fieldOf(tree, layout.turns)
  const items = turns?.kind === 'array' ? turns.items : turns === undefined ? [] : [turns]
  const found: { hash: string; to: number }[] = []
  for (const [at, item] of items.entries()) {
    hash.update(`\0${at}\0`)
    yield* add(item)
    if (items.length - at <= PREFIXES_MAX) found.push({ hash: hash.copy().digest('base64url'), to: item.to })
    if (at % 1024 === 1023) yield
  }
  const end = items.at(-1)?.to ?? 0
  return found.reverse().map(({ hash: each, to }) => ({ hash: each, restBytes: end - to }))
}

function firstFrom(cuts: readonly { from: number }[], from: number): number {
  let [low, high] = [0, cuts.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((cuts[middle]?.from ?? 0) < from) low = middle + 1
    else high = middle
  }
  return low
}

interface Edit {
  from: number
  to: number
  text: string
}

function capped(
  layout: Layout,
  tree: Tree,
  bytes: Buffer,
  { askedOutput, thinking, stream }: Facts,
  cap: number,
): CappedBody | Refused {
  if (layout.cap === undefined) return { pieces: [bytes], length: bytes.length, clamped: false }
  const clamped = askedOutput === undefined || askedOutput > cap
  const most = clamped ? cap : askedOutput
  if (thinking !== undefined && thinking > 0 && thinking >= most)
    return refused(
      'limit_exceeded',
      `a thinking budget of ${thinking} tokens is above the output cap of ${most}; ask for less, or raise maxOutput of this upstream`,
    )
  const edits: Edit[] = []
  if (clamped) {
    const asked = CAPS.find((name) => fieldOf(tree, name) !== undefined)
    edits.push(setAt(tree, [...layout.cap.path, asked ?? layout.cap.name], String(cap)))
  }
  if (layout.alwaysStored || fieldOf(tree, 'store') !== undefined) edits.push(setAt(tree, ['store'], 'false'))
  if (stream && layout.rule === chat) edits.push(setAt(tree, ['stream_options', 'include_usage'], 'true'))
  const pieces = spliced(bytes, edits)
  return { pieces, length: pieces.reduce((sum, piece) => sum + piece.length, 0), clamped }
}

/** The edit that gives a field a value: its own value replaced, or a field put at the beginning of the innermost object that is there. */
function setAt(tree: Tree, path: readonly string[], text: string): Edit {
  let holder = tree
  for (const [at, name] of path.entries()) {
    const value = holder.fields.get(name)?.value
    const rest = path.slice(at + 1)
    const nested = rest.reduceRight((inner, key) => `{${JSON.stringify(key)}:${inner}}`, text)
    if (value === undefined) {
      const put = `${JSON.stringify(name)}:${nested}${holder.fields.size === 0 ? '' : ','}`
      return { from: holder.from + 1, to: holder.from + 1, text: put }
    }
    if (value.kind !== 'object' || rest.length === 0) return { from: value.from, to: value.to, text: nested }
    holder = value
  }
  throw new Error('a path of no steps')
}

/** The bytes with these edits, in pieces that share their memory; the edits do not overlap; those at one place stay in their order. */
function spliced(bytes: Buffer, edits: readonly Edit[]): Buffer[] {
  const parts: Buffer[] = []
  let at = 0
  for (const { from, to, text } of [...edits].sort((one, other) => one.from - other.from)) {
    parts.push(bytes.subarray(at, from), Buffer.from(text))
    at = to
  }
  return [...parts, bytes.subarray(at)]
}
