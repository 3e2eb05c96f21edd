/**
 * What an agent of version 2 of the Agent Client Protocol may ask of its client: whether it may use a tool. The draft has no files and no terminals of the
 * client, and a form for a person is not offered: the SDK answers each of them with -32601 (docs/protocol.md 10).
 */
import { client, methods } from '@agentclientprotocol/sdk/experimental/v2'
import { type Fields, fieldsOf, textOf } from '../stream-events.ts'
import { type AnswerParts, createAnswers } from './client.ts'

/** What it asks about, as version 1 tells of a tool. What nobody here knows is shown as it is. */
function toolOf({ title, description, subject }: Fields): Fields {
  const about = fieldsOf(subject)
  if (about.type === 'tool_call') return fieldsOf(about.toolCall)
  const { command, cwd, toolCallId } = about
  if (about.type === 'command')
    return { toolCallId, title: textOf(command), kind: 'execute', rawInput: { command, cwd } }
  return { title, rawInput: { description, subject } }
}

export function createDraftClient(parts: AnswerParts) {
  const { answering, decide } = createAnswers(parts)
  return client({ name: 'hub' }).onRequest(methods.client.session.requestPermission, ({ params, signal }) =>
    answering(params, async () => ({
      outcome: await decide(toolOf(fieldsOf(params)), params.options, signal, params.title),
    })),
  )
}
