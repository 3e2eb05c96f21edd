/** aider. It is run by a short program of ours in its folder: by itself it ends with exit code 0 also where its model could not be called. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { CODING_CLIS } from '../../../../protocol/coding-clis.ts'
import { cardText, imageText, MODEL, NIGHT, type Recipe, TASK } from './recipe.ts'

const CLI = CODING_CLIS.aider
const PROGRAM = 'main.py'
const text = fileURLToPath(new URL(`../../../templates/aider/${PROGRAM}`, import.meta.url))

export const aider: Recipe = {
  title: CLI.title,
  cli: CLI,
  kind: 'openai',
  works: 'repository',
  limits: NIGHT,
  model: 'gpt-5.5',
  helpers: [],
  off: [
    { what: 'its questions', how: '`yes=True` in `main.py`', why: 'the box is outside, and nobody sits there' },
    {
      what: 'files of a repository that change how it works (`.env`, `.aider.conf.yml`, `.aider.model.*`)',
      how: '`main.py` uses its classes and not its command line, which would read them',
      why: 'they could name another model or another address. `/workspace/repo/AGENTS.md` is read',
    },
    {
      what: 'reports, updates, its browser and the reading of pages',
      how: '`main.py`, since its command line starts them; `detect_urls=False`',
      why: 'their hosts are refused anyway; so it does not try',
    },
    {
      what: 'lists of models and prices from outside',
      how: '`LITELLM_LOCAL_MODEL_COST_MAP=True`, and the model is made known in `main.py`',
      why: 'it would fetch them at each start',
    },
    {
      what: 'commands that its model proposes',
      how: '`suggest_shell_commands=False`',
      why: 'they are meant for a person: many show how to start a program that never ends',
    },
    {
      what: 'commits of its own, and a call of a small model for their messages',
      how: '`auto_commits=False`, `dirty_commits=False`',
      why: 'what it leaves is committed at the end, and each message would cost a call',
    },
    {
      what: 'its files in the repository',
      how: '`chat_history_file` and `input_history_file` are not set; `TAGS_CACHE_DIR`',
      why: 'they would be part of the branch',
    },
    {
      what: 'a temperature',
      how: '`use_temperature = False`',
      why: 'newer models refuse one',
    },
  ],
  notes: [
    'It runs no command by itself. Say in the card how the tests are run, and it runs them after each change and mends what fails: `AIDER_TEST_COMMAND: npm test` under `env`.',
    'Its program is `main.py` in its folder: it prints what aider does as events, and tells a failed call of the model, edits that did not fit and tests that still fail as a failed task.',
    'It is given 10 rounds for files that it asks for, edits that do not fit, and tests that fail (aider ships 3).',
    'It speaks Chat Completions by LiteLLM. A model behind another upstream of kind `openai` needs nothing but `--upstream` and `--model`.',
    'It has more than a hundred packages of Python (some 550 MB), and wants Python 3.10, 3.11 or 3.12 on the machine that builds.',
  ],
  files: (facts) =>
    new Map([
      [
        'agent.yaml',
        cardText(facts, {
          ...{ recipe: 'aider', title: CLI.title, driver: 'stream-json' },
          run: ['python3', '-I', `/app/agents/${facts.name}/${PROGRAM}`, MODEL, TASK],
          env: { OPENAI_BASE_URL: `http://127.0.0.1:47080/up/${facts.upstream}/v1` },
        }),
      ],
      ['image.yaml', imageText(CLI)],
      [PROGRAM, readFileSync(text, 'utf8')],
    ]),
}
