/** What went wrong, as the command reports it: a stable code, one line, what to do next, and the exit code (docs/protocol.md 7). */
import { diskWords } from '../base/disk-words.ts'
import { ERRORS, type ErrorKind, HubError } from '../base/errors.ts'

/** `unwritten`: a stop is accepted and under way, but the hub could not record it yet. */
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

/** The client's own codes, beside the hub's table: wrong use, its home, its connection to the hub. */
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

/** The advice of a usage error that names nothing better; replaced by the help of the command that was used. */
const SEE_HELP = 'see `hub --help`'
/** Wrong use of the command itself: exit 2, nothing was sent. */
export const usage = (detail: string, next = SEE_HELP): Problem => new Problem('usage', 'refused', detail, next)

/** Reasons of the rules end with what to change: `...: add "x" to agents.a.message in policy/data.json`. */
const FIX = /: ((?:add|set) .+)$/
/** The change that a reason names. */
export const fixOf = (detail: string): string | undefined => FIX.exec(detail)?.[1]
/** An agent that has no row at all: one command writes and applies the row that its card asks for. */
const NO_ROW = /^add agents\.([a-z\d-]+) to policy\/data\.json$/
/** The first step for a change that `fixOf` has found. */
export function fixStep(fix: string): string {
  const name = NO_ROW.exec(fix)?.[1]
  return name === undefined ? `${fix}, then \`hub policy reload\`` : `\`hub agent allow ${name}\``
}

/**
 * What to do about it. Advice in the detail itself comes before the general advice for the code, which could only repeat or contradict it
 * (fault C8).
 */
export function nextOf({ code, message, next }: Problem, words = ''): string {
  if (next === SEE_HELP && words !== '') return `see \`hub ${words} --help\``
  // The detail already says how it ended.
  if (code === 'already_resolved' && next === ERRORS[code].next) return ''
  const isGeneral = Object.hasOwn(ERRORS, code) && next === ERRORS[code as keyof typeof ERRORS].next
  if (!isGeneral) return next
  const own = fixOf(message)
  if (own !== undefined) return fixStep(own)
  return /`hub [a-z]|, then try again$/.test(message) ? '' : next
}

const isKind = (value: unknown): value is ErrorKind =>
  value === 'refused' || value === 'unavailable' || value === 'fault'

/** Reads a problem document (RFC 9457) of the hub. Missing parts come from the table or the status, so any answer gives one line. */
export function problemFrom(status: number, document: unknown): Problem {
  const found = (typeof document === 'object' && document !== null ? document : {}) as Record<string, unknown>
  // The watchdog does not know the hub's codes: its refusal counts as a conflict, and its text says why.
  const code = typeof found.code === 'string' ? found.code : status === 409 ? 'conflict' : 'internal'
  const row = Object.hasOwn(ERRORS, code) ? ERRORS[code as keyof typeof ERRORS] : undefined
  const kind = isKind(found.kind) ? found.kind : (row?.kind ?? (status >= 500 ? 'fault' : 'refused'))
  // The watchdog sends only `error`.
  const said = [found.detail, found.error].find((text) => typeof text === 'string')
  const detail = said ?? row?.next ?? `the answer was ${status}`
  const next = typeof found.next === 'string' ? found.next : (row?.next ?? 'see `hub doctor`')
  return new Problem(code, kind, detail, next, found)
}

/** The exit code of a problem. A mode counts as a refusal although it passes: scripts must not simply try again. */
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

/** Any thrown value as a problem; an unknown error is a bug of the command. */
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
