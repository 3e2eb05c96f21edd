/** A model agent of ours, in Python alone: short, to be copied. Its program is a file of the folder, and belongs to whoever made it. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { LIGHT, type Recipe, writtenCard } from './recipe.ts'

const PROGRAM = 'main.py'
const text = fileURLToPath(new URL(`../../../templates/python-model/${PROGRAM}`, import.meta.url))
const TITLE = 'A model agent in Python'

export const pythonModel: Recipe = {
  title: TITLE,
  cli: undefined,
  kind: 'anthropic',
  model: 'claude-sonnet-5',
  works: 'input',
  limits: LIGHT,
  helpers: [],
  off: [],
  notes: [
    'Its program is `main.py` in its folder: a loop that asks the model, and three tools of its own (`list_files`, `read_file`, `write_file`). It has no package and no key. Copy it, and change the tools.',
    '`hub submit --model`, `--system` and `--max-turns` reach it. It is told when money runs low, and tells its model.',
    'It begins no other program and has no shell; with `tools` or `packages` in `image.yaml` it has what you add.',
  ],
  files: ({ name, upstream, model }) =>
    new Map([
      [
        'agent.yaml',
        writtenCard('python-model', TITLE, {
          name,
          description: 'Gives its task to a model; reads the input, writes files',
          image: `hub/${name}`,
          driver: 'json-lines',
          run: ['python3', `/app/agents/${name}/${PROGRAM}`],
          env: { MODEL_URL: `http://127.0.0.1:47080/up/${upstream}` },
          defaults: { model },
          limits: LIGHT,
          may: { egress: [upstream] },
        }),
      ],
      ['image.yaml', 'base: python\n'],
      [PROGRAM, readFileSync(text, 'utf8')],
    ]),
}
