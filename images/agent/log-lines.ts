/**
 * A program's log on its way to the hub: line by line, bounded, at a bounded rate, in order.
 *
 * 1. Nothing here ever delays the program: lines that do not fit are left out, oldest first, and their number is reported.
 * 2. The last lines are kept: they say why a program failed.
 */

export interface LogLines {
  add(text: string, level?: LogLevel): void
  /**
   * Sends the waiting lines at once, without the rate limit; resolves when all are sent or the time is over. If half of it is over, only
   * the last few are still sent.
   */
  flush(withinMs: number): Promise<void>
}
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface LogLinesOptions {
  post: (text: string, level: LogLevel) => Promise<void>
  linesMax?: number
  burst?: number
  everyMs?: number
}

/** So many lines are still sent when a flush takes long: otherwise a slow hub would get the first of them and never the last. */
const LAST_LINES = 10
/** Half of what the hub takes as one entry. */
const CHARS_MAX = 4096
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms).unref())

export function createLogLines(options: LogLinesOptions): LogLines {
  const { post, linesMax = 200, burst = 50, everyMs = 50 } = options
  const waiting: { text: string; level: LogLevel }[] = []
  let leftOut = 0
  let credit = burst
  let creditAt = performance.now()
  let sending: Promise<void> | undefined
  let hurry = false

  async function pace(): Promise<void> {
    const now = performance.now()
    credit = Math.min(burst, credit + (now - creditAt) / everyMs)
    creditAt = now
    credit -= 1
    if (credit < 0 && !hurry) await sleep(-credit * everyMs)
  }
  async function send(): Promise<void> {
    while (waiting.length > 0) {
      await pace()
      // Newer lines pushed these out while the program wrote faster than the rate allows.
      const gap = leftOut
      leftOut = 0
      const next = gap > 0 ? { text: `... ${gap} lines left out ...`, level: 'warn' as const } : waiting.shift()
      // A line the hub refuses is lost; the container's own log has it too.
      if (next !== undefined) await post(next.text, next.level).catch(() => {})
    }
    sending = undefined
  }
  return {
    add(text, level = 'info') {
      if (text.trim() === '') return
      const short = text.length > CHARS_MAX ? `${text.slice(0, CHARS_MAX).toWellFormed()}...` : text
      waiting.push({ text: short, level })
      if (waiting.length > linesMax) {
        waiting.shift()
        leftOut += 1
      }
      sending ??= send()
    },
    async flush(withinMs) {
      hurry = true
      const cut = setTimeout(() => {
        leftOut += waiting.splice(0, Math.max(0, waiting.length - LAST_LINES)).length
      }, withinMs / 2)
      await Promise.race([sending, sleep(withinMs)])
      clearTimeout(cut)
    },
  }
}
