/** Every command: its words, arguments and options, and where it lives. Rooms are loaded only when their command runs. */
import type { Run } from './context.ts'

/** `many`: may be given again and again, one value each; a variadic one would swallow the argument behind it. */
type Flag = readonly [flags: string, text: string, many?: 'many']
export interface Command {
  /** `task list`: at most two words. */
  words: string
  /** In commander's notation: `<id>` needed, `[id]` not, `[id...]` many. */
  args?: string
  text: string
  flags?: readonly Flag[]
  /** Absent only for `init`, which needs no home yet. */
  load?: () => Promise<Run>
}

const paging: readonly Flag[] = [
  ['--limit <n>', 'how many at most, 1 to 100 (25)'],
  ['--cursor <text>', 'go on where the last page ended'],
]
const handed: readonly Flag[] = [
  ['--input <path>', 'a folder, a file, or - for stdin'],
  ['--param <k=v>', 'a parameter, as often as needed; k:=JSON for anything but text', 'many'],
]
const where: Flag = ['--dir <dir>', 'where (./NAME)']
const yes: Flag = ['--yes', 'do not ask']

/** Names of groups, for their help. */
export const GROUPS: Readonly<Record<string, string>> = {
  task: 'tasks: what was asked for, and what came of it',
  session: 'sessions: what runs now, one container each',
  agent: 'agents: the catalogue',
  audit: 'the audit log',
  policy: 'the rules',
  artifact: 'what tasks left',
}

export const COMMANDS: readonly Command[] = [
  { words: 'init', text: 'make a home: keys, database, first heartbeat' },
  { words: 'up', text: 'start the hub and its watchdog', load: async () => (await import('./start.ts')).up },
  { words: 'down', text: 'end agents, hub and watchdog', load: async () => (await import('./down.ts')).down },
  { words: 'restart', text: 'the hub anew; agents go on', load: async () => (await import('./down.ts')).restart },
  { words: 'serve', text: 'be the hub, in the foreground', load: async () => (await import('./start.ts')).serve },
  {
    words: 'status',
    text: 'one screen: is it well, what to do, until when',
    load: async () => (await import('./status.ts')).status,
  },
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
    args: '<task>',
    text: 'stop it for good',
    load: async () => (await import('./tasks.ts')).cancel,
  },
  {
    words: 'task retry',
    args: '<task>',
    text: 'ask for it again',
    load: async () => (await import('./tasks.ts')).retry,
  },
  {
    words: 'task release',
    args: '<task>',
    text: 'let a held task start',
    load: async () => (await import('./tasks.ts')).release,
  },
  { words: 'task logs', args: '<task>', text: 'what it logged', load: async () => (await import('./tasks.ts')).logs },
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
  { words: 'agent list', text: 'list agents', load: async () => (await import('./agents.ts')).list },
  {
    words: 'agent show',
    args: '<name>',
    text: 'one agent in full',
    load: async () => (await import('./agents.ts')).show,
  },
  { words: 'agent reload', text: 'read the cards again', load: async () => (await import('./agents.ts')).reload },
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
    words: 'agent try',
    args: '<folder>',
    text: 'run it once in the sandbox, under a name of its own',
    flags: [...handed, ['--watch', 'build and run again when a file changes']],
    load: async () => (await import('./agent-try.ts')).tryOut,
  },
  {
    words: 'heartbeat',
    text: 'say that you are there; works with the hub dead',
    flags: [['--note <text>', 'goes into the audit log']],
    load: async () => (await import('./presence.ts')).heartbeat,
  },
  {
    words: 'safe-mode',
    text: 'let nothing new start',
    flags: [['--reason <text>', 'goes into the audit log']],
    load: async () => (await import('./presence.ts')).safeMode,
  },
  { words: 'resume', text: 'end what you asked to be safe', load: async () => (await import('./presence.ts')).resume },
  {
    words: 'shutdown',
    text: 'stop every agent and end the hub; the watchdog stays',
    flags: [
      ['--drain', 'let sessions work to their end first'],
      ['--emergency', 'if hub and watchdog are dead, stop the containers from here'],
      ['--dry-run', 'only say what would stop'],
      yes,
    ],
    load: async () => (await import('./stop.ts')).shutdown,
  },
  {
    words: 'audit list',
    text: 'list records',
    flags: [['--action <name>', 'as task.submit'], ['--outcome <what>', 'ok, refused, failed'], ...paging],
    load: async () => (await import('./records.ts')).auditList,
  },
  {
    words: 'audit verify',
    text: 'check the whole chain',
    load: async () => (await import('./records.ts')).auditVerify,
  },
  {
    words: 'policy status',
    text: 'which rules are in force',
    load: async () => (await import('./records.ts')).policyStatus,
  },
  {
    words: 'policy reload',
    text: "read the home's policy/data.json again",
    load: async () => (await import('./records.ts')).policyReload,
  },
  {
    words: 'doctor',
    text: 'what is not in order, and what mends it',
    load: async () => (await import('./records.ts')).doctor,
  },
  {
    words: 'artifact list',
    text: 'list artifacts',
    flags: [['--task <task>', 'of this task']],
    load: async () => (await import('./outputs.ts')).artifactList,
  },
  {
    words: 'artifact get',
    args: '<sha256>',
    text: 'its bytes, to stdout or a file',
    flags: [['--out <file>', 'write it there']],
    load: async () => (await import('./outputs.ts')).artifactGet,
  },
  {
    words: 'events',
    text: 'what happened since the hub started',
    flags: [
      ['--follow', 'go on until Ctrl-C'],
      ['--since <sequence>', 'only later ones'],
      ['--task <task>', 'only of this task'],
    ],
    load: async () => (await import('./outputs.ts')).events,
  },
]
