/** Reading of `turn` and `chat_close` (turns.ts writes them). */
import type { StopReason } from '../../protocol/stop-reasons.ts'
import type { TurnState, TurnUsage } from '../../protocol/turn.ts'
import type { Store } from '../../store/database.ts'
import { isObject, readText } from '../../store/reading.ts'

export interface TurnRow {
  session: string
  id: string
  number: number
  prompt: string
  askedBy: string
  state: TurnState
  /** Its program works on it, also after it was cancelled, until it leaves it. */
  isOpen: boolean
  stopReason: StopReason | null
  error: string | null
  text: string
  textBytes: number
  /** There was more text than is kept. */
  isCut: boolean
  usage: TurnUsage | null
  createdAtMs: number
  startedAtMs: number | null
  endedAtMs: number | null
}

/** The beginning of a text that fits into so many bytes of UTF-8, cut between code points. Pure. */
export function fitting(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text.toWellFormed())
  if (bytes.length <= bytesMax) return bytes.toString()
  let end = Math.max(0, bytesMax)
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1
  return bytes.subarray(0, end).toString()
}

function rowOf(raw: unknown): TurnRow {
  const row = raw as Record<string, unknown>
  return {
    session: row.session,
    id: row.id,
    number: row.number,
    prompt: row.prompt,
    askedBy: row.asked_by,
    state: row.state,
    isOpen: row.is_open === 1,
    stopReason: row.stop_reason,
    error: row.error,
    text: row.text,
    textBytes: row.text_bytes,
    isCut: row.is_cut === 1,
    usage: readText<TurnUsage | null>((row.usage as string | null) ?? undefined, isObject, null),
    createdAtMs: row.created_at_ms,
    startedAtMs: row.started_at_ms,
    endedAtMs: row.ended_at_ms,
  } as TurnRow
}

export interface TurnRows {
  /** The last so many turns of a session before the one of that number, the first of them first. */
  of(session: string, last: number, before?: number): TurnRow[]
  turn(session: string, id: string): TurnRow | undefined
  /** What its program works on, or was told to leave and has not left. */
  openOf(session: string): TurnRow | undefined
  /** What waits, runs or is open, the first first. */
  unfinished(session: string): TurnRow[]
  /** The chat was told to end: since when, by the wall clock, and why. */
  closing(session: string): { atMs: number; why: string } | undefined
  /** Sessions in which something waits. */
  sessionsWaiting(): string[]
}

export function createTurnRows(store: Pick<Store, 'prepare'>): TurnRows {
  const many = (sql: string, ...values: unknown[]) =>
    store
      .prepare(sql)
      .all(...values)
      .map(rowOf)
  const isUnfinished = `(state in ('waiting', 'running') or is_open = 1)`
  return {
    of: (session, last, before = Number.MAX_SAFE_INTEGER) =>
      many(
        'select * from turn where session = ? and number < ? order by number desc limit ?',
        ...[session, before, last],
      ).reverse(),
    turn: (session, id) => many('select * from turn where session = ? and id = ?', session, id)[0],
    openOf: (session) => many('select * from turn where session = ? and is_open = 1', session)[0],
    unfinished: (session) => many(`select * from turn where session = ? and ${isUnfinished} order by number`, session),
    closing: (session) =>
      store.prepare('select at_ms as atMs, why from chat_close where session = ?').get(session) as
        | { atMs: number; why: string }
        | undefined,
    sessionsWaiting: () =>
      store.prepare(`select distinct session from turn where state = 'waiting'`).pluck().all() as string[],
  }
}
