/** The fields of a body in OpenAI's Responses shape. Source: the request types of `openai` 7.59.0, and what Codex 0.171 sends. */
import {
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
  onlyFalse,
  opaque,
  type Rule,
  serverTool,
  storedReference,
  tagged,
  text,
  textOr,
  usableServerTool,
  withoutPointers,
} from '../fields.ts'
import { cacheOptions, cacheRetention, customFormat, part, serviceTier } from './chat.ts'

const contentPart = tagged('type', {
  input_text: part({ text }),
  output_text: part({ text, annotations: listOf(withoutPointers), logprobs: opaque }),
  text: part({ text }),
  refusal: part({ refusal: text }),
  summary_text: part({ text }),
  reasoning_text: part({ text }),
  input_image: counted('images', part({ image_url: inlineUrl, detail: text, file_id: storedReference })),
  input_file: counted(
    'documents',
    part({
      file_data: inlineUrl,
      filename: text,
      detail: text,
      file_id: storedReference,
      file_url: never('egress_denied', 'is a URL that the provider would fetch; send the bytes in file_data'),
    }),
  ),
})
const content = textOr(listOf(contentPart))
/** Who called a tool: the model itself, or a program at the provider. */
const caller = tagged(
  'type',
  { direct: objectOf({ type: text }) },
  { other: () => serverTool('programmatic_tool_calling') },
)
/** What every item has. Its own id is not a reference: with store false nothing is looked up by it. */
const item = (fields: Fields): Rule => objectOf({ type: text, id: text, status: text, ...fields })
const output = { call_id: text, output: content, caller }

const functionFields: Fields = {
  type: text,
  name: text,
  description: text,
  strict: flag,
  parameters: opaque,
  output_schema: opaque,
  defer_loading: flag,
  async: flag,
  allowed_callers: listOf(oneOf('direct')),
}
const functionTool = objectOf(functionFields)
const customTool = objectOf({ ...functionFields, format: customFormat })
const own = tagged('type', { function: functionTool, custom: customTool })
/** A shell or a search that the client runs; at the provider it would be a tool of the provider. */
const atClient = (word: string, key: string, here: string, rule: Rule): Rule =>
  tagged(key, { [here]: rule }, { without: usableServerTool(word), other: () => usableServerTool(word) })
const shell: Rule = (node, place, walk) => {
  const environment = node.kind === 'object' ? node.fields.get('environment')?.value : undefined
  if (environment?.kind !== 'object') return usableServerTool('shell')(node, place, walk)
  const local = objectOf({ type: text, skills: withoutPointers })
  atClient('shell', 'type', 'local', local)(environment, { up: place, step: 'environment' }, walk)
  objectOf({ type: text, environment: opaque, allowed_callers: listOf(oneOf('direct')) })(node, place, walk)
}
const tool = tagged(
  'type',
  {
    function: functionTool,
    custom: customTool,
    namespace: objectOf({ type: text, name: text, description: text, tools: listOf(own) }),
    local_shell: objectOf({ type: text }),
    apply_patch: objectOf({ type: text, allowed_callers: listOf(oneOf('direct')) }),
    computer: objectOf({ type: text }),
    computer_use_preview: objectOf({ type: text, display_height: number, display_width: number, environment: text }),
    shell,
    tool_search: atClient(
      'tool_search',
      'execution',
      'client',
      objectOf({ type: text, execution: text, description: text, parameters: opaque }),
    ),
  },
  { other: (word) => usableServerTool(word) },
)

/** `web_search_call` passes where the tool `web_search` does. */
const serverItem = (word: string): Rule => serverTool(word.replace(/_(?:call|call_output|list_tools)$/, ''))
const messageItem = objectOf({ type: text, id: text, status: text, role: text, content, phase: text })
const screenshot = counted(
  'images',
  objectOf({ type: text, image_url: inlineUrl, file_id: storedReference, detail: text }),
)
const inputItem = tagged(
  'type',
  {
    message: messageItem,
    reasoning: item({ summary: listOf(contentPart), content: listOf(contentPart), encrypted_content: text }),
    compaction: item({ encrypted_content: text }),
    function_call: item({ call_id: text, name: text, namespace: text, arguments: text, async: flag, caller }),
    function_call_output: item({ ...output, name: text, namespace: text }),
    custom_tool_call: item({ call_id: text, name: text, namespace: text, input: text, async: flag, caller }),
    custom_tool_call_output: item(output),
    local_shell_call: item({ call_id: text, action: withoutPointers }),
    local_shell_call_output: item({ call_id: text, output: text }),
    shell_call: item({
      call_id: text,
      action: withoutPointers,
      environment: tagged('type', { local: opaque }),
      caller,
    }),
    shell_call_output: item({ call_id: text, output: withoutPointers, max_output_length: count, caller }),
    apply_patch_call: item({ call_id: text, operation: withoutPointers, caller }),
    apply_patch_call_output: item({ call_id: text, output: text, caller }),
    computer_call: item({ call_id: text, action: opaque, actions: opaque, pending_safety_checks: opaque }),
    computer_call_output: item({ call_id: text, output: screenshot, acknowledged_safety_checks: opaque }),
    tool_search_call: item({ call_id: text, arguments: opaque, execution: oneOf('client') }),
    tool_search_output: item({ call_id: text, execution: oneOf('client'), tools: listOf(tool) }),
    additional_tools: item({ role: text, tools: listOf(tool) }),
    item_reference: storedReference,
    compaction_trigger: never('egress_denied', 'makes the provider write more than the cap; let the client compact'),
  },
  {
    without: tagged(
      'role',
      { user: messageItem, assistant: messageItem, system: messageItem, developer: messageItem },
      { without: storedReference },
    ),
    other: serverItem,
  },
)

const toolChoice = textOr(
  tagged(
    'type',
    {
      function: objectOf({ type: text, name: text }),
      custom: objectOf({ type: text, name: text }),
      apply_patch: objectOf({ type: text }),
      shell: objectOf({ type: text }),
      computer: objectOf({ type: text }),
      allowed_tools: objectOf({ type: text, mode: text, tools: withoutPointers }),
    },
    { other: (word) => serverTool(word) },
  ),
)
const format = tagged('type', {
  text: objectOf({ type: text }),
  json_object: objectOf({ type: text }),
  json_schema: objectOf({ type: text, name: text, description: text, schema: opaque, strict: flag }),
})

const shared: Fields = {
  model: text,
  input: textOr(listOf(inputItem)),
  instructions: text,
  tools: listOf(tool),
  tool_choice: toolChoice,
  parallel_tool_calls: flag,
  reasoning: objectOf({ effort: text, summary: text, generate_summary: text, context: text }),
  text: objectOf({ format, verbosity: text }),
  truncation: oneOf('auto', 'disabled'),
  previous_response_id: storedReference,
  conversation: storedReference,
}

/** POST /v1/responses/input_tokens. */
export const responsesCount: Rule = objectOf(shared)

/** POST /v1/responses. */
export const responses: Rule = objectOf({
  ...shared,
  stream: flag,
  stream_options: objectOf({ include_obfuscation: flag }),
  max_output_tokens: count,
  max_tool_calls: count,
  // Only what comes back with the answer itself.
  include: listOf(
    oneOf('reasoning.encrypted_content', 'message.output_text.logprobs', 'web_search_call.action.sources'),
  ),
  store: flag,
  metadata: opaque,
  client_metadata: opaque,
  user: text,
  safety_identifier: text,
  prompt_cache_key: text,
  prompt_cache_retention: cacheRetention,
  prompt_cache_options: cacheOptions,
  service_tier: serviceTier,
  temperature: number,
  top_p: number,
  top_logprobs: count,
  prompt: storedReference,
  background: onlyFalse('runs on at the provider when nobody waits for it; leave it out'),
  context_management: never('egress_denied', 'makes the provider write more than the cap; let the client compact'),
})
