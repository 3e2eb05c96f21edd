/** Claude Code. Everything is said by its command line and by variables, which stand above the settings of a repository. */
import { CODING_CLIS } from '../../../../protocol/coding-clis.ts'
import { usage } from '../../../problem.ts'
import {
  cardText,
  GO_ON,
  HEAP_MIB,
  imageText,
  MODEL,
  NIGHT,
  NPM,
  type Recipe,
  type RecipeFacts,
  TASK,
} from './recipe.ts'

const CLI = CODING_CLIS['claude-code']
const HELPER = 'claude-haiku-4-5'

const RESUME = '--continue'

function wordsOf({ arch }: RecipeFacts): Record<'run' | 'resume', string[]> {
  if (arch !== 'x64' && arch !== 'arm64')
    throw usage(`there is no ${CLI.title} for ${arch}`, 'build on a machine of x64 or arm64')
  const program = [
    // The card's own variables are capital letters. `env` becomes the program: it is no process of its own.
    ...['env', `BUN_JSC_forceRAMSize=${HEAP_MIB * 1024 ** 2}`],
    `${NPM}/@anthropic-ai/claude-code-linux-${arch}/claude`,
    ...['-p', '--output-format=stream-json', '--verbose', '--dangerously-skip-permissions', `--model=${MODEL}`],
    '--disallowedTools=WebSearch,WebFetch',
  ]
  return { run: [...program, '--', TASK], resume: [...program, RESUME, '--', GO_ON] }
}

/** Names of models that it takes by itself lead to the one of the task, or to the helper. */
const envOf = ({ upstream }: RecipeFacts): Record<string, string> => ({
  ANTHROPIC_BASE_URL: `http://127.0.0.1:47080/up/${upstream}`,
  ...Object.fromEntries(['FABLE', 'OPUS', 'SONNET'].map((word) => [`ANTHROPIC_DEFAULT_${word}_MODEL`, MODEL])),
  ANTHROPIC_DEFAULT_HAIKU_MODEL: HELPER,
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  DISABLE_UPDATES: '1',
})

export const claudeCode: Recipe = {
  title: CLI.title,
  cli: CLI,
  kind: 'anthropic',
  works: 'repository',
  limits: NIGHT,
  model: 'claude-sonnet-5',
  helpers: [HELPER],
  resume: RESUME,
  off: [
    { what: 'its questions and its own sandbox', how: '`--dangerously-skip-permissions`', why: 'the box is outside' },
    {
      what: 'its search of the web and its reading of pages',
      how: '`--disallowedTools=WebSearch,WebFetch`',
      why: 'the search runs at the provider, where no rule sees it, so the hub refuses it by name; the reading asks a host of its maker about each page',
    },
    {
      what: 'reports, its lists and its questions about itself',
      how: '`CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1`',
      why: 'their hosts are refused anyway; so it does not try',
    },
    {
      what: 'updates',
      how: '`DISABLE_UPDATES=1`',
      why: "the version is the image's, and nothing can be written there",
    },
    {
      what: 'models of its own choice',
      how: '`ANTHROPIC_DEFAULT_FABLE_MODEL`, `_OPUS_`, `_SONNET_`, `_HAIKU_`',
      why: 'a call without a price is refused; helpers use the model of the task, small ones a small model that has a price',
    },
    {
      what: 'a heap by the size of the host',
      how: '`BUN_JSC_forceRAMSize`',
      why: 'it would be killed; it gets half of its memory',
    },
  ],
  notes: [
    'The program of its platform package is named: the package itself has a stub until its install script has run, which does not run here.',
    'Its licence is of its maker: it is installed by your own build, and you agree to those terms by using it.',
  ],
  files: (facts) =>
    new Map([
      [
        'agent.yaml',
        cardText(facts, {
          ...{ recipe: 'claude-code', title: CLI.title, driver: 'stream-json', env: envOf(facts) },
          ...wordsOf(facts),
        }),
      ],
      ['image.yaml', imageText(CLI)],
    ]),
}
