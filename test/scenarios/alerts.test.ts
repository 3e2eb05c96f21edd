/** Alerts of a whole hub: what is raised by whom, what a critical one does, and that a crash loses none (S1-19, S1-34, S1-67, T92, T98). */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { ask, createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'
import { createSigningClient } from '../support/signing-client.ts'

const MAIN = fileURLToPath(new URL('../../hub/main.ts', import.meta.url))

interface Seen {
  id: string
  cause: string
  severity: string
  state: string
  resolvedAtMs: number | null
}
async function alertsOf(h: Harness, all = false): Promise<Seen[]> {
  const { body } = await h.operator('GET', `/v1/alerts?all=${all}`)
  return body.alerts as Seen[]
}
const causes = async (h: Harness) => (await alertsOf(h)).map(({ cause, severity }) => `${severity} ${cause}`)
const forge = (h: Harness) =>
  h.pumped(
    ask(join(h.home, 'run', 'watchdog.sock'), 'POST', '/v1/lease', { version: 1 }, { 'hub-mac': 'f'.repeat(64) }),
  )
const mode = (h: Harness) => h.hub.guard.modes.current()
const one = { one: { script: puppet, card: { restarts: 0 } } }

/** HTTP sinks on this machine that a channel may reach. */
async function sink(answer: (nth: number, response: ServerResponse) => void) {
  const got: { id: string; body: string }[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (part) => {
      body += part
    })
    request.on('end', () => {
      got.push({ id: String(request.headers['webhook-id']), body })
      answer(got.length, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const close = () => {
    server.closeAllConnections()
    server.close()
  }
  return { got, close, url: `http://127.0.0.1:${port}/in`, local: [`127.0.0.1:${port}`] }
}

describe('a critical alert', () => {
  test('a forged lease makes the hub safe until the operator ends that alert by its id; what runs goes on (T92, S1-67) [cond-21, alert-15]', async () => {
    await using h = await createHarness({ agents: one })
    const [running] = await h.bring('one')
    expect((await forge(h)).status).toBe(401)
    await forge(h)
    expect(mode(h)).toBe('safe')
    expect(await causes(h)).toEqual(['critical lease_forged'])
    expect(h.task(running.joined?.task.task ?? '').state).toBe('running')
    const { status } = await h.operator('GET', '/v1/health')
    expect(status).toBe(200)
    expect((await h.operator('POST', '/v1/tasks', { agent: 'one' })).body.code).toBe('mode_safe')

    const [{ id } = { id: '' }] = await alertsOf(h)
    expect((await h.operator('POST', '/v1/mode/resume', {})).body.code).toBe('conflict')
    const other = '018f0000-0000-7000-8000-000000000001'
    expect((await h.operator('POST', '/v1/mode/resume', { alert: other })).body.code).toBe('conflict')
    expect(mode(h)).toBe('safe')
    expect((await h.operator('POST', '/v1/mode/resume', { alert: id })).body.mode).toBe('normal')
    expect(await alertsOf(h)).toEqual([])
    expect(await alertsOf(h, true)).toMatchObject([{ cause: 'lease_forged', resolvedAtMs: expect.any(Number) }])
    expect(h.events('hub.alert.raised.v1')).toHaveLength(1)
    expect(h.events('hub.alert.resolved.v1')).toHaveLength(1)
    const record = h.audit().findLast(({ action }) => action === 'mode.resumed')
    expect(record).toMatchObject({ outcome: 'ok', resource: `alert:${id}`, principal: 'operator' })
  })

  test('holds over a restart [cond-21]', async () => {
    await using h = await createHarness({ agents: one })
    await forge(h)
    await h.kill()
    await h.start()
    expect(mode(h)).toBe('safe')
    expect(await causes(h)).toEqual(['critical lease_forged'])
  })

  test('an old lease sent again is a warning, and the mode stays', async () => {
    await using h = await createHarness({ agents: one })
    expect(await h.lease({ counter: 1 })).toBe(401)
    expect([mode(h), await causes(h)]).toEqual(['normal', ['warning lease_refused']])
  })

  test('a record that was changed is found by `audit verify`, which raises it [alert-11]', async () => {
    await using h = await createHarness({ agents: one })
    await h.submit('one')
    const { store } = h.hub.guard
    store.prepare('drop trigger audit_record_is_append_only_update').run()
    store.prepare("update audit_record set reason = 'another' where seq = 1").run()
    expect((await h.operator('GET', '/v1/audit/verify')).body.ok).toBe(false)
    expect([mode(h), await causes(h)]).toEqual(['safe', ['critical audit_chain_broken']])
  })

  test('a container that is changed while it runs ends its session, at once or within a minute (S1-51) [alert-13]', async () => {
    await using h = await createHarness({ agents: { ...one, two: { script: puppet, card: { restarts: 0 } } } })
    const [changed] = await h.bring('one')
    h.engine.alterInspect = (answer) => {
      const labels = answer.Config?.Labels as Record<string, string> | undefined
      if (labels?.['hub.agent'] === 'one' && answer.HostConfig) answer.HostConfig.Privileged = true
    }
    await h.until(() => changed.ended.aborted, 'it is stopped', 500)
    expect(h.task(changed.joined?.task.task ?? '')).toMatchObject({ state: 'failed', error: { code: 'forbidden' } })
    const { body } = await h.operator('GET', `/v1/sessions/${changed.session}`)
    expect(body.session).toMatchObject({
      exit: 'security',
      detail: expect.stringContaining('no longer as the hub made it: '),
    })
    expect([mode(h), (await causes(h))[0]]).toEqual(['safe', `critical profile_mismatch:${changed.session}`])
  })
})

describe('what an agent can provoke (S1-67)', () => {
  test('a second key on its socket is contained and a warning, however often; the mode stays [alert-17]', async () => {
    await using h = await createHarness({ agents: one })
    for (let round = 0; round < 3; round += 1) {
      const [victim] = await h.bring('one')
      const thief = createSigningClient({
        socketPath: victim.socketPath,
        clock: h.clock,
        ended: new AbortController().signal,
      })
      await h.pumped(thief.ask({ method: 'POST', path: '/v1/join', body: { publicKey: thief.publicKey } }))
      await h.quiet()
    }
    expect([mode(h), await causes(h)]).toEqual(['normal', ['warning session_stopped:one']])
    const begunMs = h.clock.wallMs()
    // In parts: each may take its own time on a machine that is busy.
    for (const part of [900_000, 1_800_000, 2_700_000, 3_400_000])
      await h.until(() => h.clock.wallMs() - begunMs > part, 'time passes', 20_000)
    await h.until(() => !h.hub.guard.alerts.isOpen('session_stopped:one'), 'it is over', 20_000)
    expect(h.clock.wallMs() - begunMs).toBeGreaterThan(3_500_000)
  })

  test('bad tokens, a flood and refusals are contained: no alert is more than a warning, and the mode stays [alert-17]', async () => {
    const talker = { script: puppet, card: { may: { message: [] }, messages: { sends: { t: null } } } }
    await using h = await createHarness({ agents: { talker }, config: { limits: { messages: { perSecond: 20 } } } })
    const [agent] = await h.bring('talker')
    const codes = new Set<unknown>()
    const tries = async (count: number, one: () => Promise<{ body: Record<string, unknown> }>) => {
      for (let nth = 0; nth < count; nth += 1) codes.add((await h.pumped(one())).body.code)
    }
    await tries(30, () => agent.ask({ method: 'POST', path: '/v1/renew', body: {}, token: 'a.b.c' }))
    await tries(30, () => agent.ask({ method: 'POST', path: '/v1/send', body: {}, token: 'a.b.c' }))
    const letter = { kind: 'request', to: 'agent:nobody', type: 't', body: {} } as const
    await h.pumped(
      Promise.all(Array.from({ length: 200 }, () => agent.send(letter).then(({ body }) => codes.add(body.code)))),
    )
    expect([...codes]).toEqual(expect.arrayContaining(['unauthenticated', 'rate_limited']))
    await h.clock.advance(5000)
    expect((await causes(h)).filter((each) => each.startsWith('critical'))).toEqual([])
    expect(mode(h)).toBe('normal')
  })

  test('ending without a result as often as its card allows is a warning, over when it is reset [alert-17]', async () => {
    await using h = await createHarness({
      agents: { bad: { script: worker(() => Promise.reject(new Error('no'))), card: { restarts: 0 } } },
    })
    await h.ended(await h.submit('bad'))
    expect([mode(h), await causes(h)]).toEqual(['normal', ['warning agent_unhealthy:bad']])
    await h.operator('POST', '/v1/agents/bad/reset', {})
    await h.until(() => h.hub.guard.alerts.list().length === 0, 'the alert ends', 500)
  })
})

describe('the channels of a hub', () => {
  test('`alert test` says of each what it answered; one that hangs, fails or redirects delays none (T98) [alert-25]', async () => {
    const good = await sink((_nth, response) => response.writeHead(200).end())
    const bad = await sink((_nth, response) => response.writeHead(500).end())
    const moved = await sink((_nth, response) => response.writeHead(302, { location: good.url }).end())
    const silent = await sink(() => undefined)
    const hook = (name: string, { url, local }: { url: string; local: string[] }) => ({
      kind: 'webhook',
      name,
      url,
      local,
    })
    await using h = await createHarness({
      agents: one,
      config: {
        alerts: {
          channels: [
            hook('silent', silent),
            hook('bad', bad),
            hook('moved', moved),
            hook('good', good),
            { kind: 'file' },
          ],
        },
      },
    })
    const { status, body } = await h.operator('POST', '/v1/alerts/test', {})
    expect(status).toBe(200)
    expect(
      (body.hub as { channel: string; ok: boolean; answer: string }[]).map(({ channel, ok, answer }) => [
        channel,
        ok,
        answer,
      ]),
    ).toEqual([
      ['silent', false, 'it took too long'],
      ['bad', false, 'it answered 500'],
      ['moved', false, 'it answered 302: redirects are not followed'],
      ['good', true, 'HTTP 200'],
      ['file', true, 'written'],
    ])
    expect(body).toMatchObject({ watchdog: null, watchdogAway: true })
    expect((await h.operator('POST', '/v1/alerts/test', { channel: 'good' })).body.hub).toMatchObject([{ ok: true }])
    expect((await h.operator('POST', '/v1/alerts/test', { channel: 'nobody' })).body.code).toBe('conflict')
    expect(readFileSync(join(h.home, 'logs', 'alerts.log'), 'utf8')).toContain('Nothing has happened')

    await forge(h)
    await h.until(() => good.got.length === 3, 'the good one is told', 20)
    await h.stop()
    expect(good.got).toHaveLength(3)
    for (const each of [good, bad, moved, silent]) each.close()
  })

  test('nothing configured is said at the start and by the doctor; with a channel each has its row [alert-24]', async () => {
    await using h = await createHarness({ agents: one })
    expect(h.complaints.filter(({ msg }) => msg.startsWith('no alert channel is configured'))).toHaveLength(1)
    const rows = async (home: Harness) =>
      ((await home.operator('GET', '/v1/doctor')).body.checks as { name: string; ok: boolean | null; detail: string }[])
        .filter(({ name }) => name.startsWith('alerts'))
        .map(({ name, ok }) => [name, ok])
    expect(await rows(h)).toEqual([
      ['alerts file', true],
      ['alerts', false],
    ])
    const config = { alerts: { channels: [{ kind: 'command', run: ['/bin/true'] }, { kind: 'file' }] } }
    await using other = await createHarness({ agents: one, config })
    expect(await rows(other)).toEqual([
      ['alerts command', null],
      ['alerts file', true],
    ])
    // A process of its own, that is: its time by the clock is not to pass before it has a core.
    await other.pumped(ask(join(other.home, 'run', 'operator.sock'), 'POST', '/v1/alerts/test', {}, {}), 1)
    expect(await rows(other)).toContainEqual(['alerts command', true])
    await using alone = await createHarness({ agents: one, config: { alerts: { channels: [{ kind: 'file' }] } } })
    expect(await rows(alone)).toContainEqual(['alerts', null])
  })

  test('wrong settings stop the start and name their line', async () => {
    const home = mkdtempSync(join(tmpdir(), 'ha-'))
    const { readConfig } = await import('../../hub/config.ts')
    const refusal = (text: string) => {
      writeFileSync(join(home, 'hub.yaml'), text)
      try {
        readConfig(join(home, 'hub.yaml'))
        return 'accepted'
      } catch (thrown) {
        return (thrown as Error).message
      }
    }
    const channels = (line: string) => `alerts:\n  channels:\n    - { kind: file }\n    - ${line}\n`
    expect(refusal(channels('{ kind: webhook, url: "https://x.example/", secretFrom: hook, name: out }'))).toBe(
      'accepted',
    )
    for (const [line, words] of [
      ['{ kind: pigeon }', 'kind'],
      ['{ kind: file, path: logs/b.log, colour: red, name: b }', 'colour'],
      ['{ kind: file }', 'two channels are called file'],
      ['{ kind: webhook }', 'either url or urlFrom'],
      ['{ kind: webhook, urlFrom: secret-address }', 'hosts'],
      ['{ kind: command, run: [mail] }', 'absolute path'],
      ['{ kind: email, host: h, from: a@b.example, to: "a@b.example, c@d.example" }', 'plain address'],
      ['{ kind: email, host: h, from: a@b.example, to: a@b.example, password: hunter2 }', 'password'],
    ] as const) {
      const said = refusal(channels(line))
      expect(said, line).toContain(words)
      expect(said, line).toMatch(/hub\.yaml line 4, column \d+:/)
      expect(said).not.toContain('hunter2')
    }
    expect(refusal('alerts:\n  zone: Mars/Olympus\n')).toMatch(
      /line 2, column \d+: alerts.zone: must be an IANA time zone/,
    )
    expect(refusal('alerts:\n  quiet: { from: "25:00", to: "07:00" }\n')).toMatch(
      /line 2, column \d+: alerts.quiet.from/,
    )
    expect(refusal('alerts:\n  channels: []\n')).toMatch(/at least one channel/)
    rmSync(home, { recursive: true })
  })
})

test('a hub killed between the row and the delivery tells it after its restart, under the same id (T98) [alert-1]', async () => {
  let answering = false
  const told = await sink((_nth, response) => void (answering && response.writeHead(200).end()))
  const folder = mkdtempSync(join(tmpdir(), 'ha-'))
  const home = join(folder, 'home')
  execFileSync(process.execPath, [MAIN, 'init', '--home', home], { stdio: 'ignore' })
  const settings = {
    http: { port: 0 },
    metrics: { port: 0 },
    engine: { socket: join(home, 'no-engine.sock') },
    alerts: { channels: [{ kind: 'webhook', url: told.url, local: told.local }] },
  }
  writeFileSync(join(home, 'hub.yaml'), JSON.stringify(settings), { mode: 0o600 })
  const serve = async () => {
    const hub = spawn(process.execPath, [MAIN, 'serve', '--home', home], { stdio: ['ignore', 'pipe', 'ignore'] })
    await new Promise<void>((resolve, reject) => {
      hub.stdout.once('data', () => resolve())
      hub.once('exit', () => reject(new Error('the hub ended')))
    })
    return { hub, ended: new Promise((resolve) => hub.once('exit', resolve)) }
  }
  const until = (check: () => boolean) => expect.poll(check, { timeout: 120_000 }).toBe(true)
  try {
    const first = await serve()
    await ask(join(home, 'run', 'watchdog.sock'), 'POST', '/v1/lease', { version: 1 }, { 'hub-mac': 'f'.repeat(64) })
    await until(() => told.got.length > 0)
    first.hub.kill('SIGKILL')
    await first.ended
    const [{ id, body } = { id: '', body: '' }] = told.got
    expect(body).toContain('lease_forged')
    answering = true
    const second = await serve()
    await until(() => told.got.length > 1)
    expect(told.got[1]?.id).toBe(id)
    second.hub.kill('SIGTERM')
    await second.ended
    expect(told.got.filter((each) => each.body.includes('"cause":"lease_forged"')).length).toBe(2)
  } finally {
    told.close()
    rmSync(folder, { recursive: true, force: true })
  }
})
