/** The real watchdog process against the real engine, with no hub there at all. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { canonicalText, macHex } from '../../watchdog/base/digest.ts'
import { pathsOf } from '../../watchdog/base/home.ts'
import { exchange } from '../../watchdog/base/wire.ts'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'
import { KEY, makeHome } from '../support/watchdog-home.ts'

const MAIN = path.join(import.meta.dirname, '../../watchdog/main.ts')
const clock = createSystemClock()
const instance = randomUUID()

async function engine(
  method: 'GET' | 'POST' | 'DELETE',
  route: string,
  body?: object,
): Promise<{ status: number; json: unknown }> {
  const text = body === undefined ? {} : { body: JSON.stringify(body) }
  const reply = await exchange(clock, {
    socketPath: ENGINE_SOCKET,
    method,
    path: route,
    ...text,
    deadlineMs: 20_000,
    bytesMax: 8e6,
  })
  return { status: reply.status, json: reply.body.length > 0 ? JSON.parse(reply.body.toString()) : null }
}

async function imageAtHand(): Promise<string | null> {
  try {
    const { json } = await engine('GET', '/images/json')
    const found = (json as { Id: string; RepoTags: string[] | null }[]).find((one) =>
      one.RepoTags?.some((tag) => tag.startsWith('hub/echo:') || tag.startsWith('hub/agent:')),
    )
    return found?.Id ?? null
  } catch {
    return null
  }
}
const image = await imageAtHand()

const made: string[] = []
async function create(labels: Record<string, string>, run: boolean): Promise<string> {
  const { status, json } = await engine('POST', '/containers/create', {
    Image: image,
    // Deaf to SIGTERM as a hostile agent would be.
    Entrypoint: ['node', '-e', "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)"],
    Labels: labels,
    HostConfig: { NetworkMode: 'none', Memory: 128 * 2 ** 20 },
  })
  expect(status, JSON.stringify(json)).toBe(201)
  const id = (json as { Id: string }).Id
  made.push(id)
  if (run) expect((await engine('POST', `/containers/${id}/start`)).status).toBe(204)
  return id
}
const stateOf = async (id: string): Promise<string> => {
  const { status, json } = await engine('GET', `/containers/${id}/json`)
  return status === 404 ? 'gone' : (json as { State: { Status: string } }).State.Status
}

let child: ChildProcess | undefined
const home = makeHome()
beforeAll(() => {
  const paths = pathsOf(home.home)
  writeFileSync(paths.instance, `${instance}\n`)
  writeFileSync(
    path.join(paths.own, 'config.json'),
    JSON.stringify({
      port: 0,
      engineSocket: ENGINE_SOCKET,
      intervalMs: 500,
      orphanAgeMs: 1000,
      ttlGraceMs: 0,
      stopGraceMs: 1000,
      startGraceMs: 0,
    }),
  )
})
afterAll(async () => {
  child?.kill('SIGKILL')
  for (const id of made) await engine('DELETE', `/containers/${id}?force=1&v=1`)
  home.remove()
})

test.skipIf(image === null)(
  'T90, T94: with the hub dead an orphan in state created and a running one past its boot deadline are removed; live, foreign and unlabelled ones are not [watch-40, watch-44]',
  async () => {
    const now = clock.read()
    const labels = (session: string, bootMs: number) => ({
      'hub.instance': instance,
      'hub.session': session,
      'hub.expires-at': String(now.wallMs + 3_600_000),
      'hub.expires-boot': `${now.bootId}:${bootMs}`,
    })
    const live = await create(labels('slive', now.bootMs + 3_600_000), true)
    const late = await create(labels('slate', now.bootMs - 1), true)
    const orphan = await create(labels('sorphan', now.bootMs + 3_600_000), false)
    const foreign = await create({ ...labels('sforeign', now.bootMs - 1), 'hub.instance': randomUUID() }, false)
    const unlabelled = await create({}, false)
    const entry = (session: string, containerId: string) => ({
      session,
      container: session,
      containerId,
      agent: 'echo',
      generation: 1,
      attempt: 1,
      expiresAtMs: now.wallMs,
      expiresBoot: 'x:1',
    })
    const ledger = {
      version: 1,
      instance,
      epoch: 1,
      writtenAtMs: now.wallMs,
      mode: 'normal',
      sessions: [entry('slive', live), entry('slate', late)],
    }
    const { ledger: ledgerFile } = pathsOf(home.home)
    writeFileSync(ledgerFile, JSON.stringify({ ...ledger, mac: macHex(KEY, '', canonicalText(ledger)) }))

    execFileSync(process.execPath, [MAIN, '--home', home.home, '--init'])
    child = spawn(process.execPath, [MAIN, '--home', home.home], { stdio: 'ignore' })
    const deadlineMs = clock.read().bootMs + 120_000
    while (
      clock.read().bootMs < deadlineMs &&
      ((await stateOf(orphan)) !== 'gone' || (await stateOf(late)) !== 'gone')
    ) {
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    // Some rounds more, in which nothing else may go.
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    expect(await Promise.all([orphan, late, live, foreign, unlabelled].map(stateOf))).toEqual([
      'gone',
      'gone',
      'running',
      'created',
      'created',
    ])

    const reply = await exchange(clock, {
      socketPath: pathsOf(home.home).socket,
      method: 'POST',
      path: '/v1/shutdown',
      body: '{"reason":"test"}',
      deadlineMs: 120_000,
      bytesMax: 1e6,
    })
    expect(JSON.parse(reply.body.toString())).toMatchObject({
      path: 'watchdog',
      requested: 1,
      containers: [{ outcome: 'gone' }],
    })
    expect(await Promise.all([live, foreign, unlabelled].map(stateOf))).toEqual(['gone', 'created', 'created'])
  },
)
