/** The driver `stream-json`: a CLI that prints one JSON event a line and gets nothing but its arguments (docs/protocol.md 10). */
import { STOP_GRACE_MS } from '../../hub/protocol/stop-grace.ts'
import { expandArgv } from './argv.ts'
import { startChild } from './child.ts'
import {
  type DriverOptions,
  type Ending,
  failed,
  GRACE,
  keepLarge,
  onStop,
  RESULT_BYTES_MAX,
  readLog,
} from './ending.ts'
import { createLineSplitter, type Line } from './lines.ts'
import type { LogLevel, LogLines } from './log-lines.ts'
import { readEvent } from './stream-events.ts'
import { createStreamRun, type Note, type StreamValue, type Verdict } from './stream-run.ts'

/** A CLI that has told its end and prints nothing for so long is asked to end. */
const QUIET_END_MS = 3_000
/** Of a value that is longer so much of its text stays in the result: that has 64 KiB in all. */
const VALUE_BYTES = 48 * 1024
const TEXT_CHARS = 8 * 1024

export async function driveStreamJson(options: DriverOptions): Promise<Ending> {
  const { hub, env, workspace, cwd, log, input } = options
  const { task } = hub.joined
  const { argv } = expandArgv(options.argv, { input, params: task.params, spec: task.spec })
  const child = startChild(argv, { env, cwd })
  options.silence.watch(child)
  // Some of them wait for the end of their input before they begin.
  child.endInput()
  onStop(hub, (graceMs) => child.stop({ termAfterMs: 0, killAfterMs: graceMs * GRACE.kill }))

  const run = createStreamRun()
  const held = createHeld(log)
  const show = ({ kind, text }: Note) => {
    if (kind === 'trouble') return held.add(text, 'warn')
    held.release()
    log.add(text)
    if (kind === 'call') hub.progress({ text })
  }
  const take = (line: Line) => {
    if (line.tooLong !== undefined) return show(run.skip(line.bytes.toString(), line.tooLong))
    const text = line.bytes.toString()
    const event = parse(text)
    // Beside their events they print warnings.
    if (event === undefined) return held.add(text)
    for (const seen of readEvent(event)) run.take(seen).forEach(show)
  }

  let parted = false
  let parting: NodeJS.Timeout | undefined
  const lines = createLineSplitter(RESULT_BYTES_MAX)
  const output = child.read('stdout', (chunk) => {
    lines.push(chunk).forEach(take)
    if (!run.hasEnded()) return
    clearTimeout(parting)
    parting = setTimeout(() => {
      parted = true
      child.stop({ termAfterMs: 0, killAfterMs: STOP_GRACE_MS })
    }, QUIET_END_MS)
  })
  const [exit] = await Promise.all([child.exit, output, readLog(child, 'stderr', { ...log, add: held.add })])
  clearTimeout(parting)
  lines.end().forEach(take)
  run.close().forEach(show)
  held.release()

  const silent = options.silence.ended()
  const verdict: Verdict =
    silent === undefined || run.hasEnded() ? run.judge(exit, parted) : { kind: 'crash', why: silent }
  if (verdict.kind === 'crash' && !hub.signal.aborted) return verdict
  hub.stopReason(run.reason())
  const value = await fitting(run.value(exit), workspace)
  if (verdict.kind === 'succeeded') return { kind: 'result', result: { outcome: 'succeeded', value } }
  return failed(verdict.why, value, verdict.kind === 'failed' ? verdict.code : undefined)
}

/** The event of a line; undefined where the line is none. */
function parse(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

/** A value too long for a result becomes an artifact as a whole, and the beginning of its text stays. */
async function fitting(value: StreamValue, workspace: string): Promise<object> {
  if (Buffer.byteLength(JSON.stringify(value)) <= VALUE_BYTES) return value
  const text = `${value.text.slice(0, TEXT_CHARS).toWellFormed()}...`
  return { ...value, text, whole: await keepLarge(workspace, value) }
}

/**
 * What is no sign of work, errors and standard error, goes to the log a few lines at a time, and the rest with the next sign of work or at the
 * end. Each line of a log is a sign of life to the hub, and a CLI that tries for ever to reach its model shall count as silent.
 */
function createHeld(log: LogLines) {
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
