/** The commands about work: tasks, sessions, agents. */
import { type Command, type Flag, paging, yes } from './row.ts'

const handed: readonly Flag[] = [
  ['--input <path>', 'a folder, a file, or - for stdin'],
  ['--with-secrets', 'send files that look like secrets too'],
  ['--param <k=v>', 'a parameter, as often as needed; k:=JSON for anything but text', 'many'],
]
const where: Flag = ['--dir <dir>', 'where (./NAME)']

export const WORK_COMMANDS: readonly Command[] = [
  {
    words: 'submit',
    args: '[agent]',
    text: 'give a task to an agent',
    flags: [
      ['--needs <cap...>', 'instead of an agent: what it must be able to do'],
      ...handed,
      ['--ttl <span>', 'how long it may take, as in 10m'],
      ['--priority <n>', '0 to 9 (5)'],
      ['--hold', 'queue it, but do not start it'],
      ['--wait', 'show its progress and end with its outcome'],
      ['--out <dir>', 'wait, and write its artifacts there'],
      ['--dry-run', 'list what --input would send and what not; nothing is sent'],
    ],
    load: async () => (await import('./submit.ts')).submit,
  },
  {
    words: 'wait',
    args: '[task]',
    text: 'wait until a task ends (the last one submitted)',
    flags: [
      ['--for <what>', 'task=done: any end'],
      ['--timeout <span>', 'give up after this long, as in 10m (exit 6)'],
    ],
    load: async () => (await import('./watch.ts')).wait,
  },
  {
    words: 'task list',
    text: 'list tasks',
    flags: [
      ['--state <state>', 'queued, running, succeeded, failed, cancelled, timed_out'],
      ['--parent <task>', 'children of this task'],
      ...paging,
    ],
    load: async () => (await import('./tasks.ts')).list,
  },
  { words: 'task show', args: '<task>', text: 'one task in full', load: async () => (await import('./tasks.ts')).show },
  {
    words: 'task cancel',
    args: '[task]',
    text: 'stop it for good',
    flags: [['--held', 'all that wait for your word'], yes],
    load: async () => (await import('./held.ts')).cancel,
  },
  {
    words: 'task retry',
    args: '<task>',
    text: 'ask for it again',
    load: async () => (await import('./tasks.ts')).retry,
  },
  {
    words: 'task release',
    args: '[task]',
    text: 'let a held task start',
    flags: [['--all', 'all that wait for your word'], yes],
    load: async () => (await import('./held.ts')).release,
  },
  {
    words: 'task logs',
    args: '<task>',
    text: 'what it logged',
    flags: [['--follow', 'go on until it has ended']],
    load: async () => (await import('./task-logs.ts')).logs,
  },
  {
    words: 'session list',
    text: 'list sessions',
    flags: [['--all', 'ended ones too'], ...paging],
    load: async () => (await import('./sessions.ts')).list,
  },
  {
    words: 'session show',
    args: '<session>',
    text: 'one session in full',
    flags: [['--hardening', 'grade its container, check by check']],
    load: async () => (await import('./sessions.ts')).show,
  },
  {
    words: 'session stop',
    args: '[session...]',
    text: 'stop sessions; the hub stays',
    flags: [['--all', 'every one'], ['--agent <name>', 'every one of this agent'], yes],
    load: async () => (await import('./sessions.ts')).stop,
  },
  {
    words: 'session logs',
    args: '<session>',
    text: "the container's own output",
    load: async () => (await import('./sessions.ts')).logs,
  },
  {
    words: 'session quarantine',
    args: '<session>',
    text: 'keep evidence of it, then end it; its task fails, what it stored is withheld',
    load: async () => (await import('./quarantine.ts')).quarantine,
  },
  {
    words: 'session revoke',
    args: '<session>',
    text: 'end it at once as not to be trusted; its task fails',
    flags: [['--token <token>', 'refuse only this token of it, given whole or by its id']],
    load: async () => (await import('./sessions.ts')).revoke,
  },
  { words: 'agent list', text: 'list agents', load: async () => (await import('./agents.ts')).list },
  {
    words: 'agent show',
    args: '<name>',
    text: 'one agent in full',
    load: async () => (await import('./agents.ts')).show,
  },
  {
    words: 'agent reload',
    text: "read the cards again, and take what their images' names mean now",
    load: async () => (await import('./agents.ts')).reload,
  },
  {
    words: 'agent reset',
    args: '<name>',
    text: 'let a suspended or failing agent start again',
    load: async () => (await import('./agents.ts')).reset,
  },
  {
    words: 'agent suspend',
    args: '<name>',
    text: 'start no more of it',
    load: async () => (await import('./agents.ts')).suspend,
  },
  {
    words: 'agent new',
    args: '<name>',
    text: 'make a folder with a card and a program that runs as it is',
    flags: [['--lang <lang>', 'ts, python, shell or cli'], where],
    load: async () => (await import('./agent-new.ts')).create,
  },
  {
    words: 'agent build',
    args: '<folder>',
    text: 'assemble the image of a folder and register its card',
    load: async () => (await import('./agent-build.ts')).build,
  },
  {
    words: 'agent allow',
    args: '<name>',
    text: 'show what it wishes and is granted; grant the difference',
    flags: [['--dry-run', 'only show it'], yes],
    load: async () => (await import('./agent-allow.ts')).allow,
  },
  {
    words: 'agent remove',
    args: '<name>',
    text: 'take its grant, card and image away; its tasks and records stay',
    flags: [yes],
    load: async () => (await import('./agent-remove.ts')).remove,
  },
  {
    words: 'agent try',
    args: '<folder>',
    text: 'run it once in the sandbox, under a name of its own',
    flags: [...handed, ['--watch', 'build and run again when a file changes']],
    load: async () => (await import('./agent-try.ts')).tryOut,
  },
]
