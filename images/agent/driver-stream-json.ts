/** The driver `stream-json`: a CLI that prints one JSON event a line and gets nothing but its arguments (docs/protocol.md 10). */
import { STOP_GRACE_MS } from '../../hub/protocol/stop-grace.ts'
import { expandArgv } from './argv.ts'
import { startChild } from './child.ts'
import { type DriverOptions, type Ending, failed, GRACE, onStop, RESULT_BYTES_MAX, readLog } from './ending.ts'
import { createLineSplitter, type Line } from './lines.ts'
import { createHeld, fitting } from './shown.ts'
import { readEvent } from './stream-events.ts'
import { createStreamRun, type Note, type Verdict } from './stream-run.ts'

/** A CLI that has told its end and prints nothing for so long is asked to end. */
const QUIET_END_MS = 3_000

export async function driveStreamJson(options: DriverOptions): Promise<Ending> {
  const { hub, env, workspace, cwd, log, input, earlier, said } = options
  const { task } = hub.joined
  const { argv } = expandArgv(options.argv, { input, params: task.params, spec: task.spec, earlier })
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
    for (const seen of readEvent(event)) {
      said?.(...(seen.kind === 'said' ? ([seen.text, seen.joins === true] as const) : (['', false] as const)))
      run.take(seen).forEach(show)
    }
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
