/**
 * The fields of a body in Anthropic's Messages shape. Source: the request types of `@anthropic-ai/sdk` 1.14.0 (plain and beta), and what
 * Claude Code 2.1.332 sends.
 */
import {
  costing,
  count,
  counted,
  type Fields,
  flag,
  listOf,
  never,
  number,
  objectOf,
  oneOf,
  oneTextAlike,
  opaque,
  priced,
  type Rule,
  serverTool,
  storedReference,
  tagged,
  text,
  textOr,
  usableServerTool,
  withoutPointers,
} from '../fields.ts'

/** A cache that is written costs more than plain input; one that lives an hour costs more still. */
const cacheControl: Rule = objectOf({
  type: costing('cache_write_5m', oneOf('ephemeral')),
  ttl: priced('cache_write_', ['5m'], ['1h']),
})
const MARKS = { marks: ['cache_control'] }
/** A block whose mark of a cache does not count where two requests of one conversation are compared. */
const block = (fields: Fields): Rule => objectOf({ type: text, cache_control: cacheControl, ...fields }, MARKS)

const urlSource: Rule = never(
  'egress_denied',
  'is a URL that the provider would fetch; send the bytes inline (type base64)',
)
const imageSource = tagged('type', {
  base64: objectOf({ type: text, media_type: text, data: text }),
  url: urlSource,
  file: storedReference,
})
/** Citations that came with an answer: they say where a text stands, and nothing is fetched for them. */
const citations = listOf(withoutPointers)
const textBlock = block({ text, citations: citations })
const image = counted('images', block({ source: imageSource, transformations: objectOf({ oversized_image: text }) }))
const citationsConfig = objectOf({ enabled: flag })
const document = counted(
  'documents',
  block({
    source: tagged('type', {
      base64: objectOf({ type: text, media_type: text, data: text }),
      text: objectOf({ type: text, media_type: text, data: text }),
      content: objectOf({ type: text, content: textOr(listOf(tagged('type', { text: textBlock, image }))) }),
      url: urlSource,
      file: storedReference,
    }),
    citations: citationsConfig,
    context: text,
    title: text,
  }),
)
const searchResult = block({ content: listOf(textBlock), source: text, title: text, citations: citationsConfig })
const toolReference = block({ tool_name: text })
/** Tabs of a browser that the agent itself drives. */
const browserState = block({ tabs: listOf(withoutPointers), state_changes: listOf(withoutPointers) })

const toolResult = block({
  tool_use_id: text,
  toolset_name: text,
  is_error: flag,
  content: textOr(
    listOf(
      tagged('type', {
        text: textBlock,
        image,
        document,
        search_result: searchResult,
        tool_reference: toolReference,
        browser_state: browserState,
      }),
    ),
  ),
})
/** Who called a tool: the model itself, or a program at the provider. */
const caller = tagged('type', { direct: objectOf({ type: text }) }, { other: (word) => serverTool(word) })

/** Types of tools that run where the client is, with a schema that the provider knows. */
const CLIENT_TOOLS = [
  ...[
    'bash_20241022',
    'bash_20250124',
    'memory_20250818',
    'computer_20241022',
    'computer_20250124',
    'computer_20251124',
  ],
  ...['text_editor_20241022', 'text_editor_20250124', 'text_editor_20250429', 'text_editor_20250728'],
  ...['browser_toolset_20260801', 'computer_toolset_20260801'],
]
const functionTool = objectOf(
  {
    type: text,
    name: text,
    description: text,
    input_schema: opaque,
    input_examples: opaque,
    strict: flag,
    defer_loading: flag,
    eager_input_streaming: flag,
    allowed_callers: listOf(oneOf('direct')),
    cache_control: cacheControl,
  },
  MARKS,
)
const clientTool = objectOf(
  {
    type: text,
    name: text,
    strict: flag,
    defer_loading: flag,
    input_examples: opaque,
    allowed_callers: listOf(oneOf('direct')),
    cache_control: cacheControl,
    configs: withoutPointers,
    max_characters: count,
    display_height_px: count,
    display_width_px: count,
    display_number: count,
    enable_zoom: flag,
  },
  MARKS,
)
const tool = tagged(
  'type',
  { custom: functionTool, ...Object.fromEntries(CLIENT_TOOLS.map((type) => [type, clientTool])) },
  { without: functionTool, other: (word) => usableServerTool(word) },
)

const toolChange = tagged('type', {
  tool_reference: objectOf({ type: text, name: text }),
  tool_definition: objectOf({ type: text, definition: tool }),
})
/** What a tool of the provider left in the conversation passes where that tool does: `web_search_tool_result` with `web_search`. */
const serverBlock = (word: string): Rule => {
  if (word === 'container_upload') return storedReference
  return serverTool(word.replace(/_tool_(?:result|use)$/, ''))
}

const contentBlock = tagged(
  'type',
  {
    text: textBlock,
    image,
    document,
    search_result: searchResult,
    thinking: block({ thinking: text, signature: text }),
    redacted_thinking: block({ data: text }),
    tool_use: block({ id: text, name: text, input: opaque, caller, toolset_name: text }),
    tool_result: toolResult,
    tool_reference: toolReference,
    tool_addition: block({ tool: toolChange }),
    tool_removal: block({ tool: toolChange }),
    server_tool_use: tagged('name', {}, { other: (word) => serverTool(word) }),
  },
  { other: serverBlock },
)

const outputConfig = objectOf({
  effort: text,
  format: objectOf({ type: oneOf('json_schema'), schema: opaque }),
  task_budget: objectOf({ type: text, total: count, remaining: count }),
})
const message = objectOf({
  role: oneOf('user', 'assistant', 'system'),
  content: oneTextAlike(textOr(listOf(contentBlock))),
  clear_at: text,
  output_config: objectOf({ effort: text }),
})
const thinking = tagged('type', {
  enabled: objectOf({ type: text, budget_tokens: count, display: text, block_binding: withoutPointers }),
  adaptive: objectOf({ type: text, display: text, block_binding: withoutPointers }),
  disabled: objectOf({ type: text }),
  between_tools: objectOf({ type: text }),
})
const contextManagement = objectOf({
  edits: listOf(
    tagged('type', {
      clear_thinking_20251015: objectOf({ type: text, keep: opaque }),
      clear_tool_uses_20250919: objectOf({
        type: text,
        clear_at_least: opaque,
        clear_tool_inputs: opaque,
        exclude_tools: opaque,
        keep: opaque,
        trigger: opaque,
      }),
      // The provider writes a summary with the same model: output that the cap does not bound.
      compact_20260112: never('egress_denied', 'makes the provider write more than the cap; let the client compact'),
    }),
  ),
})

const shared: Fields = {
  model: text,
  messages: listOf(message),
  system: textOr(listOf(textBlock)),
  tools: listOf(tool),
  tool_choice: tagged('type', {
    auto: objectOf({ type: text, disable_parallel_tool_use: flag }),
    any: objectOf({ type: text, disable_parallel_tool_use: flag }),
    tool: objectOf({ type: text, name: text, disable_parallel_tool_use: flag }),
    none: objectOf({ type: text }),
  }),
  thinking,
  output_config: outputConfig,
  output_format: objectOf({ type: oneOf('json_schema'), schema: opaque }),
  context_management: contextManagement,
  cache_control: cacheControl,
  container: storedReference,
  thread: storedReference,
  mcp_servers: never('server_tool_refused', 'servers of others (MCP, connectors) never pass'),
  fallbacks: never('egress_denied', 'names further models; name one model, in `model`'),
  fallback_credit_token: never('egress_denied', 'spends a credit of another call'),
  compaction: never('egress_denied', 'makes the provider write more than the cap; let the client compact'),
  billing_policy: never('egress_denied', 'changes who pays'),
  user_profile_id: storedReference,
  workspace_id: storedReference,
  speed: priced('speed:', ['standard'], ['fast']),
}

/** POST /v1/messages/count_tokens. */
export const messagesCount: Rule = objectOf(shared)

/** POST /v1/messages. */
export const messages: Rule = objectOf({
  ...shared,
  max_tokens: count,
  metadata: objectOf({ user_id: text }),
  stop_sequences: listOf(text),
  stream: flag,
  temperature: number,
  top_p: number,
  top_k: number,
  service_tier: oneOf('auto', 'standard_only'),
  inference_geo: priced('geo:', ['global'], ['us']),
  diagnostics: objectOf({ previous_message_id: storedReference }),
})
