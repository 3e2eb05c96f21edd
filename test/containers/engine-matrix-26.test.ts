/** The matrix on Docker 26, which runs the fewest files; and what is left: an engine that is upgraded below running agents, and what an engine of a test leaves behind. */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { asking, buildImages, calm, goOn, isLeftOut, openOn, runMatrixOn } from '../support/engine-matrix.ts'
import { createOwnEngine } from '../support/own-engine.ts'

const no29 = isLeftOut('29')

runMatrixOn('26', 'Docker 26')

/** What mentions the folder: mounts in it, and processes, by pid and program. */
function leftOf(folder: string): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return [...mounts.filter((line) => line.includes(folder)), ...processesOf(folder)]
}
function processesOf(word: string): string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
  const lines = pids.map((pid) => `${pid} ${commandOf(pid)}`)
  return lines.filter((line) => line.includes(word))
}
function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

/** A container that nobody of ours knows; answers what its process is called by. */
async function runSomething(socket: string): Promise<string> {
  const mark = `mark-${process.pid}-${Math.round(performance.now())}`
  const Cmd = ['node', '-e', 'setInterval(() => undefined, 1000)', mark]
  const { Id } = JSON.parse(
    await post(socket, '/containers/create', { Image: 'hub/echo', Cmd, HostConfig: { NetworkMode: 'none' } }),
  ) as { Id: string }
  await post(socket, `/containers/${Id}/start`)
  // The engine answers before its `runc init` has become the process.
  for (let at = 0; processesOf(mark).length === 0 && at < 1200; at += 1) await sleep(100)
  return mark
}
function post(socketPath: string, path: string, body?: object): Promise<string> {
  const text = JSON.stringify(body) ?? ''
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
  return new Promise((done, fail) => {
    const asked = request({ socketPath, method: 'POST', path, headers }, (answer) => {
      let said = ''
      answer.setEncoding('utf8').on('data', (piece: string) => {
        said += piece
      })
      answer.on('end', () => ((answer.statusCode ?? 500) < 400 ? done(said) : fail(new Error(`${path}: ${said}`))))
    })
    asked.on('error', fail).end(text)
  })
}

const older = existsSync('/usr/sbin/dockerd')
  ? execFileSync('/usr/sbin/dockerd', ['--version'], { encoding: 'utf8' })
  : ''
const isOlder = Number(/version (\d+)\./.exec(older)?.[1] ?? 99) < 29

test.skipIf(no29 || !isOlder)(
  'fault A3: the machine’s engine is upgraded to 29, which refuses the API of before, below twelve agents at work: all go on in their sessions, and all can be stopped',
  { timeout: 900_000 },
  async () => {
    const engine = createOwnEngine('29-classic')
    try {
      engine.up({ program: 'machine', args: '--live-restore' })
      await using trial = await openOn(
        engine,
        'limits: { sessions: 13, sessionsPerAgent: 13, delegationDepth: 1, questionWait: 0 }',
      )
      const live = await Promise.all(Array.from({ length: 6 }, () => trial.submit('trial-once', { what: 'ask' })))
      const stay = await Promise.all(Array.from({ length: 6 }, () => trial.submit('trial-once', { what: 'hang' })))
      const before = await asking(trial, live)
      await trial.until(
        'twelve agents at work',
        trial.sessions,
        (open) => open.filter(({ state }) => state === 'working').length === stay.length,
      )
      await engine.end()
      engine.up({ args: '--live-restore', env: { DOCKER_MIN_API_VERSION: '1.44' } })
      await trial.untilNormal()
      await goOn(trial, live, before)
      await trial.ended(await trial.submit('trial', { what: 'work' }))
      for (const { id } of await trial.sessions()) await trial.hub.call('session.stop', { id }, { deadlineMs: 60_000 })
      await trial.ended(...stay)
      await calm(trial)
    } finally {
      engine.close()
    }
  },
)

describe.skipIf(no29)('an engine of a test leaves nothing behind', () => {
  test.each([
    ['when it was killed below a container', true],
    ['when the test that it is for has ended', false],
  ])('%s', async (_, killed) => {
    const holder = spawn('sleep', ['600'])
    const engine = createOwnEngine('29-classic', holder.pid)
    const folder = dirname(dirname(engine.socket))
    engine.up()
    buildImages(engine.socket)
    const name = await runSomething(engine.socket)
    expect(leftOf(folder)).not.toEqual([])
    expect(processesOf(name)).not.toEqual([])
    if (killed) {
      await engine.end('SIGKILL')
      engine.close()
    } else {
      holder.kill('SIGKILL')
      for (let at = 0; existsSync(folder) && at < 1200; at += 1) await sleep(100)
    }
    holder.kill('SIGKILL')
    expect(existsSync(folder)).toBe(false)
    // Who watches over the engine looks once a second, sees that the folder is gone, and ends.
    for (let at = 0; leftOf(folder).length > 0 && at < 1200; at += 1) await sleep(100)
    expect(leftOf(folder)).toEqual([])
    expect(processesOf(name)).toEqual([])
  })
})
