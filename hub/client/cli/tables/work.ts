/** The commands on tasks and what comes of them: rows of the table of commands. */
import { command, handed, inRepo, lazy, paging, stop, yes } from '../command.ts'

const branch = lazy(() => import('../work/branch.ts'))
const submit = lazy(() => import('../work/submit.ts'))
const taskLogs = lazy(() => import('../work/task-logs.ts'))
const tasks = lazy(() => import('../work/tasks.ts'))
const watch = lazy(() => import('../work/watch.ts'))

export const WORK = [
  command('submit [agent]', 'give a task to an agent', submit('submit'), [
    ['--needs <cap...>', 'instead of an agent: what the agent must be able to do'],
    ...handed,
    ['--ttl <span>', 'how long it may take, as in 10m'],
    ['--priority <n>', '0 to 9 (default: 5)'],
    ['--hold', 'queue it, but do not start it'],
    ['--sensitivity <class>', 'only for agents that take it: public, internal, confidential or restricted'],
    ['--model <name>', 'the model that the agent is to use'],
    ['--system <text>', 'a system prompt; @FILE reads it from a file'],
    ['--max-turns <n>', 'how many turns its model may take'],
    ['--usd <amount>', 'what it may cost, as a hint for the agent; the limits of the hub count beside it'],
    ['--wait', 'show its progress and end with its outcome'],
    ['--out <dir>', 'wait, and write its artifacts to this folder'],
    ['--repo <dir>', 'a git repository: the agent works on a branch, which comes back (`hub branch`)'],
    ['--base <ref>', 'with --repo: the commit to begin at (default: HEAD)'],
    ['--no-change', 'with --repo: the agent only reads; without this, a task that changes nothing has failed'],
    ['--include-secrets', 'with --repo: send a repository that holds what looks like a secret'],
    ['--dry-run', 'list what --input or --repo would send and would leave out; send nothing'],
  ]),
  command('wait [task]', 'wait until a task ends (default: the last one submitted)', watch('wait'), [
    ['--for <what>', 'what to wait for: task=done, which is any end (default)'],
    ['--timeout <span>', 'give up after this long, as in 10m (exit 6)'],
  ]),
  command('task list', 'list tasks', tasks('list'), [
    ['--state <state>', 'queued, running, succeeded, failed, cancelled, timed_out'],
    ['--parent <task>', 'children of this task'],
    ...paging,
  ]),
  command('task show <task>', 'one task in full', tasks('show')),
  stop('task cancel [task]', 'stop it for good', tasks('cancel'), [['--held', 'all held tasks'], yes]),
  command('task accept <task>', 'keep what came after its end, as a task of its own', tasks('accept')),
  command('task retry <task>', 'submit it again', tasks('retry')),
  command('task release [task]', 'let a held task start', tasks('release'), [['--all', 'all held tasks'], yes]),
  command('task logs <task>', 'what it logged', taskLogs('logs'), [['--follow', 'keep printing until it ends']]),
  command(
    'branch log [task]',
    'the commits and files of the branch that a task left (default: the last one submitted with this repository)',
    branch('branchLog'),
    [inRepo],
  ),
  command('branch diff [task]', 'what it changed', branch('branchDiff'), [inRepo]),
  command('branch checkout [task]', 'make the branch in your repository, and switch to it', branch('branchCheckout'), [
    inRepo,
    ['--as <name>', 'the name of the branch (default: hub/SESSION)'],
  ]),
  command(
    'branch apply [task]',
    'merge it into the branch that you are on; conflicts are shown first',
    branch('branchApply'),
    [inRepo, yes],
  ),
]
