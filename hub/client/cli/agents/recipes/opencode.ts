/** opencode. Its settings are a file of its image; those of a repository are not read, and nothing in a session can write it. */
import { CODING_CLIS } from '../../../../protocol/coding-clis.ts'
import { usage } from '../../../problem.ts'
import { cardText, HEAP_MIB, imageText, MODEL, NIGHT, NPM, type Recipe, type RecipeFacts, TASK } from './recipe.ts'

const CLI = CODING_CLIS.opencode
const SETTINGS = 'opencode.json'
const PROVIDER = 'anthropic'
const HELPER = 'claude-haiku-4-5'

/** The text of opencode.json. The last rule that fits counts in `permission`. */
const settingsOf = ({ upstream }: RecipeFacts): string =>
  `${JSON.stringify(
    {
      share: 'disabled',
      autoupdate: false,
      enabled_providers: [PROVIDER],
      small_model: `${PROVIDER}/${HELPER}`,
      permission: { '*': 'allow', webfetch: 'deny', websearch: 'deny' },
      instructions: ['/workspace/repo/AGENTS.md'],
      provider: {
        [PROVIDER]: {
          options: { baseURL: `http://127.0.0.1:47080/up/${upstream}/v1` },
        },
      },
    },
    null,
    2,
  )}\n`

/**
 * Becomes the program. What it would fetch is settled before: it installs packages into the folder of its settings wherever it may write there, and
 * `rg` wherever it finds none.
 */
const startOf = (arch: string): string =>
  [
    'mkdir -p "$HOME/.config/opencode" && chmod a-w "$HOME/.config/opencode"',
    `export PATH="$PATH:${NPM}/@vscode/ripgrep-linux-${arch}/bin" BUN_JSC_forceRAMSize=${HEAP_MIB * 1024 ** 2}`,
    'exec "$0" "$@"',
  ].join(' && ')

function runOf({ arch }: RecipeFacts): string[] {
  if (arch !== 'x64' && arch !== 'arm64')
    throw usage(`there is no ${CLI.title} for ${arch}`, 'build on a machine of x64 or arm64')
  // Of the two for x64 the one that runs on every processor: which of them fits is known only where it runs.
  const platform = arch === 'x64' ? 'x64-baseline' : arch
  return [
    ...['sh', '-c', startOf(arch), `${NPM}/opencode-linux-${platform}/bin/opencode`],
    ...['run', '--format=json', '--title=task', `--model=${PROVIDER}/${MODEL}`, '--', TASK],
  ]
}

/** A model that opencode does not know would be a fault of it without a name; so it is told of whichever one its task has. */
const MODELS = { provider: { [PROVIDER]: { models: { [MODEL]: { limit: { context: 200_000, output: 32_000 } } } } } }

const envOf = ({ name }: RecipeFacts): Record<string, string> => ({
  OPENCODE_CONFIG: `/app/agents/${name}/${SETTINGS}`,
  OPENCODE_CONFIG_CONTENT: JSON.stringify(MODELS),
  ...Object.fromEntries(
    [
      ...['PROJECT_CONFIG', 'MODELS_FETCH', 'AUTOUPDATE', 'LSP_DOWNLOAD'],
      ...['DEFAULT_PLUGINS', 'CLAUDE_CODE', 'EXTERNAL_SKILLS'],
    ].map((word) => [`OPENCODE_DISABLE_${word}`, '1']),
  ),
})

export const opencode: Recipe = {
  title: CLI.title,
  cli: CLI,
  kind: 'anthropic',
  works: 'repository',
  limits: NIGHT,
  model: 'claude-sonnet-5',
  helpers: [HELPER],
  off: [
    { what: 'its questions', how: "`permission: { '*': allow }`", why: 'the box is outside, and nobody sits there' },
    {
      what: 'its search of the web and its reading of pages',
      how: '`webfetch: deny`, `websearch: deny`',
      why: 'their hosts are refused anyway; so its model is not offered them',
    },
    {
      what: 'settings, plugins and MCP servers of a repository',
      how: '`OPENCODE_DISABLE_PROJECT_CONFIG=1`',
      why: 'they could name other models, and it would fetch packages for them. `/workspace/repo/AGENTS.md` is read all the same (`instructions`)',
    },
    {
      what: 'plugins, skills and rules from elsewhere',
      how: '`OPENCODE_DISABLE_DEFAULT_PLUGINS=1`, `OPENCODE_DISABLE_EXTERNAL_SKILLS=1`, `OPENCODE_DISABLE_CLAUDE_CODE=1`',
      why: 'its plugins are fetched, and the others are written for other programs',
    },
    { what: 'sharing', how: '`share: disabled`', why: 'a conversation would lie at its maker' },
    {
      what: 'its list of models and its language servers',
      how: '`OPENCODE_DISABLE_MODELS_FETCH=1`, `OPENCODE_DISABLE_LSP_DOWNLOAD=1`',
      why: 'it would fetch them from outside',
    },
    {
      what: 'packages for its plugins',
      how: '`chmod a-w` of its folder of settings',
      why: 'it would install one at each start',
    },
    {
      what: 'updates',
      how: '`autoupdate: false`, `OPENCODE_DISABLE_AUTOUPDATE=1`',
      why: "the version is the image's, and nothing can be written there",
    },
    {
      what: 'a call of the small model for a title',
      how: '`--title=task`',
      why: 'nobody reads it, and it costs a call',
    },
    {
      what: 'other providers',
      how: '`enabled_providers`',
      why: 'only this one has an upstream',
    },
    {
      what: 'a heap by the size of the host',
      how: '`BUN_JSC_forceRAMSize`',
      why: 'it would be killed; it gets half of its memory',
    },
  ],
  notes: [
    'Its settings are `opencode.json` of its image. It is told of the model of its task by `OPENCODE_CONFIG_CONTENT`, also of one that it does not know.',
    'The program of its platform package is named, since no install script runs (the build says so). On x64 it is the one that runs on every processor (`baseline`); npm installs both.',
    'It searches by ripgrep, which it would fetch: `@vscode/ripgrep` (MIT) brings it along. A `rg` of the machine that builds comes first.',
    'It tells no end of its run, only ends of its steps: the last one counts, where it exits with 0.',
  ],
  files: (facts) =>
    new Map([
      [
        'agent.yaml',
        cardText(facts, {
          ...{ recipe: 'opencode', title: CLI.title, driver: 'stream-json', run: runOf(facts), env: envOf(facts) },
        }),
      ],
      ['image.yaml', imageText(CLI)],
      [SETTINGS, settingsOf(facts)],
    ]),
}
