/**
 * What tasks report of themselves: the newest progress and the last log lines, in memory, published as events.
 *
 * It is bounded in lines and in bytes, for each task and in all (fault F6). The oldest lines of a task go first. Above the total, all lines
 * of the task that was silent longest go. No text of it holds a secret (S1-62).
 */
import type { Clock } from '../base/clock.ts'
import { hideUnknown, type Redaction } from '../base/redaction.ts'

const LINES_PER_TASK_MAX = 500
const TASKS_MAX = 1000
export const TASK_BYTES_MAX = 512 * 1024
export const JOURNAL_BYTES_MAX = 16 * 1024 ** 2
/** What a line costs beside its text. */
const OVERHEAD_BYTES = 128

export interface Progress {
  text?: string
  done?: number
  total?: number
  atMs: number
}
export interface LogLine {
  atMs: number
  level: string
  text: string
}

export interface Journal {
  /** Answers what was kept, with its secrets masked: that may be told to others. */
  progress(task: string, progress: Omit<Progress, 'atMs'>): Progress
  log(task: string, line: Omit<LogLine, 'atMs'>): LogLine
  progressOf(task: string): Progress | undefined
  linesOf(task: string): LogLine[]
}

interface Entry {
  progress: Progress | undefined
  lines: LogLine[]
  bytes: number
}

/** Two bytes for each character, as if one of them needed two. */
const bytesOf = ({ text }: LogLine) => OVERHEAD_BYTES + 2 * text.length

/** What the shim puts where it cut a line (`images/agent/log-lines.ts`): a value may be cut there too. */
const CUT = '...'

export function createJournal(clock: Clock, redaction: Redaction = hideUnknown()): Journal {
  const hideLine = (text: string) =>
    text.endsWith(CUT) ? `${redaction.piece(text.slice(0, -CUT.length))}${CUT}` : redaction.text(text)

  const entries = new Map<string, Entry>()
  let bytes = 0

  function entryOf(task: string): Entry {
    const entry = entries.get(task) ?? { progress: undefined, lines: [], bytes: 0 }
    // The task that spoke last is the last in the map.
    entries.delete(task)
    entries.set(task, entry)
    if (entries.size > TASKS_MAX) forgetSilent()
    return entry
  }
  function forgetSilent(): void {
    const [oldest] = entries
    if (oldest === undefined) return
    entries.delete(oldest[0])
    bytes -= oldest[1].bytes
  }

  return {
    progress(task, progress) {
      const said = { ...redaction.value(progress), atMs: clock.wallMs() }
      entryOf(task).progress = said
      return said
    },
    log(task, line) {
      const entry = entryOf(task)
      const said = { ...line, text: hideLine(line.text), atMs: clock.wallMs() }
      entry.lines.push(said)
      entry.bytes += bytesOf(said)
      bytes += bytesOf(said)
      while (entry.lines.length > LINES_PER_TASK_MAX || entry.bytes > TASK_BYTES_MAX) {
        const gone = entry.lines.shift()
        if (gone === undefined) break
        entry.bytes -= bytesOf(gone)
        bytes -= bytesOf(gone)
      }
      while (bytes > JOURNAL_BYTES_MAX) forgetSilent()
      return said
    },
    progressOf: (task) => entries.get(task)?.progress,
    linesOf: (task) => entries.get(task)?.lines ?? [],
  }
}
