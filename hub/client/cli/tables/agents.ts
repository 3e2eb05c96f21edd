/** The commands on agents: their cards, images and grants. Rows of the table of commands. */
import { alone, command, handed, lazy, yes } from '../command.ts'

const catalogue = lazy(() => import('../agents/catalogue.ts'))
const drivers = lazy(() => import('../agents/drivers.ts'))
const grant = lazy(() => import('../agents/allow.ts'))
const image = lazy(() => import('../agents/build.ts'))
const newAgent = lazy(() => import('../agents/new.ts'))
const removal = lazy(() => import('../agents/remove.ts'))
const resolution = lazy(() => import('../agents/resolve.ts'))
const tryAgent = lazy(() => import('../agents/try.ts'))
const validation = lazy(() => import('../agents/validate.ts'))

export const AGENTS = [
  command('agent list', 'list agents', catalogue('list'), [
    ['--probe', 'also look which known coding CLIs are on PATH, and propose agents; loads nothing'],
  ]),
  command('agent show <name>', 'one agent in full', catalogue('show')),
  command(
    'agent resolve <name>',
    'which card counts for it, what it may do, and what keeps it from starting',
    resolution('resolve'),
  ),
  alone(
    'agent validate [what...]',
    'check cards, image.yaml and folders of agents, or every card of the home; changes nothing',
    validation('validate'),
  ),
  alone('agent drivers', 'how programs of agents are run, and what each way can do', drivers('drivers')),
  command('agent reload', 'read the cards and look up their images again', catalogue('reload')),
  command('agent reset <name>', 'let a suspended or failing agent start again', catalogue('reset')),
  command('agent suspend <name>', 'start no new sessions of it', catalogue('suspend')),
  command('agent new <name>', 'make a folder with a card and a program that runs at once', newAgent('create'), [
    ['--lang <lang>', 'ts, python, shell or cli; codex or gemini: that coding agent, with all that it needs'],
    ['--dir <dir>', 'the folder to make (default: ./NAME)'],
    ['--upstream <name>', 'of a coding agent: where its model is (default: the only one of its kind)'],
    ['--model <name>', 'of a coding agent: its model'],
    [
      '--resume',
      'of codex, gemini or claude-code: a start after a fall goes on with the conversation, which is kept unmasked',
    ],
    yes,
  ]),
  command('agent build <folder>', 'build the image of a folder and register its card', image('build'), [
    ['--from <image>', 'make it from this image of the engine: its layers, and our shim on top'],
  ]),
  command(
    'agent allow <name>',
    'show what its card asks for and what is granted; grant the difference',
    grant('allow'),
    [['--dry-run', 'only show it'], yes],
  ),
  command(
    'agent remove <name>',
    'remove its grant, card, image and own limits; its tasks and records stay',
    removal('remove'),
    [yes],
  ),
  command('agent try <folder>', 'run it once in the sandbox, under a separate name', tryAgent('tryOut'), [
    ...handed,
    ['--watch', 'build and run again when a file changes'],
  ]),
]
