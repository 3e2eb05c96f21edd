/** Test files run once more, by a vitest of their own, on the engine behind another socket; what came of each is read from its report. */
import { spawn } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../..')
const VITEST = join(root, 'node_modules/vitest/vitest.mjs')
const WORDS_MAX = 600
/** Less than vitest.config.ts has: several suites run side by side, and some of their tests hold a time. */
const WORKERS = 2

export interface FileOutcome {
  passed: number
  skipped: number
  /** Each with the first words of why. */
  failed: string[]
}

interface Report {
  testResults: {
    name: string
    status: string
    message: string
    assertionResults: { status: string; fullName: string; failureMessages: string[] }[]
  }[]
}

/** By file. A file that vitest did not report is not in it. */
export async function runSuite(files: readonly string[], socket: string): Promise<Map<string, FileOutcome>> {
  const out = `/tmp/hub-suite-${process.pid}-${performance.now()}.json`
  const argv = ['run', ...files, `--maxWorkers=${WORKERS}`, '--reporter=json', `--outputFile=${out}`]
  // Whatever this vitest has told its own workers is not for another one.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(VITEST|TEST|TINYPOOL)/.test(name)))
  const child = spawn(process.execPath, [VITEST, ...argv], {
    cwd: root,
    env: { ...env, HUB_ENGINE_SOCKET: socket },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (piece: Buffer) => {
      said = (said + piece).slice(-4_000)
    })
  const stop = () => child.kill('SIGTERM')
  process.once('exit', stop)
  await new Promise((done) => child.once('close', done))
  process.off('exit', stop)
  let report: Report
  try {
    report = JSON.parse(readFileSync(out, 'utf8')) as Report
  } catch {
    throw new Error(`vitest left no report; it said: ${said}`)
  }
  rmSync(out, { force: true })
  return new Map(report.testResults.map((file) => [relative(root, file.name), outcomeOf(file)]))
}

/** Pure. A file that did not load has failed, though none of its tests has. */
export function outcomeOf(file: Report['testResults'][number]): FileOutcome {
  const all = file.assertionResults
  const failed = all
    .filter(({ status }) => status === 'failed')
    .map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages.join('; ').slice(0, WORDS_MAX)}`)
  if (file.status === 'failed' && failed.length === 0)
    failed.push(file.message.slice(0, WORDS_MAX) || 'it did not load')
  const passed = all.filter(({ status }) => status === 'passed').length
  return { passed, failed, skipped: all.length - passed - all.filter(({ status }) => status === 'failed').length }
}
