/** Codex (docs/egress.md says what it sends). Each word of its command line was tried in the box, with `--strict-config`, for the version of the table. */
import { CODING_CLIS } from '../../../../protocol/coding-clis.ts'
import { usage } from '../../../problem.ts'
import { cardText, GO_ON, imageText, MODEL, NIGHT, NPM, type Recipe, type RecipeFacts, TASK } from './recipe.ts'

const CLI = CODING_CLIS.codex

/** Its platform package holds the program; the script of the package itself would be one process more. */
const PLATFORMS: Readonly<Record<string, string>> = {
  x64: 'codex-linux-x64/vendor/x86_64-unknown-linux-musl',
  arm64: 'codex-linux-arm64/vendor/aarch64-unknown-linux-musl',
}

/** A provider of our own: `OPENAI_BASE_URL` is ignored, and `openai_base_url` tries a WebSocket first. A refusal ends its try, so it asks once. */
const providerOf = (upstream: string): string =>
  `model_providers.hub={name="hub",base_url="http://127.0.0.1:47080/up/${upstream}/v1",env_key="OPENAI_API_KEY",wire_api="responses",request_max_retries=0,stream_max_retries=0}`

const SWITCHES = [
  'web_search="disabled"',
  'check_for_update_on_startup=false',
  'analytics.enabled=false',
  'feedback.enabled=false',
  'features.plugins=false',
  'features.apps=false',
] as const

const RESUME = ['resume', '--last']

function wordsOf({ upstream, arch }: RecipeFacts): Record<'run' | 'resume', string[]> {
  const place = PLATFORMS[arch]
  if (place === undefined) throw usage(`there is no ${CLI.title} for ${arch}`, 'build on a machine of x64 or arm64')
  const program = [`${NPM}/@openai/${place}/bin/codex`, 'exec']
  const options = [
    ...['--json', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', `--model=${MODEL}`],
    ...['model_provider=hub', providerOf(upstream), ...SWITCHES].flatMap((setting) => ['-c', setting]),
  ]
  return {
    run: [...program, ...options, '--', TASK],
    resume: [...program, ...RESUME, ...options, GO_ON],
  }
}

export const codex: Recipe = {
  title: CLI.title,
  cli: CLI,
  kind: 'openai',
  works: 'repository',
  limits: NIGHT,
  model: 'gpt-5.5',
  helpers: [],
  resume: RESUME.join(' '),
  off: [
    {
      what: 'its own sandbox and its questions',
      how: '`--dangerously-bypass-approvals-and-sandbox`',
      why: 'the box is outside. Its sandbox (bwrap) cannot work in ours: each command would fail, and Codex would still end with 0',
    },
    {
      what: 'its search of the web',
      how: '`web_search="disabled"`',
      why: 'it runs at the provider, where no rule sees it, so the hub refuses it by name',
    },
    {
      what: 'its own repeats',
      how: '`request_max_retries=0`, `stream_max_retries=0`',
      why: 'a refusal of the hub is final; without this it asks six times',
    },
    {
      what: 'updates',
      how: '`check_for_update_on_startup=false`',
      why: "the version is the image's, and nothing can be written there",
    },
    {
      what: 'reports',
      how: '`analytics.enabled=false`, `feedback.enabled=false`',
      why: 'their hosts are refused anyway; so it does not try',
    },
    {
      what: 'plugins and apps',
      how: '`features.plugins=false`, `features.apps=false`',
      why: 'it would fetch their lists from outside',
    },
  ],
  notes: [
    'The model is told of by an upstream of kind `openai` through a provider of its own, since `OPENAI_BASE_URL` is ignored.',
    'The program of its platform package is named, since no install script runs.',
  ],
  files: (facts) =>
    new Map([
      ['agent.yaml', cardText(facts, { recipe: 'codex', title: CLI.title, driver: 'stream-json', ...wordsOf(facts) })],
      ['image.yaml', imageText(CLI)],
    ]),
}
