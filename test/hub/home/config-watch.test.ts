/** The watch of hub.yaml, with real files and a clock that is handed in; and what is live, key by key, against what the rings read. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest'
import { HubError } from '../../../hub/base/errors.ts'
import { silentLog } from '../../../hub/base/telemetry.ts'
import { type Config, configOf, configShape, judgeConfig, readConfigFile } from '../../../hub/config.ts'
import { createForce } from '../../../hub/config-force.ts'
import { ringsOf } from '../../../hub/config-rings.ts'
import { type ConfigWatchParts, createConfigWatch } from '../../../hub/home/config-watch.ts'
import { TIERS } from '../../../hub/protocol/approval.ts'
import { leavesOf } from '../../../hub/protocol/keys.ts'
import { type GuardHome, openGuardHome } from '../../support/guard-home.ts'

let at: GuardHome
let file: string
function watched(text: string | undefined, parts: Partial<ConfigWatchParts<Config>> = {}) {
  if (text !== undefined) writeFileSync(file, text)
  const read = readConfigFile(file)
  const force = createForce(read)
  const applied: string[][] = []
  const watch = createConfigWatch(
    { path: file, text: read.text },
    {
      ...{ clock: at.clock, log: silentLog(), guard: at.guard, force, prepare: () => undefined },
      applied: (changed) => void applied.push([...changed]),
      ...parts,
    },
  )
  return {
    force,
    applied,
    view: watch.view,
    /** A look each second. */
    async looks(count: number, between: (nth: number) => void = () => undefined) {
      for (let nth = 0; nth < count; nth += 1) {
        between(nth)
        watch.look()
        await at.clock.advance(1000)
      }
    },
    alerts: () => at.guard.alerts.list().map(({ cause, text: said }) => `${cause}: ${said}`),
    records: () =>
      at
        .records()
        .filter(({ action }) => action === 'config.applied')
        .map(({ outcome, effect, reason }) => [outcome, outcome === 'ok' ? effect : reason]),
  }
}

describe('hub.yaml, watched (S0-13, S0-14)', () => {
  beforeEach(() => {
    at = openGuardHome()
    file = join(at.folder, 'hub.yaml')
  })
  afterEach(() => at[Symbol.dispose]())

  test('a change takes effect once it rests, and its record names the keys', async () => {
    const hub = watched('logLevel: info\n')
    await hub.looks(3)
    expect([hub.applied, hub.records(), hub.alerts()]).toEqual([[], [], []])
    writeFileSync(file, 'logLevel: debug\nlimits: { sessions: 9 }\n')
    await hub.looks(1)
    expect(hub.force.now().logLevel).toBe('info')
    await hub.looks(2)
    expect([hub.force.now().logLevel, hub.force.now().limits.sessions]).toEqual(['debug', 9])
    expect(hub.applied).toEqual([['logLevel', 'limits.sessions']])
    expect(hub.records()).toEqual([['ok', 'logLevel, limits.sessions']])
  })

  test('another way to write the same value is no change', async () => {
    const hub = watched('limits: { ttl: 60s }\n')
    writeFileSync(file, '# the same\nlimits: { ttl: 1m, sessions: 12 }\nlogLevel: info\n')
    await hub.looks(4)
    expect([hub.applied, hub.records()]).toEqual([[], []])
  })

  test('a key that needs a restart keeps its value, is named, and the rest takes effect', async () => {
    const hub = watched('http: { port: 7400 }\n')
    writeFileSync(file, 'http: { port: 7500 }\nengine: { socket: /run/other.sock }\nlogLevel: warn\n')
    await hub.looks(4)
    const { http, engine, logLevel } = hub.force.now()
    expect([http.port, engine.socket, logLevel]).toEqual([7400, '/var/run/docker.sock', 'warn'])
    expect(hub.alerts()).toEqual([expect.stringMatching(/^restart_needed: .*http\.port, engine\.socket.*hub restart/)])
    expect(hub.records()).toEqual([['ok', 'logLevel; after a restart: http.port, engine.socket']])
    expect(hub.view().keys.filter(({ file: other }) => other !== null)).toMatchObject([
      { key: 'http.port', value: '7400', source: 'hub.yaml', live: 'restart', file: '7500' },
      { key: 'engine.socket', value: '/var/run/docker.sock', source: 'default', file: '/run/other.sock' },
    ])
    writeFileSync(file, 'http: { port: 7400 }\nlogLevel: warn\n')
    await hub.looks(4)
    expect(hub.alerts()).toEqual([])
  })

  test('fault C14: a file with a fault changes nothing, is refused in the record, and the alert has its line', async () => {
    const hub = watched('logLevel: info\n')
    writeFileSync(file, 'logLevel: debug\nlimits:\n  sesions: 4\n')
    await hub.looks(4)
    expect(hub.force.now().logLevel).toBe('info')
    expect(hub.alerts()).toEqual([expect.stringMatching(/^config_refused: .*line 3, column 3: limits\.sesions: /)])
    expect(hub.records()).toEqual([['refused', expect.stringMatching(/line 3, column 3: limits\.sesions/)]])
    expect(hub.view().fault).toMatch(/line 3/)
    await hub.looks(5)
    expect(hub.records()).toHaveLength(1)
    writeFileSync(file, 'logLevel: [\n')
    await hub.looks(4)
    expect(hub.alerts()).toEqual([expect.stringMatching(/^config_refused: .*line \d/)])
    expect(hub.records().map(([outcome]) => outcome)).toEqual(['refused', 'refused'])
    writeFileSync(file, 'logLevel: debug\n')
    await hub.looks(4)
    expect([hub.alerts(), hub.force.now().logLevel]).toEqual([[], 'debug'])
  })

  test('a file that changes with every look is judged only now and then, and at the end as it is', async () => {
    const hub = watched('limits: { sessions: 4 }\n')
    let text = ''
    await hub.looks(60, (nth) => {
      text = `limits: { sessions: ${5 + nth} }\n${'#'.repeat(nth)}`
      writeFileSync(file, text)
    })
    expect(hub.applied.length).toBeGreaterThan(2)
    expect(hub.applied.length).toBeLessThanOrEqual(6)
    await hub.looks(4)
    expect(hub.force.now().limits.sessions).toBe(64)
    expect(hub.records()).toHaveLength(hub.applied.length)
  })

  test('a file that is replaced by a rename, and a link that is turned, are seen', async () => {
    const hub = watched('logLevel: info\n')
    writeFileSync(`${file}.swp`, 'logLevel: warn\n')
    renameSync(`${file}.swp`, file)
    await hub.looks(4)
    expect(hub.force.now().logLevel).toBe('warn')
    const outside = join(at.folder, 'elsewhere')
    mkdirSync(outside)
    writeFileSync(join(outside, 'a.yaml'), 'logLevel: error\n')
    rmSync(file)
    symlinkSync(join(outside, 'a.yaml'), file)
    await hub.looks(4)
    expect(hub.force.now().logLevel).toBe('error')
    // At the start the same link is read in the same way.
    expect(readConfigFile(file).config.logLevel).toBe('error')
  })

  it.each([
    ['is gone', (): void => undefined, /the file is gone/],
    ['is a folder', () => mkdirSync(file), /no plain file|folder/],
    ['leads nowhere', () => symlinkSync('/nowhere/at/all', file), /not there/],
    ['leads in a circle', () => symlinkSync(file, file), /circle/],
    ['is huge', () => writeFileSync(file, '#'.repeat(64 * 1024 + 1)), /larger than 64 KiB/],
  ] as const)('a file that %s changes nothing and is told, and is refused at a start alike', async (_, turn, words) => {
    const hub = watched('logLevel: warn\n')
    rmSync(file)
    turn()
    await hub.looks(4)
    expect(hub.force.now().logLevel).toBe('warn')
    expect(hub.alerts()).toEqual([expect.stringMatching(words)])
    expect(hub.records().map(([outcome]) => outcome)).toEqual(['refused'])
    if (!/gone/.test(words.source)) expect(() => readConfigFile(file)).toThrow(words)
    rmSync(file, { recursive: true, force: true })
    writeFileSync(file, 'logLevel: debug\n')
    await hub.looks(4)
    expect([hub.alerts(), hub.force.now().logLevel]).toEqual([[], 'debug'])
  })

  test('a hub that began without a file misses none, and takes the one that is made', async () => {
    const hub = watched(undefined)
    await hub.looks(4)
    expect([hub.alerts(), hub.records()]).toEqual([[], []])
    writeFileSync(file, 'logLevel: debug\n')
    await hub.looks(4)
    expect(hub.force.now().logLevel).toBe('debug')
  })

  it.each(['EMFILE', 'ENFILE'])(
    '%s ends that look only: nothing is refused, and the next look tries again',
    async (code) => {
      const left = { mark: 3, text: 3 }
      const failing = (what: 'mark' | 'text'): string => {
        left[what] -= 1
        if (left[what] >= 0) throw Object.assign(new Error(code), { code })
        return readFileSync(file, 'utf8')
      }
      const files = {
        markOf: () => failing('mark'),
        textOf: () => failing('text'),
      }
      const hub = watched('logLevel: info\n', { files })
      writeFileSync(file, 'logLevel: debug\n')
      await hub.looks(6)
      expect([hub.alerts(), hub.records(), hub.force.now().logLevel]).toEqual([[], [], 'info'])
      await hub.looks(4)
      expect([left, hub.records(), hub.force.now().logLevel]).toEqual([
        { mark: expect.any(Number), text: expect.any(Number) },
        [['ok', 'logLevel']],
        'debug',
      ])
      expect(left.text).toBeLessThan(0)
    },
  )

  test('what cannot be recorded is not in force, and is tried again', async () => {
    let isFull = true
    const admit: typeof at.guard.gate.admit = (call, effect) =>
      at.guard.gate.admit(call, (grant) => {
        const result = effect(grant)
        if (isFull) throw new HubError('store_unavailable', 'the disk is full')
        return result
      })
    const hub = watched('logLevel: info\n', { guard: { ...at.guard, gate: { ...at.guard.gate, admit } } })
    writeFileSync(file, 'logLevel: debug\n')
    await expect(hub.looks(4)).rejects.toMatchObject({ code: 'store_unavailable' })
    expect([hub.force.now().logLevel, hub.applied]).toEqual(['info', []])
    isFull = false
    await hub.looks(4)
    expect([hub.force.now().logLevel, hub.applied]).toEqual(['debug', [['logLevel']]])
  })

  test('what the process cannot do is refused before anything is taken over', async () => {
    const prepare = () => {
      throw new HubError('config_invalid', 'log.file: it is not there')
    }
    const hub = watched('', { prepare })
    writeFileSync(file, 'log: { file: /nowhere/x.log }\nlogLevel: debug\n')
    await hub.looks(4)
    expect(hub.force.now().logLevel).toBe('info')
    expect(hub.alerts()).toEqual([expect.stringContaining('log.file: it is not there')])
  })
})

describe('what is live (S0-13)', () => {
  const PUBLIC_KEY = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
  /** Another value for every key. A key that is new must be given one here. */
  const OTHER: Readonly<Record<string, unknown>> = {
    upstreams: { llama: { kind: 'openai', url: 'http://127.0.0.1:11434', local: true, price: 'free' } },
    'egress.inSafe': false,
    'egress.taskBytes': '1MiB',
    'egress.cacheBytes': 0,
    profile: 'development',
    'audit.forward': [{ kind: 'file', path: 'logs/audit.jsonl' }],
    'approvals.read.wait': '5h',
    'approvals.read.waitRunning': '5m',
    'approvals.read.onTimeout': 'defer',
    'approvals.write.wait': '5h',
    'approvals.write.waitRunning': '5m',
    'approvals.write.onTimeout': 'defer',
    'approvals.execute.wait': '5h',
    'approvals.execute.waitRunning': '5m',
    'approvals.execute.onTimeout': 'defer',
    'approvals.destructive.wait': '5h',
    'approvals.destructive.waitRunning': '5m',
    'approvals.destructive.onTimeout': 'defer',
    'approvals.external.wait': '5h',
    'approvals.external.waitRunning': '5m',
    'approvals.external.onTimeout': 'defer',
    'images.signature.mode': 'warn',
    'images.signature.run': ['/bin/true'],
    'images.signature.timeout': '7s',
    'images.scan.mode': 'warn',
    'images.scan.run': ['/bin/true'],
    'images.scan.timeout': '7s',
    ...{ 'budget.call.usd': '1 USD', 'budget.call.tokens': 9000 },
    ...{ 'budget.attempt.usd': '1 USD', 'budget.attempt.tokens': 9000, 'budget.attempt.calls': 90 },
    ...{ 'budget.tree.usd': '1 USD', 'budget.tree.tokens': 9000, 'budget.tree.calls': 90 },
    ...{ 'budget.agentDay.usd': '1 USD', 'budget.agentDay.tokens': 9000, 'budget.agentDay.calls': 90 },
    ...{ 'budget.day.usd': '1 USD', 'budget.day.tokens': 9000, 'budget.day.calls': 90 },
    ...{ 'budget.day.soft': '0.5 USD', 'budget.hour.input': 9000, 'budget.hour.output': 9000 },
    ...{ 'budget.keyRefusals': 5, 'budget.delegations': 30 },
    ...{ 'budget.ceiling.call.usd': '60 USD', 'budget.ceiling.call.tokens': 90_000_000 },
    ...{
      'budget.ceiling.attempt.usd': '60 USD',
      'budget.ceiling.attempt.tokens': 90_000_000,
      'budget.ceiling.attempt.calls': 90_000,
    },
    ...{
      'budget.ceiling.tree.usd': '60 USD',
      'budget.ceiling.tree.tokens': 90_000_000,
      'budget.ceiling.tree.calls': 90_000,
    },
    ...{
      'budget.ceiling.agentDay.usd': '60 USD',
      'budget.ceiling.agentDay.tokens': 90_000_000,
      'budget.ceiling.agentDay.calls': 90_000,
    },
    ...{
      'budget.ceiling.day.usd': '60 USD',
      'budget.ceiling.day.tokens': 90_000_000,
      'budget.ceiling.day.calls': 90_000,
    },
    ...{ 'budget.ceiling.hour.input': 90_000_000, 'budget.ceiling.hour.output': 90_000_000 },
    'policy.failClosed': false,
    'policy.requireSignature': true,
    'policy.publicKey': PUBLIC_KEY,
    logLevel: 'debug',
    'log.file': 'logs/other.log',
    'log.maxSize': '1MiB',
    'log.keep': 2,
    'http.port': 7400,
    'metrics.port': 9135,
    'tracing.endpoint': 'http://127.0.0.1:4318',
    'tracing.sample': 0.5,
    'reach.publicUrl': 'https://hub.example.org',
    'reach.hosts': ['hub.example.org'],
    'reach.trustedProxy': true,
    'engine.socket': '/run/other.sock',
    'engine.runtime': 'runsc',
    'engine.callTimeout': '7s',
    'engine.firstUser': 100_000,
    'health.interval': '11s',
    'health.timeout': '2s',
    'health.failures': 7,
    'limits.ttl': '7m',
    'limits.memory': '64MiB',
    'limits.cpus': 2,
    'limits.pids': 64,
    'limits.tmp': '32MiB',
    'limits.workspace': '64MiB',
    'limits.openFiles': 128,
    'limits.sessions': 7,
    'limits.sessionsPerAgent': 3,
    'limits.delegationDepth': 2,
    'limits.tasksPerTree': 9,
    'limits.recycles': 5,
    'limits.joinWindow': '11s',
    'limits.questionWait': '3m',
    'limits.inputBytes': '1MiB',
    'limits.artifactBytes': '2MiB',
    'limits.messages.perSecond': 50,
    'limits.messages.recordsPerHour': 1000,
    'limits.agents': { echo: { ttl: '3m' } },
    'alerts.channels': [{ kind: 'file', path: 'logs/mine.log' }],
    'alerts.zone': 'Europe/Berlin',
    'alerts.quiet': { from: '22:00', to: '07:00' },
    'disk.warnPercent': 20,
    'disk.noNewTasksPercent': 6,
    'disk.degradedPercent': 3,
    'disk.degradedBytes': '100MB',
    'retention.tasks': '48h',
    'retention.artifacts': '48h',
    'retention.evidence': '48h',
    'retention.alerts': '48h',
    'retention.audit': '48h',
    'retention.logs': '50MiB',
    shutdownTimeout: '7s',
    staleAfter: '3h',
  }
  /** Keys that count only beside another one. */
  const BESIDE: Readonly<Record<string, object>> = {
    'policy.requireSignature': { policy: { publicKey: PUBLIC_KEY } },
    'images.signature.mode': { images: { signature: { run: ['/bin/true'] } } },
    'images.scan.mode': { images: { scan: { run: ['/bin/true'] } } },
  }
  const LEAVES = leavesOf(configShape)
  /** `base` with this value too. */
  const textWith = (path: readonly string[], value: unknown, base: object = {}): string => {
    const whole = structuredClone(base) as Record<string, unknown>
    let inside = whole
    for (const step of path.slice(0, -1)) {
      inside[step] ??= {}
      inside = inside[step] as Record<string, unknown>
    }
    inside[path.at(-1) ?? ''] = value
    return JSON.stringify(whole)
  }
  const card = { name: 'echo', limits: {}, may: { egress: [] } } as unknown as Parameters<
    ReturnType<typeof ringsOf>['work']['limitsOf']
  >[0]
  /** All that the rings can read now. A spread reads every getter and every view. */
  const readBy = ({ guard, work, edge }: ReturnType<typeof ringsOf>) =>
    JSON.stringify([{ ...guard }, { ...work, card: work.limitsOf(card) }, { ...edge }])

  test('what a session, a tree of tasks or a question keeps from its beginning is not said to change at once', () => {
    const next = LEAVES.filter(({ live }) => live === 'next').map(({ path }) => path.join('.'))
    expect(next).toEqual([
      ...['health.interval', 'health.timeout', 'health.failures'],
      ...['limits.ttl', 'limits.memory', 'limits.cpus', 'limits.pids', 'limits.tmp', 'limits.workspace'],
      ...['limits.openFiles', 'limits.delegationDepth', 'limits.questionWait', 'limits.messages.perSecond'],
      'limits.agents',
      // The wait of an approval is written into its row when it is asked.
      ...TIERS.flatMap((tier) => ['wait', 'waitRunning', 'onTimeout'].map((key) => `approvals.${tier}.${key}`)),
    ])
  })

  test('every key has another value to try', () =>
    expect(Object.keys(OTHER).sort()).toEqual(LEAVES.map(({ path }) => path.join('.')).sort()))

  it.each(LEAVES.map((leaf) => [leaf.path.join('.'), leaf] as const))(
    '%s: what the rings read follows, or waits',
    (key, { path, live }) => {
      const beside = BESIDE[key] ?? {}
      const start = JSON.stringify(beside)
      const force = createForce({ config: configOf(start, 'x'), text: start })
      const rings = ringsOf(force.now)
      const before = readBy(rings)
      const text = textWith(path, OTHER[key], beside)
      expect(judgeConfig(text).faults).toEqual([])
      const plan = force.plan(text)
      if ('faults' in plan) throw new Error('it has faults')
      expect([plan.changed, plan.waiting]).toEqual(live === 'restart' ? [[], [key]] : [[key], []])
      const undo = force.take(plan)
      // The log is the process's own, and no ring reads its keys.
      const isRead = live !== 'restart' && !key.startsWith('log')
      expect(readBy(rings) !== before).toBe(isRead)
      expect(force.rows(undefined).find((row) => row.key === key)?.source).toBe(
        live === 'restart' ? 'default' : 'hub.yaml',
      )
      undo()
      expect(readBy(rings)).toBe(before)
    },
  )

  test('from any file to any other: what is in force is what the new file says, but for the keys that wait', () => {
    // One key needs another beside it.
    const some = fc.subarray(
      LEAVES.filter(({ path }) => BESIDE[path.join('.')] === undefined),
      { minLength: 0 },
    )
    const textOf = (leaves: typeof LEAVES) => {
      let whole: object = {}
      for (const { path } of leaves) whole = JSON.parse(textWith(path, OTHER[path.join('.')], whole)) as object
      return JSON.stringify(whole)
    }
    fc.assert(
      fc.property(some, some, (first, second) => {
        const force = createForce({ config: configOf(textOf(first), 'x'), text: textOf(first) })
        const plan = force.plan(textOf(second))
        if ('faults' in plan) throw new Error('it has faults')
        force.take(plan)
        const kept = first.filter(({ live }) => live === 'restart')
        const taken = second.filter(({ live }) => live !== 'restart')
        expect(force.now()).toEqual(configOf(textOf([...kept, ...taken]), 'x'))
      }),
      { numRuns: 50 },
    )
  })
})

describe('a secret in hub.yaml, by its shape (S0-24)', () => {
  const PLACES = [
    'alerts: { channels: [{ kind: push, url: "%" }] }',
    'alerts: { channels: [{ kind: command, run: [/usr/bin/say, "%"] }] }',
    'reach: { publicUrl: "%" }',
  ]
  const SECRETS = [
    'https://hooks.slack.com/services/T000/B000/abcdefabcdef',
    'https://user:hunter2hunter2@push.example.org/t',
    'https://push.example.org/t?auth=hunter2hunter2',
    'https://push.example.org/d1f0a7c2-1111-4222-8333-444455556666',
    'https://push.example.org/aB3dE5gH7jK9mN1p',
    'https://discord.com/api/webhooks/123/abc-def',
    'https://ntfy.example.org/t?x=tk_abcdefghijklmnopqrstuvwxyz123',
  ]
  it.each(PLACES.flatMap((place) => SECRETS.map((secret) => [place, secret] as const)))(
    'in %s: %s is refused with its key, and never shown',
    (place, secret) => {
      const said = JSON.stringify(judgeConfig(place.replace('%', secret)).faults)
      expect(said).toMatch(/alerts\.channels\[0\]\.(?:url|run\[1\])|reach\.publicUrl/)
      expect(said).toContain('HOME/secrets/NAME (mode 0600) or into HUB_SECRET_NAME')
      for (const part of secret.split(/[/:@?=]/).filter((each) => each.length > 8)) expect(said).not.toContain(part)
    },
  )

  it.each(['https://ntfy.sh/my-hub-alerts', 'http://127.0.0.1:2586/hub', 'https://hooks.example.org/in/hub-2026'])(
    '%s is no secret',
    (url) => expect(judgeConfig(`alerts: { channels: [{ kind: push, url: "${url}" }] }`).faults).toEqual([]),
  )

  test('what is shown of an address is where it leads', () => {
    const text = 'alerts: { channels: [{ kind: push, url: "https://ntfy.sh/my-hub-alerts" }] }'
    const rows = createForce({ config: configOf(text, 'x'), text }).rows(undefined)
    const shown = rows.find(({ key }) => key === 'alerts.channels')?.value
    expect(shown).toContain('https://ntfy.sh/[hidden]')
    expect(JSON.stringify(rows)).not.toContain('my-hub-alerts')
  })
})
