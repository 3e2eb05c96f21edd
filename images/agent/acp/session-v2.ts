/**
 * The conversation of version 2 of the Agent Client Protocol, which is a draft (docs/protocol.md 10). The rules of session.ts hold here too.
 *
 * D1. That a prompt was taken is the answer to it. That its turn has ended is the state `idle` after work that began once the prompt was sent: a state
 *     that is told again is no other end.
 * D2. Who works by itself is waited for before the next prompt, so that the end of that work is not taken for the end of a turn.
 */
import { fieldsOf, listOf, short, textOf } from '../stream-events.ts'
import { draftServersFor } from './mcp-servers.ts'
import {
  AcpFault,
  type Agent,
  asking,
  type Conversation,
  codeOf,
  faultOf,
  idOf,
  type OpenOptions,
  openWith,
  type TurnEnd,
} from './session.ts'

const PROTOCOL_VERSION = 2
/** JSON-RPC codes of the draft. */
const VERSION_REFUSED = -32_022
const WORKS: ReadonlySet<unknown> = new Set(['running', 'requires_action'])

/** `closed` settles once the agent is gone. @throws AcpFault */
export async function openDraft(
  agent: Agent,
  closed: Promise<unknown>,
  { cwd, model, system, readyMs, mcp = [], warn }: OpenOptions,
): Promise<Conversation> {
  const { ask, mustAnswer } = asking(agent, readyMs)
  const begun = await begin()
  const { name, version } = fieldsOf(begun.info)
  const methods = listOf(begun.authMethods).filter(({ type }) => type === 'agent')
  const takes = fieldsOf(fieldsOf(fieldsOf(begun.capabilities).session).mcp)
  const mcpServers = draftServersFor(takes, mcp)
  if (mcp.length > 0 && mcpServers.length === 0)
    warn(
      `it takes no tools by the protocol in a way that its card names: name the hub's tools in its own configuration`,
    )
  const opened = await openWith({
    open: () => ask('session/new', { cwd, ...(mcpServers.length === 0 ? {} : { mcpServers }) }),
    login: (methodId) => ask('auth/login', { methodId }),
    methods: methods.map(({ methodId }) => textOf(methodId)),
  })
  const id = idOf(opened)
  if (model !== undefined) await choose(model)

  /** The SDK closes the connection where the answer is of another version. */
  async function begin() {
    try {
      return await ask('initialize', {
        protocolVersion: PROTOCOL_VERSION,
        // Files and terminals are no more of the protocol, and no person is there to fill a form or to log in.
        capabilities: {},
        info: { name: 'hub', title: 'hub', version: '1' },
      })
    } catch (thrown) {
      const { data, issues } = fieldsOf(thrown)
      const isOther = fieldsOf(data).receivedProtocolVersion !== undefined || issues !== undefined
      if (codeOf(thrown) === VERSION_REFUSED || isOther)
        throw faultOf(thrown, 'version_refused', 'the agent does not speak version 2 of the Agent Client Protocol')
      throw faultOf(thrown, 'not_ready', 'the agent refused `initialize`')
    }
  }

  async function choose(value: string): Promise<void> {
    const options = listOf(opened.configOptions)
    const option = options.find(({ category, configId }) => category === 'model' || configId === 'model')
    if (option === undefined)
      throw new AcpFault('not_ready', `the agent takes no model by the protocol: name ${value} in \`run\` of its card`)
    const { configId } = option
    await mustAnswer('session/set_config_option', { sessionId: id, configId, type: 'id', value })
  }

  let works = false
  let onState = (_state: ReturnType<typeof fieldsOf>) => {}
  // The protocol has no place for a system prompt in what the draft calls stable: it stands before the first prompt.
  let before: readonly object[] = system === undefined ? [] : [{ type: 'text', text: system }]
  let cancelled = new AbortController()

  const gone = new Promise<never>((_, reject) => {
    const lost = () => reject(new AcpFault('ended_early', 'the agent ended before it was done'))
    closed.then(lost, lost)
  })
  gone.catch(() => {})

  /** Resolves once it works no more. */
  const rest = () =>
    new Promise<void>((resolve) => {
      if (!works) return resolve()
      onState = () => {
        if (!works) resolve()
      }
    })

  /** How the work that begins from now on ends. */
  const work = () =>
    new Promise<TurnEnd>((resolve, reject) => {
      let began = false
      onState = ({ stopReason, error }) => {
        began ||= works
        if (works || !began) return
        onState = () => {}
        const reason = textOf(stopReason)
        if (reason === 'error')
          reject(faultOf({ ...fieldsOf(error), code: 0 }, 'turn_failed', 'the turn of the agent failed'))
        else if (reason === '') reject(new AcpFault('turn_failed', 'the agent ended its turn without a reason'))
        else resolve({ reason: short(reason), usage: undefined })
      }
    })

  async function turn(blocks: readonly object[], take: () => void): Promise<TurnEnd> {
    const { signal } = cancelled
    await Promise.race([rest(), gone])
    if (signal.aborted) return { reason: 'cancelled', usage: undefined }
    const prompt = [...before, ...blocks]
    before = []
    const over = work()
    // It may end before the prompt is answered, or never begin.
    over.catch(() => {})
    try {
      await agent.request('session/prompt', { sessionId: id, prompt })
    } catch (thrown) {
      throw faultOf(thrown, 'prompt_refused', 'the agent did not take its prompt')
    }
    take()
    return await Promise.race([over, gone])
  }

  return {
    id,
    agent: short([textOf(name), textOf(version)].filter((text) => text !== '').join(' ')),
    sign: () => {},
    state(update) {
      if (WORKS.has(update.state)) works = true
      else if (update.state === 'idle') works = false
      else return
      onState(update)
    },
    prompt(blocks) {
      cancelled = new AbortController()
      let take = () => {}
      const taken = new Promise<void>((resolve) => {
        take = resolve
      })
      return { taken, ended: turn(blocks, take) }
    },
    cancel() {
      cancelled.abort()
      void agent.notify('session/cancel', { sessionId: id }).catch(() => {})
    },
  }
}
