/**
 * The fields of a body in OpenAI's Chat Completions and Embeddings shapes. Source: the request types of `openai` 7.59.0, and a few sampling fields
 * that servers of one's own take (llama.cpp, vLLM, Ollama).
 */
import {
  costing,
  count,
  counted,
  type Fields,
  flag,
  inlineUrl,
  listOf,
  never,
  number,
  objectOf,
  oneOf,
  opaque,
  priced,
  type Rule,
  storedReference,
  tagged,
  text,
  textOr,
  usableServerTool,
  withoutPointers,
} from '../fields.ts'

/** Where a cache begins; what it costs to write one is named. */
const cacheBreakpoint = costing('cache_write', objectOf({ mode: text, ttl: priced('cache_write_', ['30m'], ['12h']) }))
/** A part of a message whose mark of a cache does not count where two requests of one conversation are compared. */
export const part = (fields: Fields): Rule =>
  objectOf({ type: text, prompt_cache_breakpoint: cacheBreakpoint, ...fields }, { marks: ['prompt_cache_breakpoint'] })

const textPart = part({ text })
const contentPart = tagged('type', {
  text: textPart,
  refusal: part({ refusal: text }),
  image_url: counted('images', part({ image_url: objectOf({ url: inlineUrl, detail: text }) })),
  input_audio: counted('audios', part({ input_audio: objectOf({ data: text, format: text }) })),
  file: counted(
    'documents',
    part({ file: objectOf({ file_data: inlineUrl, filename: text, file_id: storedReference }) }),
  ),
})
const call = objectOf({ name: text, arguments: text })
const toolCall = tagged('type', {
  function: objectOf({ id: text, type: text, function: call, index: count }),
  custom: objectOf({ id: text, type: text, custom: objectOf({ name: text, input: text }) }),
})
const message = objectOf({
  role: oneOf('system', 'developer', 'user', 'assistant', 'tool', 'function'),
  content: textOr(listOf(contentPart)),
  name: text,
  refusal: text,
  tool_calls: listOf(toolCall),
  tool_call_id: text,
  function_call: call,
  audio: storedReference,
  // What came with an answer, and goes back as it came.
  annotations: listOf(withoutPointers),
  reasoning_content: text,
  reasoning: text,
  reasoning_details: opaque,
})

const named = objectOf({ name: text })
const functionFields = objectOf({ name: text, description: text, parameters: opaque, strict: flag })
export const customFormat = tagged('type', {
  text: objectOf({ type: text }),
  grammar: objectOf({ type: text, grammar: opaque, definition: text, syntax: text }),
})
const tool = tagged(
  'type',
  {
    function: objectOf({ type: text, function: functionFields }),
    custom: objectOf({ type: text, custom: objectOf({ name: text, description: text, format: customFormat }) }),
  },
  { other: (word) => usableServerTool(word) },
)
const toolChoice = textOr(
  tagged('type', {
    function: objectOf({ type: text, function: named }),
    custom: objectOf({ type: text, custom: named }),
    allowed_tools: objectOf({ type: text, allowed_tools: objectOf({ mode: text, tools: opaque }) }),
  }),
)

/** Tiers: `default` is what the price card says. What is cheaper is still reserved at that price; what is dearer is named. */
export const serviceTier = priced('tier:', ['auto', 'default', 'flex'], ['priority', 'scale', 'fast'])
export const cacheRetention = priced('cache_retention_', ['in_memory', 'in-memory'], ['24h'])
export const cacheOptions = cacheBreakpoint

/** POST /v1/chat/completions. */
export const chat: Rule = objectOf({
  model: text,
  messages: listOf(message),
  stream: flag,
  stream_options: objectOf({ include_usage: flag, include_obfuscation: flag }),
  max_tokens: count,
  max_completion_tokens: count,
  n: count,
  tools: listOf(tool),
  tool_choice: toolChoice,
  functions: listOf(functionFields),
  function_call: textOr(named),
  parallel_tool_calls: flag,
  response_format: tagged('type', {
    text: objectOf({ type: text }),
    json_object: objectOf({ type: text, schema: opaque }),
    json_schema: objectOf({ type: text, json_schema: opaque }),
  }),
  reasoning_effort: text,
  verbosity: text,
  modalities: listOf(oneOf('text')),
  prediction: costing('prediction', objectOf({ type: oneOf('content'), content: textOr(listOf(textPart)) })),
  service_tier: serviceTier,
  store: flag,
  metadata: opaque,
  user: text,
  safety_identifier: text,
  prompt_cache_key: text,
  prompt_cache_retention: cacheRetention,
  prompt_cache_options: cacheOptions,
  seed: opaque,
  stop: textOr(listOf(text)),
  temperature: number,
  top_p: number,
  top_k: number,
  min_p: number,
  repetition_penalty: number,
  frequency_penalty: number,
  presence_penalty: number,
  logit_bias: opaque,
  logprobs: flag,
  top_logprobs: count,
  web_search_options: usableServerTool('web_search'),
  audio: never('egress_denied', 'asks for sound, which has no price here'),
  models: never('egress_denied', 'names further models; name one model, in `model`'),
})

/** POST /v1/embeddings. */
export const embeddings: Rule = objectOf({
  model: text,
  input: opaque,
  dimensions: count,
  encoding_format: oneOf('float', 'base64'),
  user: text,
})
