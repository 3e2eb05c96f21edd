/** The commands on what agents reach outside and what it costs: rows of the table of commands. */
import { command, lazy, yes } from '../command.ts'

const egress = lazy(() => import('../agents/egress.ts'))
const money = lazy(() => import('../money/budget.ts'))
const adding = lazy(() => import('../upstreams/add.ts'))
const upstreams = lazy(() => import('../upstreams/list.ts'))

export const OUTSIDE = [
  command('budget show', 'what was spent today, what is reserved, and the limits', money('budgetShow'), [
    ['--task <task>', 'of this task and its tree, with its calls'],
    ['--agent <name>', 'of this agent'],
    ['--day <day>', 'of another day, as 2026-12-01'],
  ]),
  command('budget raise <task> <amount>', 'give the tree of a task more money, in US dollars', money('budgetRaise')),
  command('budget settle <call> <amount>', 'say what a call cost in truth, in US dollars', money('budgetSettle')),
  command('upstream list', 'what is declared outside, who may reach it, and what it cost today', upstreams('list')),
  command('upstream add [name]', 'declare one in hub.yaml, with its key; asks for what is missing', adding('add'), [
    ['--kind <kind>', 'anthropic, openai, google, git, npm, pypi or http'],
    ['--url <address>', 'its address (default: that of the kind, if it has one)'],
    ['--secret <name>', 'the name of the file in HOME/secrets (default: NAME-key, where a key is needed)'],
    ['--secret-stdin', 'take the key from standard input'],
    ['--local', 'it is on this machine or in a private network'],
    ['--price <word>', 'free: its models cost nothing'],
    ['--allow <request>', 'of kind http, as "GET /v1/forecast*"; as often as needed', 'many'],
    ['--repository <name>', 'of kind git, as me/tool or "me/*"; as often as needed', 'many'],
    yes,
  ]),
  command('upstream test <name>', 'make a call to it that costs nothing, and say what happened', upstreams('test')),
  command(
    'upstream price <name> <model>',
    'what a model costs at an upstream; with prices: writes them into prices.yaml',
    money('upstreamPrice'),
    [
      ['--input <dollars>', 'for a million tokens sent'],
      ['--output <dollars>', 'for a million tokens received'],
      ['--cache-read <dollars>', 'for a million tokens read from its cache'],
      ['--cache-write <dollars>', 'for a million tokens written to its cache'],
      ['--max-input <tokens>', 'the most that it takes'],
      ['--max-output <tokens>', 'the most that it answers'],
    ],
  ),
  command('egress proposals', 'what agents were refused outside by the rules', egress('proposals')),
  command(
    'egress allow <id>',
    'permit exactly one of these: the line is shown and written after a yes',
    egress('allow'),
    [yes],
  ),
]
