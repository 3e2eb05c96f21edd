/** The two processes of a home: finds them, starts one and waits until it is ready, waits until one is gone. */
import { spawn } from 'node:child_process'
import { chmodSync, closeSync, fstatSync, mkdirSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { diskWords } from '../../base/disk-words.ts'
import { namedIn, passedOn } from '../../base/passed-on.ts'
import { NO_DEBUGGER, WITHOUT_CORES } from '../../base/start-clean.ts'
import { watchdogFileOf } from '../../base/watchdog-words.ts'
import { Problem } from '../problem.ts'
import { clean } from './text.ts'

export interface Program {
  /** `hub` or `watchdog`. */
  name: string
  /** Script and arguments for Node. */
  argv: readonly string[]
  log: string
}
export interface Started {
  pid: number
  ready: Readonly<Record<string, unknown>>
}

const READY_MS = 30_000
const LINES_SHOWN = 10
const LOG_BYTES_MAX = 256 * 1024

const program = (script: string): string => fileURLToPath(new URL(`../../../${script}`, import.meta.url))
export const hubArgv = (
  home: string,
  verb: 'adopt' | 'serve' | 'init' | 'restore' | 'renew-keys' | 'undo-update' | 'doctor',
): string[] => [program('hub/main.ts'), verb, '--home', home]
export const watchdogArgv = (home: string): string[] => [program('watchdog/main.ts'), '--home', home]

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** The process of a pid file, or undefined if it is gone: another process may have the same number by now. */
export function processOf(pidFile: string, home: string): number | undefined {
  let pid: number
  try {
    pid = Number(readFileSync(pidFile, 'utf8').trim())
  } catch {
    return undefined
  }
  return isAlive(pid, home) ? pid : undefined
}

/** Whether the process runs and was started for this home. A zombie does not run: its command line is empty. */
export function isAlive(pid: number, home: string): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 1) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(home)
  } catch {
    // On Linux the process has just ended. Without /proc the number is all there is.
    return process.platform !== 'linux'
  }
}

/** Waits until the process is gone. False when it still runs at the end. */
export async function waitGone(pid: number, home: string, waitMs: number): Promise<boolean> {
  const endAtMs = Date.now() + waitMs
  while (isAlive(pid, home)) {
    if (Date.now() > endAtMs) return false
    await sleep(50)
  }
  return true
}

/** What the log gained since `from`, its last 256 KiB at most. */
function readFrom(file: string, from: number): string {
  const fd = openSync(file, 'r')
  try {
    const end = fstatSync(fd).size
    // Its process rotates a full log; the new file starts at 0.
    const start = Math.max(end < from ? 0 : from, end - LOG_BYTES_MAX)
    const buffer = Buffer.alloc(Math.max(0, end - start))
    readSync(fd, buffer, 0, buffer.length, start)
    return buffer.toString('utf8')
  } finally {
    closeSync(fd)
  }
}

/** The last progress line of a slow start: `{"starting": what, "done": n, "of": m}`. */
function progressLine(text: string): string | undefined {
  return text.split('\n').findLast((line) => line.startsWith('{"starting":') && line.endsWith('}'))
}

function progressText(line: string | undefined): string {
  if (line === undefined) return ''
  try {
    const { starting, done, of } = JSON.parse(line) as { starting: string; done: number; of: number }
    return `: ${clean(starting)}, ${Math.floor((100 * done) / Math.max(1, of))} %`
  } catch {
    return ''
  }
}

function readyLine(text: string): Started['ready'] | undefined {
  for (const line of text.split('\n')) {
    if (!line.startsWith('{') || !line.includes('"ready"')) continue
    try {
      const value = JSON.parse(line) as Record<string, unknown>
      if (value.ready === true) return value
    } catch {
      // The line is not whole yet.
    }
  }
  return undefined
}

/** Every process is started through this shell: without core dumps, without a debugger (faults F15, F19). */
export const SHELL = '/bin/sh'
export const cleanArgv = (argv: readonly string[]): string[] => [
  '-c',
  WITHOUT_CORES,
  process.execPath,
  NO_DEBUGGER,
  ...argv,
]

/** Only listed variables are passed on (fault F20): agents' secrets to the hub alone, variables that the watchdog's configuration names to the watchdog. */
export function environmentOf(name: string, home: string, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  if (name === 'hub') return passedOn(env)
  const own = Object.fromEntries(Object.entries(env).filter(([key]) => !key.startsWith('HUB_SECRET_')))
  return passedOn(own, namedIn(watchdogFileOf(home)?.text ?? ''))
}

/** Makes the compile cache private to this account, even if an earlier version made it readable (fault F17). Node can do without it. */
function keepCachePrivate(cache: string): void {
  try {
    mkdirSync(cache, { recursive: true, mode: 0o700 })
    chmodSync(cache, 0o700)
  } catch {
    // A full disk, or a folder of another account.
  }
}

/**
 * Starts a process that outlives the command, with its output in its log, and waits for its ready line. A process that is not ready in
 * time is ended, so that nothing half started stays. @throws Problem with its last lines
 */
export async function startProcess(
  wanted: Program,
  options: { home: string; cache: string; readyMs?: number; note: (text: string) => void },
): Promise<Started> {
  mkdirSync(path.dirname(wanted.log), { recursive: true, mode: 0o700 })
  keepCachePrivate(options.cache)
  const fd = openSync(wanted.log, 'a', 0o600)
  const from = fstatSync(fd).size
  const before = process.umask(0o077)
  const child = spawn(SHELL, cleanArgv(wanted.argv), {
    cwd: options.home,
    detached: true,
    stdio: ['ignore', fd, fd],
    env: { ...environmentOf(wanted.name, options.home, process.env), NODE_COMPILE_CACHE: options.cache },
  })
  process.umask(before)
  closeSync(fd)
  let ended: string | undefined
  child.on('error', (error) => {
    ended = error.message
  })
  child.on('exit', (code, signal) => {
    ended = signal === null ? `it ended with exit code ${code}` : `${signal} ended it`
  })
  const startedAtMs = Date.now()
  const readyMs = options.readyMs ?? READY_MS
  // Counts from the last progress line: a slow start that makes progress is not ended.
  let progress: string | undefined
  let progressAtMs = startedAtMs
  for (let said = 0; ; ) {
    const text = readFrom(wanted.log, from)
    const ready = readyLine(text)
    const word = progressLine(text)
    if (word !== progress) {
      progress = word
      progressAtMs = Date.now()
    }
    if (ready !== undefined && ended === undefined && child.pid !== undefined) {
      child.unref()
      return { pid: child.pid, ready }
    }
    const spentMs = Date.now() - startedAtMs
    if (ended !== undefined || Date.now() - progressAtMs > readyMs) break
    if (spentMs > (said + 1) * 2_000) {
      said += 1
      options.note(`starting the ${wanted.name} ... ${Math.round(spentMs / 1000)} s${progressText(progress)}`)
    }
    await sleep(25)
  }
  const ran = ended ?? `it was not ready within ${readyMs / 1000} s and was ended`
  if (ended === undefined) child.kill('SIGTERM')
  child.unref()
  const lines = readFrom(wanted.log, from).trimEnd().split('\n').slice(-LINES_SHOWN)
  // Its own last line gives reason and remedy, which says more than its exit code.
  const word = lines.findLast((line) => line.startsWith(`${wanted.name}: `))?.slice(wanted.name.length + 2)
  // If it gave a reason, its log lines before that are left out.
  for (const line of lines)
    if (line !== '' && (word === undefined || !(line.startsWith('{') || line.endsWith(word)))) options.note(`  ${line}`)
  if (word !== undefined)
    throw new Problem('unreachable', 'unavailable', `the ${wanted.name} did not start: ${word}`, '')
  // On a full disk its last line never reached the log (fault G10).
  const full = logFault(wanted.log, `the ${wanted.name} did not start: ${ran}`)
  const [why, next] = full === undefined ? [ran, `see ${wanted.log}`] : [full, '']
  throw new Problem('unreachable', 'unavailable', `the ${wanted.name} did not start: ${why}`, next)
}

/** Adds a line to a log; returns why that failed, or undefined. */
function logFault(log: string, line: string): string | undefined {
  const bytes = Buffer.from(`${line}\n`)
  try {
    const fd = openSync(log, 'a', 0o600)
    try {
      if (writeSync(fd, bytes) < bytes.length) throw Object.assign(new Error('cut'), { code: 'ENOSPC' })
    } finally {
      closeSync(fd)
    }
    return undefined
  } catch (error) {
    return diskWords(error, log) ?? `${log} cannot be written: ${(error as Error).message}`
  }
}
