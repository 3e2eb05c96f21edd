/**
 * The conversation with an agent of the Agent Client Protocol, version 1: it is made ready, given prompts and told to stop (docs/protocol.md 10).
 *
 * C1. Configuration comes first. A prompt is sent only once the agent has said that it is ready (S4-27).
 * C2. That a prompt was taken and that its turn has ended are two events: a prompt that was not taken left nothing behind.
 * C3. An answer that the protocol does not have is a fault with a code, and never a success (S4-36).
 */
import { shownLine } from '../../../hub/base/shown-text.ts'
import type { ResultFault } from '../../../hub/protocol/result-faults.ts'
import { type Fields, fieldsOf, listOf, short, textOf, type Usage } from '../stream-events.ts'
import { type McpServer, serversFor } from './mcp-servers.ts'
import { usageOf } from './updates.ts'

const PROTOCOL_VERSION = 1
/** A CLI that needs longer for its first words waits for something that will not come. */
export const READY_MS = 120_000

/** The id of a session stands in the result, which has its own limit. */
const ID_CHARS_MAX = 512

/** Why a conversation cannot go on. */
export class AcpFault extends Error {
  readonly code: ResultFault
  constructor(code: ResultFault, message: string) {
    super(message)
    this.code = code
  }
}

/** What the SDK's side of a connection can do. */
export interface Agent {
  request(method: string, params: object): Promise<unknown>
  notify(method: string, params: object): Promise<void>
}

/** How a turn ended, by the agent's own word. */
export interface TurnEnd {
  reason: string
  usage: Usage | undefined
}

export interface Conversation {
  readonly id: string
  /** Name and version, as it says them. */
  readonly agent: string
  /** `taken`: the first sign that it works on the prompt. `ended` rejects with an `AcpFault`. */
  prompt(blocks: readonly object[]): { taken: Promise<void>; ended: Promise<TurnEnd> }
  /** Something of the session came: it works. */
  sign(): void
  /** What it says of its state, which only version 2 has. */
  state?(update: Fields): void
  /** Tells it to stop its turn. It is to answer the prompt all the same. */
  cancel(): void
}

const AUTH_REQUIRED = -32_000
const whyOf = (thrown: unknown): string => {
  const { message, data } = fieldsOf(
    thrown instanceof Error ? { message: thrown.message, data: (thrown as { data?: unknown }).data } : thrown,
  )
  const details = textOf(fieldsOf(data).details)
  return short([textOf(message), details].filter((text) => text !== '').join(': '))
}
export const codeOf = (thrown: unknown): unknown => (thrown as { code?: unknown } | null)?.code

/** Of an agent that is gone the SDK only says that the connection is closed. */
export function faultOf(thrown: unknown, code: ResultFault, what: string): AcpFault {
  if (thrown instanceof AcpFault) return thrown
  // Only version 2 of the SDK judges the shape of an answer.
  if (Array.isArray((thrown as { issues?: unknown } | null)?.issues))
    return new AcpFault(code, `${what}: its answer is not of the protocol`)
  if (typeof codeOf(thrown) !== 'number') return new AcpFault('ended_early', 'the agent ended before it was done')
  return new AcpFault(code, `${what}: ${whyOf(thrown)}`)
}

function within<Value>(work: Promise<Value>, ms: number, what: string): Promise<Value> {
  return new Promise((resolve, reject) => {
    const late = () => reject(new AcpFault('not_ready', `the agent did not answer \`${what}\` within ${ms / 1000} s`))
    const timer = setTimeout(late, ms)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

export interface OpenOptions {
  cwd: string
  readyMs: number
  model?: string | undefined
  system?: string | undefined
  /** The hub's tools, in the ways in which they are served. */
  mcp?: readonly McpServer[]
  warn: (text: string) => void
}

/** Asks before the first prompt: each answer has its time, and one that must come is a fault where it does not. */
export function asking(agent: Agent, readyMs: number) {
  const ask = async (method: string, params: object): Promise<Fields> =>
    fieldsOf(await within(agent.request(method, params), readyMs, method))
  const mustAnswer = async (method: string, params: object): Promise<Fields> => {
    try {
      return await ask(method, params)
    } catch (thrown) {
      throw faultOf(thrown, 'not_ready', `the agent refused \`${method}\``)
    }
  }
  return { ask, mustAnswer }
}

/** No person is there to log in: only a key of the environment can help, and such a method is tried once. */
export async function openWith({
  open,
  login,
  methods,
}: {
  open: () => Promise<Fields>
  login: (method: string) => Promise<unknown>
  methods: readonly string[]
}): Promise<Fields> {
  try {
    return await open().catch(async (thrown) => {
      const method = codeOf(thrown) === AUTH_REQUIRED ? methods.find((each) => /api[-_]?key/i.test(each)) : undefined
      if (method === undefined) throw thrown
      await login(method)
      return await open()
    })
  } catch (thrown) {
    if (codeOf(thrown) === AUTH_REQUIRED)
      throw faultOf(thrown, 'login_needed', `the agent wants a login (${methods.join(', ') || 'it names no way'})`)
    throw faultOf(thrown, 'not_ready', 'the agent refused `session/new`')
  }
}

/** @throws AcpFault for an id that is none, that is too long to be kept, or that cannot be shown as it is */
export function idOf(opened: Fields): string {
  const id = textOf(opened.sessionId)
  if (id.length > ID_CHARS_MAX)
    throw new AcpFault(
      'not_ready',
      `the agent opened a session with an id of ${id.length} characters, and at most ${ID_CHARS_MAX} are taken`,
    )
  if (shownLine(id) !== id)
    throw new AcpFault(
      'not_ready',
      `the agent opened a session with an id that holds what cannot be shown: ${short(shownLine(id))}`,
    )
  if (id === '') throw new AcpFault('not_ready', 'the agent opened a session without an id')
  return id
}

export async function openConversation(
  agent: Agent,
  { cwd, model, system, readyMs, mcp = [], warn }: OpenOptions,
): Promise<Conversation> {
  const { ask, mustAnswer } = asking(agent, readyMs)
  const begun = await mustAnswer('initialize', {
    protocolVersion: PROTOCOL_VERSION,
    // It reads its files by itself, for they are its own. One that asks is answered; but Gemini CLI, once it is offered this, takes an error for
    // a file that is not there yet for a fault, and makes no new file (0.61.0).
    clientCapabilities: { fs: { readTextFile: false, writeTextFile: true }, terminal: true },
    clientInfo: { name: 'hub', title: 'hub', version: '1' },
  })
  if (begun.protocolVersion !== PROTOCOL_VERSION) {
    const theirs = short(JSON.stringify(begun.protocolVersion) ?? 'none')
    throw new AcpFault(
      'version_refused',
      `the agent speaks version ${theirs} of the Agent Client Protocol, and the hub speaks version 1`,
    )
  }
  const { name, version } = fieldsOf(begun.agentInfo)
  const mcpServers = serversFor(fieldsOf(fieldsOf(begun.agentCapabilities).mcpCapabilities), mcp)
  if (mcp.length > 0 && mcpServers.length === 0)
    warn(
      'it takes no tools over HTTP by the protocol: say `mcp: [stdio]` in the card, or name them in its own configuration',
    )
  const opened = await openWith({
    open: () => ask('session/new', { cwd, mcpServers }),
    login: (methodId) => ask('authenticate', { methodId }),
    methods: listOf(begun.authMethods).map(({ id }) => textOf(id)),
  })
  const id = idOf(opened)
  if (model !== undefined) await choose(model)

  /** By its configuration, or as agents did before that was in the protocol. */
  async function choose(wanted: string): Promise<void> {
    const option = listOf(opened.configOptions).find(({ category, id }) => category === 'model' || id === 'model')
    if (option !== undefined) {
      await mustAnswer('session/set_config_option', { sessionId: id, configId: option.id, value: wanted })
      return
    }
    if (Object.keys(fieldsOf(opened.models)).length === 0)
      throw new AcpFault('not_ready', `the agent takes no model by the protocol: name ${wanted} in \`run\` of its card`)
    await mustAnswer('session/set_model', { sessionId: id, modelId: wanted })
  }

  let sign = () => {}
  // The protocol has no place for a system prompt: it stands before the first prompt.
  let before: readonly object[] = system === undefined ? [] : [{ type: 'text', text: system }]
  return {
    id,
    agent: short([textOf(name), textOf(version)].filter((text) => text !== '').join(' ')),
    sign: () => sign(),
    prompt(blocks) {
      let isTaken = false
      const taken = new Promise<void>((resolve) => {
        sign = () => {
          isTaken = true
          resolve()
        }
      })
      const whole = [...before, ...blocks]
      before = []
      const ended = agent.request('session/prompt', { sessionId: id, prompt: whole }).then(
        (answer) => {
          sign()
          const fields = fieldsOf(answer)
          const reason = textOf(fields.stopReason)
          if (reason === '') throw new AcpFault('turn_failed', 'the agent ended its turn without a reason')
          return { reason: short(reason), usage: usageOf(fields) }
        },
        (thrown) => {
          const [code, what] = isTaken
            ? (['turn_failed', 'the turn of the agent failed'] as const)
            : (['prompt_refused', 'the agent did not take its prompt'] as const)
          throw faultOf(thrown, code, what)
        },
      )
      return { taken, ended }
    },
    cancel: () => void agent.notify('session/cancel', { sessionId: id }).catch(() => {}),
  }
}
