/**
 * The fields of a body in Gemini's generateContent shape. Only the spelling of its own clients passes (`systemInstruction`): the provider reads
 * `system_instruction` as the same field, and two spellings of one field could be read in two ways (E23). Source: the request types of
 * `@google/genai` 3.3.0, and what Gemini CLI 0.61 sends.
 */
import { textOf } from '../../../../base/json-tree.ts'
import {
  count,
  type Fields,
  flag,
  listOf,
  never,
  number,
  objectOf,
  oneOf,
  opaque,
  priced,
  type Rule,
  serverTool,
  storedReference,
  text,
  usableServerTool,
  withoutPointers,
} from '../fields.ts'
import type { Media } from '../judged.ts'

const mediaOf = (type: string): Media => {
  if (/^image\//i.test(type)) return 'images'
  if (/^audio\//i.test(type)) return 'audios'
  return /^video\//i.test(type) ? 'videos' : 'documents'
}

const inlineFields = objectOf({ mimeType: text, data: text, displayName: text })
const inlineData: Rule = (node, place, walk) => {
  inlineFields(node, place, walk)
  const type = node.kind === 'object' ? node.fields.get('mimeType')?.value : undefined
  walk.media[mediaOf(type?.kind === 'string' ? textOf(walk.bytes, type) : '')] += 1
}

/** What ran at the provider passes where its tool does. */
const ran = serverTool('code_execution')
const part = objectOf({
  text,
  thought: flag,
  thoughtSignature: text,
  inlineData,
  fileData: storedReference,
  functionCall: objectOf({ id: text, name: text, args: opaque, partialArgs: opaque, willContinue: flag }),
  functionResponse: objectOf({
    id: text,
    name: text,
    response: opaque,
    parts: listOf(objectOf({ inlineData, fileData: storedReference })),
    willContinue: flag,
    scheduling: text,
  }),
  executableCode: ran,
  codeExecutionResult: ran,
  toolCall: serverTool('tool_call'),
  toolResponse: serverTool('tool_call'),
  videoMetadata: objectOf({ startOffset: text, endOffset: text, fps: number }),
  mediaResolution: opaque,
  partMetadata: opaque,
})
const content = objectOf({ role: oneOf('user', 'model', 'system', 'function'), parts: listOf(part) })

const tool = objectOf(
  {
    functionDeclarations: listOf(
      objectOf({
        name: text,
        description: text,
        parameters: opaque,
        parametersJsonSchema: opaque,
        response: opaque,
        responseJsonSchema: opaque,
        behavior: text,
      }),
    ),
  },
  // `googleSearch` is listed as google_search, as all types of tools are.
  { other: (name) => usableServerTool(name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)) },
)
const thinkingBudget: Rule = (node, place, walk) => {
  // -1: as much as the model wants, within the cap.
  if (node.kind === 'number' && walk.bytes.toString('latin1', node.from, node.to) === '-1') return
  count(node, place, walk)
}
const generationConfig = objectOf({
  temperature: number,
  topP: number,
  topK: number,
  candidateCount: count,
  maxOutputTokens: count,
  stopSequences: listOf(text),
  presencePenalty: number,
  frequencyPenalty: number,
  seed: number,
  responseMimeType: text,
  responseSchema: opaque,
  responseJsonSchema: opaque,
  responseLogprobs: flag,
  logprobs: count,
  thinkingConfig: objectOf({ includeThoughts: flag, thinkingBudget, thinkingLevel: text }),
  mediaResolution: text,
  responseModalities: listOf(oneOf('TEXT', 'text', 'Text')),
  speechConfig: never('egress_denied', 'asks for sound, which has no price here'),
  imageConfig: never('egress_denied', 'asks for an image, which has no price here'),
  routingConfig: never('egress_denied', 'names another model than the path'),
  modelSelectionConfig: never('egress_denied', 'names another model than the path'),
})

const asked: Fields = {
  contents: listOf(content),
  systemInstruction: content,
  tools: listOf(tool),
  toolConfig: objectOf({
    functionCallingConfig: objectOf({
      mode: text,
      allowedFunctionNames: listOf(text),
      streamFunctionCallArguments: flag,
    }),
    retrievalConfig: withoutPointers,
    includeServerSideToolInvocations: flag,
  }),
  generationConfig,
  safetySettings: listOf(objectOf({ category: text, threshold: text, method: text })),
  serviceTier: priced('tier:', ['standard', 'flex', 'unspecified'], ['priority']),
  labels: opaque,
  store: flag,
  cachedContent: storedReference,
  continuationToken: storedReference,
  model: never('egress_denied', 'stands in the path, and nowhere else'),
}

/** POST .../models/MODEL:generateContent and :streamGenerateContent. */
export const generate: Rule = objectOf(asked)

/** A model within a body is the one of the path, or the body would be priced as another (E7). */
const modelOfPath =
  (model: string): Rule =>
  (node, place, walk) => {
    const word = node.kind === 'string' ? textOf(walk.bytes, node) : ''
    if (word !== `models/${model}` && word !== model)
      never('egress_denied', 'must be the model of the path')(node, place, walk)
  }
const embedFields: Fields = { content, taskType: text, title: text, outputDimensionality: count }

/** POST .../models/MODEL:embedContent. */
export const embed = (model: string): Rule => objectOf({ ...embedFields, model: modelOfPath(model) })

/** POST .../models/MODEL:batchEmbedContents. */
export const embedBatch = (model: string): Rule => objectOf({ requests: listOf(embed(model)) })

/** POST .../models/MODEL:countTokens. */
export const generateCount = (model: string): Rule =>
  objectOf({ ...asked, generateContentRequest: objectOf({ ...asked, model: modelOfPath(model) }) })
