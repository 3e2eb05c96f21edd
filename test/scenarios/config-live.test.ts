/** hub.yaml changes under a whole hub with agents at work: what takes effect, for whom, and what says so (S0-13, S0-14, S0-25). */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { createHarness, puppet } from '../support/hub-harness.ts'

const TOLD = 'logs/mine.log'

test('a change counts at once or for new sessions, needs no restart, and a file with a fault changes nothing', async () => {
  const base = { http: { port: 0 }, metrics: { port: 0 }, limits: { sessions: 2, delegationDepth: 1 } }
  const disk = { blocks: 2_500_000, bavail: 750_000, bsize: 4096, files: 1_000_000, ffree: 500_000 }
  const agents = {
    one: { script: puppet },
    two: { script: puppet },
    big: { script: puppet, card: { limits: { memory: '64MiB' } } },
  }
  await using h = await createHarness({ agents, config: base, disk: () => disk })
  const write = (config: object) => writeFileSync(join(h.home, 'hub.yaml'), JSON.stringify(config))
  const causes = () => h.hub.guard.alerts.list().map(({ cause }) => cause)
  const applied = () => h.audit().filter(({ action }) => action === 'config.applied')

  // Two slots, one of them for children: the second task waits.
  const first = await h.submit('one')
  const second = await h.submit('two')
  await h.working(1)
  await h.until(() => h.hub.work.supervision.vitals.everyMs() === 5000, 'the loop runs')
  expect(h.task(second).state).toBe('queued')
  const [before] = h.sessionsOf(first)

  const limits = { sessions: 3, delegationDepth: 1, ttl: '5m', artifactBytes: '1KiB', messages: { perSecond: 7 } }
  const changed = {
    ...{
      http: { port: 0 },
      metrics: { port: 0 },
      limits,
      logLevel: 'debug',
      health: { interval: '2s' },
      disk: { warnPercent: 40 },
    },
    alerts: { channels: [{ kind: 'file', path: TOLD }], zone: 'Europe/Berlin' },
  }
  write(changed)
  await h.working(2)
  expect(applied().map(({ outcome, effect }) => [outcome, effect])).toEqual([
    [
      'ok',
      'logLevel, health.interval, limits.ttl, limits.sessions, limits.artifactBytes, limits.messages.perSecond, alerts.channels, alerts.zone, disk.warnPercent',
    ],
  ])
  expect(h.complaints.some(({ level, msg }) => level < 40 && msg.includes('hub.yaml was changed'))).toBe(true)

  // The session that ran keeps its hour and its signs of life; the new one has five minutes and owes one every two seconds.
  const [ran] = h.sessionsOf(first)
  const [fresh] = h.sessionsOf(second)
  const ttlOf = (session = fresh) => (session?.expiresAtMs ?? 0) - (session?.createdAtMs ?? 0)
  expect([ran?.expiresAtMs === before?.expiresAtMs, ttlOf(ran), ttlOf()]).toEqual([true, 3_600_000, 300_000])
  const { vitals } = h.hub.work.supervision
  expect([vitals.spansOf(ran?.id ?? '').intervalMs, vitals.spansOf(fresh?.id ?? '').intervalMs]).toEqual([30_000, 2000])
  await h.until(() => vitals.everyMs() === 1000, 'the loop looks often enough for the shorter one')

  // The disk has 30 % free, which was enough before. The new channel tells it.
  await h.until(() => causes().includes('disk_low'))
  await h.until(() => existsSync(join(h.home, TOLD)) && readFileSync(join(h.home, TOLD), 'utf8').includes('disk_low'))

  // A fault: nothing changes, the alert has the line, and the record is no `ok`.
  writeFileSync(join(h.home, 'hub.yaml'), 'limits:\n  sessions: 1\n  ttl: 5\n')
  await h.until(() => causes().includes('config_refused'))
  const shown = await h.operator('GET', '/v1/config')
  expect(shown.body.fault).toMatch(/line 3, column 8: limits\.ttl/)
  expect(shown.body.keys).toContainEqual({
    key: 'limits.sessions',
    value: '3',
    source: 'hub.yaml',
    live: 'now',
    file: null,
  })
  expect(applied().at(-1)).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('line 3, column 8') })

  // A port waits for a restart, and is named until then.
  write({ ...changed, reach: { hosts: ['hub.example.org'] } })
  await h.until(() => causes().includes('restart_needed'))
  expect(causes()).not.toContain('config_refused')
  expect(h.hub.guard.alerts.list().find(({ cause }) => cause === 'restart_needed')?.text).toContain('reach.hosts')
  await h.stop()
  await h.start()
  await h.until(() => !causes().includes('restart_needed'), 'the restart has taken it')

  // Another channel, and the one before hears nothing more.
  write({ ...changed, alerts: { channels: [{ kind: 'file', path: 'logs/other.log', name: 'other' }] } })
  await h.until(() => h.hub.guard.alertDelivery.states().some(({ channel }) => channel === 'other'))
  const size = readFileSync(join(h.home, TOLD)).length
  writeFileSync(join(h.home, 'hub.yaml'), 'x: 1\n')
  await h.until(() => existsSync(join(h.home, 'logs/other.log')))
  expect(readFileSync(join(h.home, TOLD)).length).toBe(size)

  // A card that asks for more than is allowed now starts nothing, and that is told.
  write({ ...changed, limits: { ...limits, memory: '32MiB' } })
  await h.until(() => causes().includes('cards_not_loaded'))
  const told = h.hub.guard.alerts.list().find(({ cause }) => cause === 'cards_not_loaded')?.text
  expect(told).toMatch(/by the card that it was started with: big\.yaml line \d+: limits\.memory/)
  const { registry } = h.hub.work.catalogue
  expect([registry.find('big'), registry.find('one')?.limits.memoryBytes]).toEqual([undefined, 32 * 1024 ** 2])
  write(changed)
  await h.until(() => registry.find('big') !== undefined && !causes().includes('cards_not_loaded'))
})

test('S0-25: the log moves to another file once that is committed and recorded, and not before', async () => {
  const moves: string[] = []
  const useLog = ({ file }: { file?: string | undefined }, isTrial = false) =>
    void moves.push(`${isTrial ? 'tried' : 'moved'} ${file}`)
  const config = { http: { port: 0 }, metrics: { port: 0 } }
  await using h = await createHarness({ agents: {}, config, useLog })
  const write = (file: string) => writeFileSync(join(h.home, 'hub.yaml'), JSON.stringify({ ...config, log: { file } }))
  const { store, alerts } = h.hub.guard
  store
    .prepare(`create temp trigger no_record before insert on audit_record when new.action = 'config.applied'
      begin select raise(abort, 'no'); end`)
    .run()
  write('logs/one.log')
  await h.until(() => moves.length > 1, 'it was tried twice')
  expect(new Set(moves)).toEqual(new Set(['tried logs/one.log']))
  store.prepare('drop trigger no_record').run()
  await h.until(() => moves.includes('moved logs/one.log'))
  write(join(h.home, 'logs', 'alerts.log'))
  await h.until(() => alerts.isOpen('config_refused'))
  expect(alerts.list().find(({ cause }) => cause === 'config_refused')?.text).toMatch(/log\.file: .* belongs to alerts/)
  expect(moves.at(-1)).toBe('moved logs/one.log')
})

test('S0-24: what a channel answers to its test is shown without the secrets that were tried', () => {
  const home = mkdtempSync(join(tmpdir(), 'cl-'))
  const secret = 'Canary-4711-of-a-channel'
  const text = `alerts: { channels: [{ kind: command, run: [/bin/sh, -c, "echo it was ${secret} >&2; exit 1"] }] }`
  const argv = [fileURLToPath(new URL('../../hub/try-alerts.ts', import.meta.url)), '--home', home]
  const input = JSON.stringify({ text, secrets: { push: secret }, names: ['command'] })
  const { stdout } = spawnSync(process.execPath, argv, { input, encoding: 'utf8' })
  rmSync(home, { recursive: true })
  expect(stdout).toContain('it was [redacted]')
  expect(stdout).not.toContain(secret)
})
