/** What a coding CLI says, on its way to the log and into its result; shared by the drivers that read events. */
import { keepLarge } from './ending.ts'
import type { LogLevel, LogLines } from './log-lines.ts'
import type { StreamValue } from './stream-run.ts'

/** Of a value that is longer so much of its text stays in the result: that has 64 KiB in all. */
const VALUE_BYTES = 48 * 1024
const TEXT_CHARS = 8 * 1024

/** A value too long for a result becomes an artifact as a whole, and the beginning of its text stays. */
export async function fitting(value: StreamValue, workspace: string): Promise<object> {
  if (Buffer.byteLength(JSON.stringify(value)) <= VALUE_BYTES) return value
  const text = `${value.text.slice(0, TEXT_CHARS).toWellFormed()}...`
  return { ...value, text, whole: await keepLarge(workspace, value) }
}

/**
 * What is no sign of work, errors and standard error, goes to the log a few lines at a time, and the rest with the next sign of work or at the
 * end. Each line of a log is a sign of life to the hub, and a CLI that tries for ever to reach its model shall count as silent.
 */
export function createHeld(log: LogLines) {
  const [atOnce, keptMax] = [5, 50]
  const kept: { text: string; level: LogLevel | undefined }[] = []
  let [told, leftOut] = [0, 0]
  return {
    add(text: string, level?: LogLevel): void {
      if (text.trim() === '') return
      told += 1
      if (told <= atOnce) log.add(text, level)
      else kept.push({ text, level })
      if (kept.length <= keptMax) return
      kept.shift()
      leftOut += 1
    },
    release(): void {
      if (leftOut > 0) log.add(`... ${leftOut} lines left out ...`, 'warn')
      for (const { text, level } of kept.splice(0)) log.add(text, level)
      told = 0
      leftOut = 0
    },
  }
}
