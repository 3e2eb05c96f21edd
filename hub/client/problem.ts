/** What went wrong, as the command says it: a stable code, one line, what to do next, and the exit code (protocol.md section 7). */
import { diskWords } from '../base/disk-words.ts'
import { ERRORS, type ErrorKind, HubError } from '../base/errors.ts'

/** `unwritten`: a stop is accepted and under way, and the hub could not write it down yet. */
export const EXIT = {
  done: 0,
  fault: 1,
  usage: 2,
  refused: 3,
  unreachable: 4,
  taskFailed: 5,
  timedOut: 6,
  unwritten: 8,
} as const

/** Codes of the client itself, beside the hub's table: its own use, its home, its way to the hub. */
type OwnCode = 'usage' | 'no_home' | 'unreachable' | 'not_private' | 'task_failed' | 'not_stopped'

export class Problem extends Error {
  readonly code: string
  readonly kind: ErrorKind
  readonly next: string
  /** Everything else the hub said: status, decisionId, retryAfterMs. */
  readonly facts: Readonly<Record<string, unknown>>

  constructor(
    code: OwnCode | (string & {}),
    kind: ErrorKind,
    detail: string,
    next: string,
    facts: Readonly<Record<string, unknown>> = {},
  ) {
    super(detail)
    this.name = 'Problem'
    this.code = code
    this.kind = kind
    this.next = next
    this.facts = facts
  }
}

/** What a usage says to do where it names nothing better; the command that was used puts its own help in its place. */
const SEE_HELP = 'see `hub --help`'
/** Wrong use of the command itself: exit 2, nothing was sent. */
export const usage = (detail: string, next = SEE_HELP): Problem => new Problem('usage', 'refused', detail, next)

/** The rules' reasons end with what to change: `...: add "x" to agents.a.message in policy/data.json`. */
const MENDING = /: ((?:add|set) .+)$/
/** The line to change, as the reason itself names it. */
export const mendingOf = (detail: string): string | undefined => MENDING.exec(detail)?.[1]
/** An agent that has no row at all: one command writes the row that its card wishes, and takes it over. */
const NO_ROW = /^add agents\.([a-z\d-]+) to policy\/data\.json$/
/** The first thing to do about what `mendingOf` has found. */
export function mendStep(mending: string): string {
  const name = NO_ROW.exec(mending)?.[1]
  return name === undefined ? `${mending}, then \`hub policy reload\`` : `\`hub agent allow ${name}\``
}

/**
 * What to do about it. What the detail itself names goes before the table's general word for its code, which could only repeat or contradict
 * it (fault C8).
 */
export function nextOf({ code, message, next }: Problem, words = ''): string {
  if (next === SEE_HELP && words !== '') return `see \`hub ${words} --help\``
  const isGeneral = Object.hasOwn(ERRORS, code) && next === ERRORS[code as keyof typeof ERRORS].next
  if (!isGeneral) return next
  const own = mendingOf(message)
  if (own !== undefined) return mendStep(own)
  return /`hub [a-z]|, then try again$/.test(message) ? '' : next
}

const isKind = (value: unknown): value is ErrorKind =>
  value === 'refused' || value === 'unavailable' || value === 'fault'

/** A problem document (RFC 9457) of the hub; what is missing comes from the table or the status, so a half answer still ends in one line. */
export function problemFrom(status: number, document: unknown): Problem {
  const found = (typeof document === 'object' && document !== null ? document : {}) as Record<string, unknown>
  // The watchdog knows nothing of the hub's codes: what it will not do is a conflict, and its own word says why.
  const code = typeof found.code === 'string' ? found.code : status === 409 ? 'conflict' : 'internal'
  const row = Object.hasOwn(ERRORS, code) ? ERRORS[code as keyof typeof ERRORS] : undefined
  const kind = isKind(found.kind) ? found.kind : (row?.kind ?? (status >= 500 ? 'fault' : 'refused'))
  // The watchdog, which knows nothing of the hub's table, says `error` alone.
  const said = [found.detail, found.error].find((text) => typeof text === 'string')
  const detail = said ?? row?.next ?? `the answer was ${status}`
  const next = typeof found.next === 'string' ? found.next : (row?.next ?? 'see `hub doctor`')
  return new Problem(code, kind, detail, next, found)
}

/** The exit code of a problem. A mode is a refusal with a reason, although it passes: scripts must not simply try again. */
export function exitCodeOf(problem: Problem): number {
  if (problem.code === 'usage') return EXIT.usage
  if (problem.code === 'task_failed') return EXIT.taskFailed
  if (problem.code === 'timed_out') return EXIT.timedOut
  if (problem.kind === 'refused' || problem.code.startsWith('mode_')) return EXIT.refused
  return problem.kind === 'unavailable' ? EXIT.unreachable : EXIT.fault
}

/** The document printed with `--json`, of the same form as the hub's own. */
export const documentOf = (problem: Problem): Record<string, unknown> => ({
  ...problem.facts,
  code: problem.code,
  kind: problem.kind,
  detail: problem.message,
  next: problem.next,
  exitCode: exitCodeOf(problem),
})

/** Any thrown value as a problem; what is not one already is our own bug. */
export function toProblem(thrown: unknown): Problem {
  if (thrown instanceof Problem) return thrown
  if (thrown instanceof HubError) {
    const { kind, next } = ERRORS[thrown.code]
    return new Problem(thrown.code, kind, thrown.message, next, thrown.facts)
  }
  const said = diskWords(thrown)
  if (said !== undefined) return new Problem('store_unavailable', 'unavailable', said, '')
  const text = thrown instanceof Error ? thrown.message : String(thrown)
  return new Problem('internal', 'fault', text, 'This is a bug of the command; please report the line above.')
}
