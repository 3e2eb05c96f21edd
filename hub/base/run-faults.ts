/**
 * What a row of the table of errors is, and the rows of what the shim finds of a program that did not do what it should (S4-36, docs/protocol.md 10).
 * The rest of the table: errors.ts.
 */

export type ErrorKind = 'refused' | 'unavailable' | 'fault'

export interface ErrorRow {
  kind: ErrorKind
  status: number
  means: string
  next: string
}

export const row = (kind: ErrorKind, status: number, means: string, next: string): ErrorRow => ({
  kind,
  status,
  means,
  next,
})

export const RUN_FAULTS = {
  nothing_done: row(
    'refused',
    409,
    'The agent says that it succeeded, but what was asked for is not there.',
    'Read `hub task logs ID`. If the task only reads, submit it again with --no-change.',
  ),
  branch_lost: row(
    'refused',
    409,
    'The agent says that it succeeded, but its branch could not be kept.',
    'What could be kept is: `hub task show ID` lists the patch and other files, and its error says what is lost. Ask for less at once.',
  ),
  not_started: row(
    'refused',
    409,
    'The program of the agent could not be started.',
    'Look at `run` in its card: the program must lie in its image and be executable there.',
  ),
  not_ready: row(
    'refused',
    409,
    'The agent did not begin: it refused or did not answer what comes before its task.',
    'Read `hub task logs ID`. Run the program by hand with the same words: it may want a key, a model or a configuration.',
  ),
  version_refused: row(
    'refused',
    409,
    'The agent speaks a version of its protocol that the hub does not speak.',
    'Take a version of the agent that speaks version 1 of the Agent Client Protocol.',
  ),
  login_needed: row(
    'refused',
    409,
    'The agent wants a login, and nobody can log in within a sandbox.',
    'Give it a key: an upstream in its card (docs/egress.md), or a secret whose variable it reads.',
  ),
  prompt_refused: row(
    'refused',
    409,
    'The agent did not take its prompt.',
    'Read `hub task logs ID`: often its model could not be reached. Nothing was done; submit the task again.',
  ),
  turn_refused: row(
    'refused',
    409,
    'The model of the agent refused to go on.',
    'Ask for it in other words, or of another model.',
  ),
  turn_limited: row(
    'refused',
    409,
    'The agent came to a limit of its own before it was done.',
    'What it left is kept. Ask for less at once, or raise the limit in the configuration of the agent.',
  ),
  turn_failed: row(
    'refused',
    409,
    'The agent broke off its work.',
    'What it left is kept. Read `hub task logs ID`, then `hub task retry ID`.',
  ),
  ended_early: row(
    'refused',
    409,
    'The program of the agent ended before it was done.',
    'What it left is kept. Read `hub task logs ID`: its last lines often say why.',
  ),
  result_unreadable: row(
    'refused',
    409,
    'The program gave a result that could not be read.',
    'Read `hub task logs ID`, and correct what the program prints.',
  ),
} as const satisfies Readonly<Record<string, ErrorRow>>
