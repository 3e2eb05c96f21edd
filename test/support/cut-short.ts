/**
 * Cuts a program short at any of its calls that change a file: the whole process group dies there, a write done by half (cut-shim.c).
 * What is shown by it: no state a crash can leave behind keeps the next start from understanding it (house rule, fault G2).
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../..')

/** Compiles the shim; undefined where no compiler is at hand. */
export function compileCutShim(folder: string): string | undefined {
  const library = join(folder, 'cut-shim.so')
  const made = spawnSync('cc', ['-shared', '-fPIC', '-o', library, join(root, 'test/support/cut-shim.c'), '-ldl'])
  return made.status === 0 ? library : undefined
}

export interface Cut {
  /** Calls that were counted; with `at: 0` all that the program makes. */
  calls: number
  /** It died at the call and did not come to its own end. */
  isCut: boolean
  /** Its own end, where it came to it. */
  code: number | null
  said: string
}

/** Runs `node argv` until its call number `at` below `under`; 0 never cuts. With `arm`, counting begins once that file is there. */
export async function runCut(
  argv: readonly string[],
  options: {
    shim: string
    under: string
    at: number
    arm?: string
    /** For a program that serves: called once it says that it is ready; `stop` ends it as its own end. */
    onReady?: (stop: () => void) => Promise<void>
  },
): Promise<Cut> {
  const folder = mkdtempSync(join(tmpdir(), 'cut-'))
  const counter = join(folder, 'counter')
  writeFileSync(counter, Buffer.alloc(8))
  const child: ChildProcess = spawn(process.execPath, argv, {
    cwd: root,
    // A group of its own: what the program started dies with it, and nobody else.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      LD_PRELOAD: options.shim,
      CUT_UNDER: options.under,
      CUT_NOT: '/.git/',
      CUT_AT: String(options.at),
      CUT_COUNTER: counter,
      ...(options.arm === undefined ? {} : { CUT_ARM: options.arm }),
    },
  })
  let said = ''
  let isTold = false
  let isStopped = false
  const stop = () => {
    isStopped = true
    // Not counted any more: only what was asked of it is cut.
    if (options.arm !== undefined) rmSync(options.arm, { force: true })
    child.kill('SIGKILL')
  }
  const take = (text: Buffer) => {
    said += text
    if (isTold || options.onReady === undefined || !said.includes('"ready":true')) return
    isTold = true
    void options.onReady(() => {
      if (child.exitCode === null && child.signalCode === null) stop()
    })
  }
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', take)
  const { code, signal } = await new Promise<{ code: number | null; signal: string | null }>((done) =>
    child.on('close', (code, signal) => done({ code, signal })),
  )
  const calls = Number(readFileSync(counter).readBigInt64LE())
  rmSync(folder, { recursive: true })
  const isCut = signal === 'SIGKILL' && options.at > 0 && calls >= options.at
  return { calls, isCut, code: isStopped ? 0 : code, said }
}

/** Every call in the long form; else `few` of them, spread over all, the first and the last among them. */
export function callsToCut(calls: number, few: number): number[] {
  if (process.env.HUB_TEST_LONG === '1' || calls <= few) return Array.from({ length: calls }, (_, at) => at + 1)
  return Array.from({ length: few }, (_, at) => 1 + Math.round((at * (calls - 1)) / (few - 1)))
}
