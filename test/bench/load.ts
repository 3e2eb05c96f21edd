/** Normal running under full message load: every session says as much as the shipped quotas let it, and nothing may cry wolf. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { sleep } from '../../hub/client/cli/processes.ts'
import { type BenchHub, rssMb } from './bench-hub.ts'

const TICKS_PER_SECOND = 100
/** Between two lines of progress, and the longest that a wrong mode goes unseen. */
const LOOK_SECONDS = 60

/** What a session lives longer than it is watched. */
const SPARE_MS = 600_000

type Say = (line: string) => void

/** The topics of so many chatters: each says its own and hears its neighbour's, so that every message has one receiver. */
export const topicsOf = (sessions: number): string[] => Array.from({ length: sessions }, (_, at) => `load${at}`)

interface AlertLine {
  readonly event: string
  readonly severity: string
  readonly finding?: string
  readonly cause?: string
}

function linesOf(file: string): AlertLine[] {
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as AlertLine)
}
const raisedIn = (file: string, known: (line: AlertLine) => string | undefined): string[] =>
  linesOf(file).flatMap((line) => (line.event === 'raised' && line.severity !== 'info' ? [known(line) ?? '?'] : []))

/** Findings the watchdog has raised so far. */
export const raised = (home: string): string[] =>
  raisedIn(join(home, 'watchdog', 'alerts.log'), ({ finding }) => finding)

/** Causes the hub has raised so far. */
const raisedByHub = (home: string): string[] => raisedIn(join(home, 'logs', 'alerts.log'), ({ cause }) => cause)

/** Seconds of processor time a process has used. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

export interface Load {
  readonly recordsPerSecond: number
  /** Of one core, the watchdog. */
  readonly cpuPercent: number
  readonly alarms: readonly string[]
}

/** Runs `sessions` chatters for so long; says how it goes once a minute. */
export async function measureLoad(
  bench: BenchHub,
  { seconds, sessions }: { seconds: number; sessions: number },
  say: Say,
): Promise<Load> {
  const alarmsNow = () => [...raised(bench.home), ...raisedByHub(bench.home)]
  await bench.untilNormal()
  const before = alarmsNow().length
  const topics = topicsOf(sessions)
  const tasks = await Promise.all(
    topics.map((says, at) => {
      const hears = topics[(at + 1) % sessions]
      return bench.submit(`bench-chatter-${at}`, { says, hears }, seconds * 1000 + SPARE_MS)
    }),
  )
  const working = async () => (await bench.sessions()).filter(({ state }) => state === 'working').length
  await bench.until('chatters at work', working, (count) => count === sessions)
  const [size, cpu, startedAt] = [(await bench.health()).auditSize, cpuSeconds(bench.watchdogPid()), performance.now()]
  const spanSeconds = () => (performance.now() - startedAt) / 1000
  const lapses: string[] = []
  while (spanSeconds() < seconds) {
    await sleep(Math.min(LOOK_SECONDS, seconds - spanSeconds()) * 1000)
    const { mode, auditSize } = await bench.health()
    const left = await working()
    const each = Math.round((auditSize - size) / spanSeconds())
    say(
      `${Math.round(spanSeconds())} s: ${mode}, ${left} of ${sessions} at work, ${each} records/s, hub ${rssMb(bench.pid())} MiB, raised: ${alarmsNow().slice(before).join(', ') || 'nothing'}`,
    )
    if (mode !== 'normal' || left !== sessions) lapses.push(`${mode} with ${left} of ${sessions}`)
  }
  const took = spanSeconds()
  const recordsPerSecond = ((await bench.health()).auditSize - size) / took
  const cpuPercent = ((cpuSeconds(bench.watchdogPid()) - cpu) / took) * 100
  const alarms = [...alarmsNow().slice(before), ...lapses]
  for (const { id } of tasks) await bench.hub.call('task.cancel', { id })
  await bench.until('no session', bench.sessions, (open) => open.length === 0)
  return { recordsPerSecond, cpuPercent, alarms }
}
