/** The shape of Google's generateContent; the model stands in the path. */
import type { Counted } from './turn.ts'
import { data, piecesOf, type WireShape } from './wire-shape.ts'

interface Part {
  text?: string
  functionResponse?: { response: unknown }
}
interface Content {
  role?: string
  parts?: Part[]
}

const usageOf = ({ told, odd }: Counted) =>
  told === undefined
    ? undefined
    : {
        promptTokenCount: told.input,
        candidatesTokenCount: told.output,
        totalTokenCount: told.input + told.output + told.reasoning,
        cachedContentTokenCount: told.cacheRead,
        thoughtsTokenCount: told.reasoning,
        promptTokensDetails: [{ modality: 'TEXT', tokenCount: told.input }],
        ...odd,
      }
const stopOf = ({ isCut }: Counted) => (isCut ? 'MAX_TOKENS' : 'STOP')
const answerOf = (counted: Counted, serial: number, parts: unknown[], stop: string | undefined, usage: unknown) => ({
  candidates: [{ content: { role: 'model', parts }, index: 0, ...(stop === undefined ? {} : { finishReason: stop }) }],
  ...{ usageMetadata: usage, modelVersion: counted.model, responseId: `g${serial}` },
})
const callsOf = ({ calls }: Counted) => calls.map(({ name, input }) => ({ functionCall: { name, args: input } }))

export const google: WireShape = {
  read(body) {
    const all = (body.contents ?? []) as Content[]
    const parts = all.at(-1)?.parts ?? []
    const { maxOutputTokens } = (body.generationConfig ?? {}) as { maxOutputTokens?: number }
    const declared = ((body.tools ?? []) as { functionDeclarations?: { name: string }[] }[]).flatMap(
      ({ functionDeclarations = [] }) => functionDeclarations,
    )
    return {
      ...{ model: '', stream: false, cap: maxOutputTokens },
      text: parts.findLast(({ text }) => text !== undefined)?.text ?? '',
      results: parts.flatMap(({ functionResponse }) =>
        functionResponse === undefined ? [] : [JSON.stringify(functionResponse.response)],
      ),
      turn: all.filter(({ role }) => role === 'model').length,
      tools: declared.map(({ name }) => name),
      body,
    }
  },
  whole: (counted, serial) =>
    answerOf(
      counted,
      serial,
      [...(counted.text === '' ? [] : [{ text: counted.text }]), ...callsOf(counted)],
      stopOf(counted),
      usageOf(counted),
    ),
  events: (counted, serial) => [
    ...piecesOf(counted.text).map((text) => data(answerOf(counted, serial, [{ text }], undefined, usageOf(counted)))),
    data(answerOf(counted, serial, callsOf(counted), stopOf(counted), usageOf(counted))),
  ],
  counted: (tokens) => ({ totalTokens: tokens }),
  failure: (status, text) => ({
    error: { code: status, message: text, status: status === 429 ? 'RESOURCE_EXHAUSTED' : 'INTERNAL' },
  }),
}
