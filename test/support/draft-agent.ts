/** A scripted agent of the draft of version 2 of the Agent Client Protocol: a program that the SDK's own side of agents runs. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const SDK = pathToFileURL(
  join(import.meta.dirname, '../../node_modules/@agentclientprotocol/sdk/dist/v2/stable/acp.js'),
).href

/**
 * What each program begins with. `prompted(params, tell)` is the script's own; `tell` sends an update of the session, `state` the state of its work.
 * `raw` writes what the SDK would not, and `keep` writes down what it was told.
 */
const PRELUDE = `
import { Readable, Writable } from 'node:stream'
import { existsSync, writeFileSync } from 'node:fs'
import { agent, methods, ndJsonStream, RequestError } from ${JSON.stringify(SDK)}
const S = 's-2', heard = []
let client
const tell = (sessionUpdate, fields) => client.notify('session/update', { sessionId: S, update: { sessionUpdate, ...fields } })
const state = (name, more = {}) => tell('state_update', { state: name, ...more })
const words = (text, messageId = 'm') => tell('agent_message_chunk', { messageId, content: { type: 'text', text } })
const idle = (stopReason = 'end_turn', more = {}) => state('idle', { stopReason, ...more })
const raw = (message) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\\n')
const keep = (more = {}) => writeFileSync(process.env.HEARD, JSON.stringify({ heard, ...more }))
const note = (method, answer) => async ({ params }) => { heard.push({ method, params }); keep(); return await answer(params) }
const ask = (method, params) => client.request(method, params).then((result) => ({ result }), ({ code }) => ({ code }))
const later = (act) => { setImmediate(() => void act()); return { messageId: 'u' } }
let begin = () => ({ protocolVersion: 2, info: { name: 'draft', version: '2' }, capabilities: { session: {} } })
let opened = () => ({ sessionId: S })
let prompted = () => later(async () => { await state('running'); await words('ok'); await idle() })
let cancelled = () => {}
let login = () => ({})
`

const CLOSE = `
const app = agent({ name: 'draft' })
  .onRequest(methods.agent.initialize, note('initialize', (params) => begin(params)))
  .onRequest(methods.agent.auth.login, note('auth/login', (params) => login(params)))
  .onRequest(methods.agent.session.new, note('session/new', (params) => opened(params)))
  .onRequest(methods.agent.session.setConfigOption, note('session/set_config_option', () => ({ configOptions: [] })))
  .onRequest(methods.agent.session.prompt, note('session/prompt', (params) => prompted(params)))
  .onNotification(methods.agent.session.cancel, note('session/cancel', (params) => cancelled(params)))
;({ client } = app.connect(ndJsonStream(Writable.toWeb(process.stdout), Readable.toWeb(process.stdin))))
`

/** The program whose script may set `begin`, `opened`, `prompted`, `cancelled` and `login`. */
export const draftProgram = (script: string): string => `${PRELUDE}${script}${CLOSE}`
