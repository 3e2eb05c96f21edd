/** Homes made by `hub init`, started as real processes without an engine and without a port: what they say where they do not come up. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../..')
const program = (part: 'hub' | 'watchdog') => join(root, part, 'main.ts')

/** Runs a verb of the hub's own process to its end. */
export function runVerb(
  verb: string,
  home: string,
  ...more: string[]
): { code: number | null; out: string; err: string } {
  const done = spawnSync(process.execPath, [program('hub'), verb, ...more, '--home', home], { encoding: 'utf8' })
  return { code: done.status, out: done.stdout, err: done.stderr }
}

/** A new home; no engine is asked, no port is opened. */
export function newHome(home: string): string {
  const { code, err } = runVerb('init', home)
  if (code !== 0) throw new Error(err)
  withoutEngine(home)
  return home
}

export function withoutEngine(home: string): void {
  const config = { http: { port: 0 }, metrics: { port: 0 }, engine: { socket: join(home, 'none.sock') } }
  writeFileSync(join(home, 'hub.yaml'), `${JSON.stringify(config)}\n`)
}

/** With the modes, since keys open to others are refused, and without the word of where the home was made: a copy is another home (fault B4). */
export function copyHome(from: string, to: string): void {
  execFileSync('cp', ['-a', from, to])
  rmSync(join(to, 'place'), { force: true })
}

export interface Ended {
  isUp: boolean
  code: number | null
  /** Its lines on standard error, without those of the log. */
  said: string[]
  log: string
}

/** Starts hub or watchdog; one that comes up is killed at once. */
export function startProcess(
  home: string,
  part: 'hub' | 'watchdog' = 'hub',
  env: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  const words = part === 'hub' ? ['serve', '--home', home] : ['--home', home]
  const child = spawn(process.execPath, [program(part), ...words], { env: { ...process.env, ...env } })
  let log = ''
  const take = (text: Buffer) => {
    log += text
    if (log.includes('"ready":true')) child.kill('SIGKILL')
  }
  child.stdout.on('data', take)
  child.stderr.on('data', take)
  return new Promise((done) =>
    child.once('close', (code) => {
      const said = log.split('\n').filter((line) => line !== '' && !line.startsWith('{'))
      done({ isUp: log.includes('"ready":true'), code, said, log })
    }),
  )
}
