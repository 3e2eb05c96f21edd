/** A home whose agents are real model agents in containers, and whose upstreams are a scripted model server on loopback. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { assembleImages } from '../../../scripts/images/assembly.ts'
import { codexImage } from '../cli-images.ts'
import { openContainerHome } from '../container-home.ts'
import { freePort } from '../free-port.ts'
import { load } from '../spy-image.ts'
import type { ModelServer } from './model-server.ts'
import type { Usage } from './turn.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** In millionths of a dollar for one token, so that a sum by hand needs no rounding. */
export const RATES = { input: 1, output: 2 }
export const LEAD = { name: 'lead', model: 'scripted-lead', upstream: 'anthropic' }
/** The same with one cent for its tree. */
export const POOR = { ...LEAD, name: 'poor' }
export const SECOND = { name: 'second', model: 'scripted-second', upstream: 'anthropic' }
export const THIRD = { name: 'third', model: 'scripted-third', upstream: 'openai' }
/** A shipped price. */
export const CODEX_MODEL = 'gpt-5.3-codex'

export const freshKey = (): string => randomBytes(30).toString('base64url').replaceAll(/[-_]/g, 'Q')

/** What the model server's own count costs by these prices, added up by hand. */
export const pricedByHand = ({ input, output }: Usage): number => input * RATES.input + output * RATES.output

type Assistant = typeof LEAD & { delegate?: string[]; maxOutput?: number }
const assistantCard = ({ name, model, upstream, delegate = [], maxOutput = 1000 }: Assistant) => ({
  ...{ name, description: 'a model agent', image: 'hub-test/assistant' },
  run: ['node', '/app/images/assistant/main.js'],
  env: {
    ...{ ASSISTANT_UPSTREAM: upstream, ASSISTANT_SHAPE: upstream === 'openai' ? 'responses' : 'messages' },
    ...{ ASSISTANT_MODEL: model, ASSISTANT_MAX_OUTPUT: String(maxOutput), ASSISTANT_TURNS: '40' },
  },
  limits: { ttl: '10m', memory: '256MiB' },
  // A child holds nothing that those above it do not.
  may: { egress: [...new Set([upstream, ...(delegate.length > 0 ? ['openai'] : [])])], delegate },
})

/** Codex as its recipe runs it: each word of it was measured (docs/egress.md). */
export const codexCard = (name = 'codex') => ({
  ...{ name, description: 'a coding agent', image: 'hub-test/codex', driver: 'command', shell: true },
  run: [
    ...['codex', 'exec', '--json', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox'],
    ...['-m', CODEX_MODEL, '-c', 'model_provider=hub', '-c'],
    'model_providers.hub={name="hub",base_url="http://127.0.0.1:47080/up/openai/v1",env_key="OPENAI_API_KEY",wire_api="responses",request_max_retries=0,stream_max_retries=0}',
    ...['-c', 'web_search="disabled"', '{param:task}'],
  ],
  limits: { ttl: '20m', memory: '512MiB' },
  may: { egress: ['openai'] },
})

/** The same with the hub's tools, which Codex starts over stdio and calls over HTTP. `image`: one that holds them, or does not. */
const codexWithTools = (name: string, image: string) => {
  const card = codexCard(name)
  const stdio = 'mcp_servers.hub={command="node",args=["/app/images/agent/mcp.js"]}'
  const http = 'mcp_servers.web={url="http://127.0.0.1:47081/mcp",bearer_token_env_var="HUB_MCP_TOKEN"}'
  const run = [...card.run.slice(0, -1), '-c', stdio, '-c', http, ...card.run.slice(-1)]
  return {
    ...card,
    image,
    run,
    mcp: ['stdio', 'http'],
    messages: { sends: { 'x.y': null }, receives: { 'x.y': null } },
    may: { ...card.may, topics: ['news'] },
  }
}

/** The same by its events, and its conversation goes on in the next start. */
const resumingCard = () => {
  const card = codexCard('resuming')
  const [codex = '', exec = '', ...options] = card.run.slice(0, -1)
  return {
    ...{ ...card, driver: 'stream-json', transcripts: true, repeatable: true },
    run: [codex, exec, ...options, '{param:task}{earlier}'],
    resume: [codex, exec, 'resume', '--last', ...options, 'Go on'],
  }
}

export const loadAgents = () =>
  load([
    ...assembleImages({
      ...{ root, cacheDir: `${root}.cache/images`, folders: ['images/assistant'], prefix: 'hub-test/' },
    }),
    codexImage({ mcp: false }),
    codexImage({ mcp: true }),
  ])

/** What a recipe for coding writes (docs/egress.md 4). */
const CODING = {
  call: { tokens: 400_000 },
  attempt: { calls: 2000 },
  tree: { usd: '10 USD' },
  hour: { input: 5_000_000, output: 1_000_000 },
}

/** Lead asks second, which asks third; and Codex, once more for coding and once more without money. `key` is what the hub adds for both upstreams. */
export async function openAgentsHome(options: { models: Pick<ModelServer, 'url'>; key: string }) {
  const { models, key } = options
  const metricsPort = await freePort()
  const at = { url: models.url, local: true, secret: 'model-key' }
  const home = await openContainerHome({
    cards: [
      assistantCard({ ...LEAD, delegate: [SECOND.name, THIRD.name] }),
      assistantCard({ ...POOR, delegate: [SECOND.name, THIRD.name] }),
      assistantCard({ ...SECOND, delegate: [THIRD.name] }),
      assistantCard(THIRD),
      codexCard(),
      codexCard('coder'),
      codexCard('broke'),
      codexWithTools('talker', 'hub-test/codex-mcp'),
      codexWithTools('unbuilt', 'hub-test/codex'),
      resumingCard(),
    ],
    rows: {
      [POOR.name]: { budget: { tree: { usd: '0.01 USD' } } },
      coder: { budget: CODING },
      talker: { topics: ['news'] },
      resuming: { transcripts: true },
      broke: { budget: { tree: { usd: '0.01 USD' } } },
    },
    config: {
      metrics: { port: metricsPort },
      upstreams: { anthropic: { kind: 'anthropic', ...at }, openai: { kind: 'openai', ...at } },
    },
  })
  mkdirSync(join(home.home, 'secrets'), { recursive: true, mode: 0o700 })
  writeFileSync(join(home.home, 'secrets', 'model-key'), key, { mode: 0o600 })
  const price = Object.fromEntries(Object.entries(RATES).map(([name, micro]) => [name, micro * 1_000_000]))
  const names = [LEAD, SECOND, THIRD].map(({ model }) => [model, { ...price, maxOutput: 8192 }])
  writeFileSync(join(home.home, 'prices.yaml'), JSON.stringify({ models: Object.fromEntries(names) }))
  return Object.assign(home, { metricsPort })
}

/** A folder with these files, as the input of a task. */
export function inputFolder(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'in-'))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  return folder
}
