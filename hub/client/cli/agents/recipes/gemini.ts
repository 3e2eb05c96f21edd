/**
 * Gemini CLI. Its settings are a file of its image that is named as the one of the system: it stands above those of the user and of the
 * repository, and nothing in a session can write it.
 */
import { CODING_CLIS } from '../../../../protocol/coding-clis.ts'
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

const CLI = CODING_CLIS.gemini
const SETTINGS = 'settings.json'
const HELPER = 'gemini-2.5-flash'

/** Names under which it calls a model of its own choice, some of which have no price; each is led to one that has. */
const HELPED = [
  ...['classifier', 'edit-corrector', 'fast-ack-helper', 'prompt-completion', 'summarizer-default', 'summarizer-shell'],
  ...['gemini-2.5-flash-base', 'gemini-3-flash-base', 'gemini-3.5-flash-base', 'loop-detection-double-check'],
  ...['agent-history-provider-summarizer', 'chat-compression-default'],
]

/** The text of settings.json. */
const settingsOf = ({ model }: RecipeFacts): string =>
  `${JSON.stringify(
    {
      general: { enableAutoUpdate: false, enableAutoUpdateNotification: false },
      privacy: { usageStatisticsEnabled: false },
      telemetry: { enabled: false },
      security: { auth: { selectedType: 'gemini-api-key' }, folderTrust: { enabled: false } },
      tools: {
        sandbox: false,
        exclude: ['google_web_search', 'web_fetch'],
        shell: { enableInteractiveShell: false },
      },
      model: { name: model, skipNextSpeakerCheck: true },
      modelConfigs: {
        customAliases: Object.fromEntries(
          HELPED.map((name) => [name, { extends: 'base', modelConfig: { model: HELPER } }]),
        ),
      },
    },
    null,
    2,
  )}\n`

const PROGRAM = [
  ...['node', `--max-old-space-size=${HEAP_MIB}`, `${NPM}/@google/gemini-cli/bundle/gemini.js`],
  ...[`--model=${MODEL}`, '--approval-mode=yolo', '-o', 'stream-json'],
]
const RESUME = '--resume=latest'

export const gemini: Recipe = {
  title: CLI.title,
  cli: CLI,
  kind: 'google',
  works: 'repository',
  limits: NIGHT,
  model: 'gemini-2.5-pro',
  helpers: [HELPER],
  resume: RESUME,
  off: [
    { what: 'its own sandbox', how: '`tools.sandbox: false`', why: 'the box is outside' },
    {
      what: 'its questions',
      how: '`--approval-mode=yolo`, `GEMINI_CLI_TRUST_WORKSPACE=true`',
      why: 'nobody sits there',
    },
    {
      what: 'updates',
      how: '`general.enableAutoUpdate: false`',
      why: "the version is the image's, and nothing can be written there",
    },
    {
      what: 'reports',
      how: '`privacy.usageStatisticsEnabled: false`, `telemetry.enabled: false`',
      why: 'their hosts are refused anyway; so it does not try',
    },
    {
      what: 'its search of the web and its reading of pages',
      how: '`tools.exclude`',
      why: 'both run at the provider, where no rule sees them, so the hub refuses them by name',
    },
    {
      what: 'terminals for its commands',
      how: '`tools.shell.enableInteractiveShell: false`',
      why: 'no session can open one',
    },
    {
      what: 'starting itself anew with a larger heap',
      how: '`GEMINI_CLI_NO_RELAUNCH=true`, `--max-old-space-size`',
      why: 'it would size its heap by the host and be killed; it gets half of its memory',
    },
    {
      what: 'helpers by models of its own choice',
      how: '`modelConfigs.customAliases`',
      why: 'some have no price, and a call without a price is refused; all of them use one model that has',
    },
  ],
  notes: [
    'Its settings are `settings.json` of its image, as those of the system (`GEMINI_CLI_SYSTEM_SETTINGS_PATH`): a repository cannot change them.',
    'Two packages that it can do without (`keytar`, `node-pty`) want an install script, which does not run; the build says so.',
  ],
  files: (facts) =>
    new Map([
      [
        'agent.yaml',
        cardText(facts, {
          ...{ recipe: 'gemini', title: CLI.title, driver: 'stream-json' },
          run: [...PROGRAM, `--prompt=${TASK}`],
          resume: [...PROGRAM, RESUME, `--prompt=${GO_ON}`],
          env: {
            GEMINI_CLI_NO_RELAUNCH: 'true',
            GEMINI_CLI_TRUST_WORKSPACE: 'true',
            GEMINI_CLI_SYSTEM_SETTINGS_PATH: `/app/agents/${facts.name}/${SETTINGS}`,
          },
        }),
      ],
      ['image.yaml', imageText(CLI)],
      [SETTINGS, settingsOf(facts)],
    ]),
}
