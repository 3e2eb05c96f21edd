/**
 * One image in which real coding CLIs of others run (`scripts/cli` fetches them), with the hub's tools and the driver `acp`, and beside them a small agent
 * of ours that the official SDK of the Agent Client Protocol runs.
 */
import { readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { additionEntries } from '../../scripts/images/additions.ts'
import { type Image, imageOf, layerOf } from '../../scripts/images/archive.ts'
import { assembleImages, commonPrograms } from '../../scripts/images/assembly.ts'
import { createLibraries } from '../../scripts/images/host-files.ts'
import { archOf } from '../../scripts/images/machine.ts'
import { fileData, type TarEntry } from '../../scripts/images/tar.ts'
import { cliProgram } from './cli-images.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const textFile = (path: string, text: string): TarEntry => ({
  ...{ path, kind: 'file', mode: 0o444, data: Buffer.from(text) },
})

/** Where the CLIs and their settings lie in the image. */
export const GEMINI = '/opt/gemini/bundle/gemini.js'
export const CLAUDE = '/opt/claude/claude'
export const SMALL_AGENT = '/opt/small/agent.mjs'
export const SETTINGS = '/opt/settings.json'
export const SETTINGS_WITH_TOOLS = '/opt/settings-with-tools.json'
export const CLAUDE_TOOLS = '/opt/tools.json'

/** As the recipe writes it, in short. `mcpServers`: the words of docs/agents.md. */
const settings = (more: object) =>
  JSON.stringify({
    general: { enableAutoUpdate: false },
    privacy: { usageStatisticsEnabled: false },
    security: { auth: { selectedType: 'gemini-api-key' }, folderTrust: { enabled: false } },
    tools: { sandbox: false, shell: { enableInteractiveShell: false } },
    model: { name: 'gemini-2.5-pro', skipNextSpeakerCheck: true },
    ...more,
  })

/** Of each prompt it does what the prompt names, and says what came of it. */
const AGENT = `
import { Readable, Writable } from 'node:stream'
import { agent, methods, ndJsonStream } from '/app/hub/node_modules/@agentclientprotocol/sdk/dist/v1/stable/acp.js'
const sessionId = 'small-1'
let client
let turns = 0
const ask = (method, params) =>
  client.request(method, { sessionId, ...params }).then((answer) => answer ?? {}, ({ code, message, data }) => ({ code, message, data }))
const OPTIONS = [
  { optionId: 'always', name: 'Always', kind: 'allow_always' },
  { optionId: 'once', name: 'Once', kind: 'allow_once' },
  { optionId: 'no', name: 'No', kind: 'reject_once' },
]
const acts = {
  async files() {
    const path = '/workspace/out/made.md'
    return [
      await ask('fs/write_text_file', { path, content: 'made' }),
      await ask('fs/read_text_file', { path }),
      await ask('fs/read_text_file', { path: '/etc/passwd' }),
      await ask('fs/read_text_file', { path: '/etc/no-such-file' }),
      await ask('fs/write_text_file', { path: '/tmp/home/.bashrc', content: 'x' }),
    ]
  },
  may: async () => (await ask('session/request_permission', {
    toolCall: { toolCallId: 't', title: 'npm test', kind: 'execute', rawInput: { command: 'npm test' } }, options: OPTIONS,
  })).outcome,
}
async function prompted({ prompt: [{ text }] }) {
  turns += 1
  const said = JSON.stringify([turns, await acts[text]()])
  await client.notify('session/update', { sessionId, update: { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text: said } } })
  return { stopReason: 'end_turn' }
}
const app = agent({ name: 'small' })
  .onRequest(methods.agent.initialize, () => ({ protocolVersion: 1, agentInfo: { name: 'small', version: '1' }, agentCapabilities: {} }))
  .onRequest(methods.agent.session.new, () => ({ sessionId }))
  .onRequest(methods.agent.session.prompt, ({ params }) => prompted(params))
;({ client } = app.connect(ndJsonStream(Writable.toWeb(process.stdout), Readable.toWeb(process.stdin))))
`

/** Every file below a folder, at `place`. */
const folderEntries = (folder: string, place: string): TarEntry[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .sort()
    .filter((path) => statSync(join(folder, path)).isFile())
    .map((path) => ({ path: `${place}/${path}`, kind: 'file', mode: 0o444, data: fileData(join(folder, path)) }))

/** Its program, and what that is linked with, as a build brings it. */
function claudeEntries(): TarEntry[] {
  const from = cliProgram('claude-code')
  const libraries = createLibraries()
  libraries.add(from)
  return [{ path: CLAUDE.slice(1), kind: 'file', mode: 0o555, data: fileData(from) }, ...libraries.entries()]
}

/** `real`: with Gemini CLI and Claude Code, 500 MB. */
export function realClisImage(name: string, { real }: { real: boolean }): Image {
  const options = { root, cacheDir: `${root}.cache/images`, folders: ['images/shell'], prefix: 'hub-test/' }
  const shell = assembleImages(options).find(({ reference }) => reference === 'hub-test/shell:latest')
  if (shell === undefined) throw new Error('images/shell made no image')
  const common = commonPrograms(root)
  const added = (['acp', 'mcp'] as const).map((each) => layerOf(each, additionEntries(root, each, common)))
  const server = { command: 'node', args: ['/app/images/agent/mcp.js'] }
  const files = [
    textFile(SMALL_AGENT.slice(1), AGENT),
    textFile(SETTINGS.slice(1), settings({})),
    textFile(SETTINGS_WITH_TOOLS.slice(1), settings({ mcpServers: { hub: { ...server, trust: true } } })),
    textFile(CLAUDE_TOOLS.slice(1), JSON.stringify({ mcpServers: { hub: server } })),
  ]
  const gemini = () => folderEntries(dirname(cliProgram('gemini')), 'opt/gemini/bundle')
  const clis = real ? [layerOf('gemini', gemini()), layerOf('claude-code', claudeEntries())] : []
  return imageOf(name, [...shell.layers, ...added, ...clis, layerOf('files', files)], archOf(), shell.note)
}
