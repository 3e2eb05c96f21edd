/** What tasks said of themselves: newest progress and the last log lines, in memory and bounded, published as events. */
import type { Clock } from '../base/clock.ts'

const LINES_PER_TASK_MAX = 500
const TASKS_MAX = 1000

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
  progress(task: string, progress: Omit<Progress, 'atMs'>): void
  log(task: string, line: Omit<LogLine, 'atMs'>): void
  progressOf(task: string): Progress | undefined
  linesOf(task: string): LogLine[]
}

export function createJournal(clock: Clock): Journal {
  const entries = new Map<string, { progress: Progress | undefined; lines: LogLine[] }>()
  const entryOf = (task: string) => {
    const known = entries.get(task)
    if (known !== undefined) return known
    const made = { progress: undefined, lines: [] }
    entries.set(task, made)
    const [oldest] = entries.keys()
    if (entries.size > TASKS_MAX && oldest !== undefined) entries.delete(oldest)
    return made as { progress: Progress | undefined; lines: LogLine[] }
  }
  return {
    progress(task, progress) {
      entryOf(task).progress = { ...progress, atMs: clock.wallMs() }
    },
    log(task, line) {
      const { lines } = entryOf(task)
      lines.push({ ...line, atMs: clock.wallMs() })
      if (lines.length > LINES_PER_TASK_MAX) lines.splice(0, lines.length - LINES_PER_TASK_MAX)
    },
    progressOf: (task) => entries.get(task)?.progress,
    linesOf: (task) => entries.get(task)?.lines ?? [],
  }
}
