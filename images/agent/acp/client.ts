/**
 * What an agent of the Agent Client Protocol may ask of its client: files, terminals, and whether it may use a tool. The SDK checks the shape of each
 * request and answers what nobody here takes with -32601 (docs/protocol.md 10).
 *
 * Sessions that the agent began by itself are answered as ours is: they run in the same box, and their names are its own.
 */
import { client, methods, RequestError } from '@agentclientprotocol/sdk'
import type { HubAgent, Permit } from '../../../hub/client/agent.ts'
import { type Fields, fieldsOf, textOf } from '../stream-events.ts'
import { type Files, Refusal } from './files.ts'
import { chooseOption } from './options.ts'
import type { Terminals } from './terminals.ts'
import { wordsOf } from './updates.ts'

export interface AnswerParts {
  permit: HubAgent['permit']
  /** Tells of a tool that is asked about; answers what is known of it. */
  asked: (toolCall: unknown) => Fields
  /** Of the turn that goes on; undefined where none does. */
  turn: () => AbortSignal | undefined
  /** Something came from a session of this name. */
  from: (session: string) => void
  say: (text: string, level?: 'warn') => void
}

export interface ClientParts extends AnswerParts {
  files: Files
  terminals: Terminals
}

/** What the agent says of a tool, as the rules and a person are shown it. */
function permitOf(tool: Fields): Permit {
  const { rawInput, content, locations, kind, title } = tool
  const given = rawInput ?? {
    ...(content === undefined ? {} : { content }),
    ...(locations === undefined ? {} : { locations }),
  }
  return {
    tool: textOf(tool.name) || wordsOf({ title }),
    kind: textOf(kind) || 'other',
    title: wordsOf(tool),
    arguments: given,
  }
}

/** What both versions answer with. */
export function createAnswers(parts: AnswerParts) {
  const { permit, asked, turn, from, say } = parts
  /** A refusal of ours, in the SDK's own form; any other fault it answers as an internal error. */
  const answering = async <Answer>(
    params: { sessionId: string },
    act: () => Answer | Promise<Answer>,
  ): Promise<Answer> => {
    from(params.sessionId)
    try {
      return await act()
    } catch (thrown) {
      if (thrown instanceof Refusal) throw new RequestError(thrown.code, thrown.message, thrown.data)
      throw new RequestError(-32_603, (thrown as Error).message)
    }
  }

  /** One that asks outside of a turn, or whose turn is cancelled meanwhile, gets no yes; its question is taken back. */
  async function decide(toolCall: unknown, options: unknown, given: AbortSignal, title = '') {
    const known = asked(toolCall)
    const tool = textOf(known.title) === '' ? { ...known, ...(title === '' ? {} : { title }) } : known
    const cancelled = turn()
    if (cancelled === undefined)
      say(`it asked whether it may use a tool while it had nothing to do: ${wordsOf(tool)}`, 'warn')
    if (cancelled === undefined || cancelled.aborted) return { outcome: 'cancelled' as const }
    const over = AbortSignal.any([cancelled, given])
    const stopped = new Promise<undefined>((resolve) =>
      over.addEventListener('abort', () => resolve(undefined), { once: true }),
    )
    const answer = await Promise.race([permit(permitOf(tool), { signal: over }), stopped])
    if (answer === undefined || over.aborted) return { outcome: 'cancelled' as const }
    const { remark, ...outcome } = chooseOption(options, answer.allowed)
    if (remark !== undefined) say(`${wordsOf(tool)}: ${remark}`, 'warn')
    else if (!answer.allowed) say(`not allowed: ${wordsOf(tool)}: ${answer.reason}`)
    return outcome
  }
  return { answering, decide }
}

export function createClient(parts: ClientParts) {
  const { files, terminals } = parts
  const { answering, decide } = createAnswers(parts)
  return client({ name: 'hub' })
    .onRequest(methods.client.session.requestPermission, ({ params, signal }) =>
      answering(params, async () => ({ outcome: await decide(params.toolCall, params.options, signal) })),
    )
    .onRequest(methods.client.fs.readTextFile, ({ params }) =>
      answering(params, async () => ({ content: await files.read(params) })),
    )
    .onRequest(methods.client.fs.writeTextFile, ({ params }) =>
      answering(params, async () => {
        await files.write(params)
        return {}
      }),
    )
    .onRequest(methods.client.terminal.create, ({ params }) =>
      answering(params, async () => ({ terminalId: await terminals.create(params) })),
    )
    .onRequest(methods.client.terminal.output, ({ params }) =>
      answering(params, () => terminals.output(params.terminalId)),
    )
    .onRequest(methods.client.terminal.waitForExit, ({ params }) =>
      answering(params, () => terminals.waitForExit(params.terminalId)),
    )
    .onRequest(methods.client.terminal.kill, ({ params }) =>
      answering(params, () => {
        terminals.kill(params.terminalId)
        return {}
      }),
    )
    .onRequest(methods.client.terminal.release, ({ params }) =>
      answering(params, () => {
        terminals.release(params.terminalId)
        return {}
      }),
    )
}

/** The session that something came from. */
export const sessionOf = (params: unknown): string => textOf(fieldsOf(params).sessionId)
