/**
 * hub.yaml, judged: what is wrong is said with line, column and key, in the person's own units and plain words (fault C3, fault C14); no secret
 * that stands there is ever shown (S0-24); every stated default is the one that holds; what the pages show is what is taken.
 */
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseDocument } from 'yaml'
import { HubError } from '../../hub/base/errors.ts'
import { requireOwnFiles } from '../../hub/base/lines-files.ts'
import { type Config, judgeConfig, readConfig, takeConfig } from '../../hub/config.ts'
import { limitsOfCard } from '../../hub/config-limits.ts'
import { ringsOf } from '../../hub/config-rings.ts'
import { agentCardShape, DEFAULT_LIMITS } from '../../hub/protocol/agent.ts'
import { faultText } from '../../hub/protocol/judging.ts'
import { sizeWritten, spanWritten } from '../../hub/protocol/spans.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cf-'))
})
afterEach(() => rmSync(folder, { recursive: true }))
const read = (text: string) => {
  writeFileSync(join(folder, 'hub.yaml'), text)
  return readConfig(join(folder, 'hub.yaml'))
}
const faults = (text: string) => judgeConfig(text).faults.map(faultText)

describe('a secret written into hub.yaml', () => {
  const CANARY = 'canary-value-4711'
  /** Where a person might put one: below every map that hub.yaml knows, under keys it does not know, and as the value of keys it does. */
  const UNKNOWN = ['token', 'secret', 'apiKey', 'password', 'HUB_SECRET_API_KEY', 'passwordForm']
  const MAPS = ['', 'http', 'reach', 'engine', 'health', 'limits', 'limits.agents.echo', 'alerts', 'disk', 'retention']
  const nest = (path: string, leaf: string) =>
    path === '' ? leaf : path.split('.').reduceRight((inner, key) => `{ ${key}: ${inner} }`, `{ ${leaf} }`)
  const KNOWN = ['logLevel', 'http.port', 'engine.runtime', 'engine.callTimeout', 'health.failures', 'limits.ttl']
  const KNOWN_TOO = [
    'limits.memory',
    'limits.cpus',
    'limits.sessions',
    'reach.publicUrl',
    'alerts.zone',
    'disk.degradedBytes',
  ]

  it.each(MAPS.flatMap((map) => UNKNOWN.map((key) => [map, key] as const)))(
    'S0-24: below %j, under the unknown key %s, stops the start by name and never by value',
    (map, key) => {
      const text = nest(map, `${key}: ${CANARY}`)
      expect(() => read(text)).toThrow(expect.objectContaining({ code: 'config_invalid' }))
      const said = faults(text).join('\n')
      const why = key === 'passwordForm' ? 'there is no such key' : 'holds a secret, which does not belong in this file'
      expect(said).toContain(`${map === '' ? '' : `${map}.`}${key}: ${why}`)
      expect(said).not.toContain(CANARY)
    },
  )

  it.each([...KNOWN, ...KNOWN_TOO])('S0-24: as the value of %s stops the start, and is not shown', (path) => {
    const keys = path.split('.')
    const text = nest(keys.slice(0, -1).join('.'), `${keys.at(-1)}: ${CANARY}`)
    const said = faults(text).join('\n')
    expect(said).toContain(`${path}: `)
    expect(said).not.toContain(CANARY)
  })

  it.each(['passwordFrom', 'user'])('S0-24: in a channel, %s takes a name and no secret is needed elsewhere', (key) => {
    const channel = `kind: email, host: a.example, from: a@b.example, to: a@b.example, ${key}: smtp`
    expect(faults(`alerts: { channels: [{ ${channel} }] }`)).toEqual([])
    const wrong = `alerts: { channels: [{ ${channel}, password: ${CANARY} }] }`
    expect(faults(wrong)).toEqual([
      expect.stringMatching(/alerts\.channels\[0\]\.password: holds a secret.*`passwordFrom: NAME`/),
    ])
    expect(faults(wrong).join()).not.toContain(CANARY)
  })
})

it.each(['hub.db', '../x.log', 'logs/../hub.db', 'logs', 'logs/', './keys/token.key'])(
  'log.file: %s of the home is refused (S0-25)',
  (file) => expect(faults(`log: { file: "${file}" }`)).toEqual([expect.stringMatching(/log\.file: must be below/)]),
)
it.each<[string, RegExp]>([
  ['log: { file: logs/alerts.log }', /log\.file: logs\/alerts\.log belongs to alerts/],
  ['log: { file: logs/../logs/alerts.log.3 }', /log\.file: .* belongs to alerts/],
  [
    'alerts: { channels: [{ kind: file, path: logs/hub.log }] }',
    /alerts\.channels\[0\]\.path: .* belongs to the hub's log/,
  ],
  ['alerts: { channels: [{ kind: file, path: hub.db }] }', /alerts\.channels\[0\]\.path: must be below/],
  [
    'log: { file: logs/a }\nalerts: { channels: [{ kind: file, path: logs/a.1 }] }',
    /alerts\.channels\[0\]\.path: .* belongs to the hub's log/,
  ],
  [
    'audit: { forward: [{ kind: file, path: logs/hub.log.new }] }',
    /audit\.forward\[0\]\.path: .* belongs to the hub's log/,
  ],
  [
    'audit: { forward: [{ kind: file, path: logs/a }, { kind: file, name: b, path: ./logs/a }] }',
    /audit\.forward\[1\]\.path: .* belongs to the forwarded audit log/,
  ],
])('%j: two kinds of lines never go to one file (S0-25)', (text, fault) => {
  expect(faults(text)).toEqual([expect.stringMatching(fault)])
})
it('a file of the home that is written in full is known too, when the home is', () => {
  const at = (text: string) => judgeConfig(text).config as Config
  expect(() => requireOwnFiles(at('log: { file: /h/logs/alerts.log }'), '/h')).toThrow(
    /log\.file: .* belongs to alerts/,
  )
  for (const text of [
    '',
    'log: { file: /h/logs/hub.log }',
    'alerts: { channels: [{ kind: file }] }\nlog: { file: logs/b }',
  ])
    expect(() => requireOwnFiles(at(text), '/h')).not.toThrow()
})
it.each(['logs/mine.log', './logs/a/b.log', '/var/log/hub.log'])('log.file: %s is taken', (file) =>
  expect(faults(`log: { file: "${file}" }`)).toEqual([]),
)

it('a file of nothing but unknown keys is judged without comparing each with each', () => {
  const text = (count: number) => Array.from({ length: count }, (_, at) => `k${at}: 1`).join('\n')
  expect(judgeConfig(text(4000)).faults).toHaveLength(20)
  expect(faults(text(2)).join()).toContain('line 2')
})

describe('a fault in hub.yaml (fault C14)', () => {
  it.each([
    ['limits:\n  sesions: 3\n', /^line 2, column 3: limits\.sesions: there is no such key; did you mean sessions\?$/],
    ['sessions: 4', /^line 1, column 1: sessions: there is no such key here; did you mean limits\.sessions\?$/],
    ['limits:\n  ttl: 48h\n', /^line 2, column 8: limits\.ttl: is 48h; its ceiling is 24h$/],
    ['limits:\n  agents:\n    echo: { memory: 9GiB }', /^line 3, column 21: .*memory: is 9GiB; its ceiling is 8GiB$/],
    ['limits: { memory: 16MiB }', /limits\.memory: is 16MiB; it must be at least 32MiB$/],
    ['limits: { ttl: 600 }', /limits\.ttl: must be a whole number above 0 with a unit \(ms, s, m, h, d\), as 10m$/],
    ['limits: { sessions: 300 }', /limits\.sessions: must be at most 255, and is 300$/],
    ['limits: { sessions: 3 }', /limits\.sessions: is 3, and limits\.delegationDepth is 3: it must be at least 4/],
    ['limits: { sessions: "12" }', /limits\.sessions: must be a number, and is a text$/],
    ['logLevel: wran', /^line 1, column 11: logLevel: must be one of .*silent; did you mean warn\?$/],
    [
      'alerts:\n  channels:\n    - kind: emial\n',
      /^line 3, column 13: alerts\.channels\[0\]\.kind: .*did you mean email\?$/,
    ],
    ['alerts:\n  channels:\n    - { kind: email }\n', /alerts\.channels\[0\]\.host: is missing/],
    ['reach: { publicUrl: here }', /reach\.publicUrl: must be an address, such as https/],
    ['http: 7', /http: must be a map of keys, and is a number$/],
    ['http:\n\tport: 1', /^line 2, column 1: a tab cannot indent; use spaces$/],
    ['http: { port: 1 }\nhttp: { port: 2 }', /^line 2, column 1: http: this key is there twice$/],
    ['a: &x 1\nb: *x', /an alias \(\*name\) is not accepted/],
    [
      'metrics: { port: 7300 }',
      /^line 1, column \d+: metrics\.port: is 7300, and so is http\.port: each needs a port of its own, or 0$/,
    ],
    [
      'tracing: { endpoint: "https://collector.example.org:4318" }',
      /tracing\.endpoint: must be an address, such as http:\/\/127/,
    ],
    ['tracing: { endpoint: "http://10.0.0.7:4318" }', /tracing\.endpoint: must be on this machine/],
    ['tracing: { endpoint: "http://me:word@127.0.0.1:4318" }', /tracing\.endpoint: holds a secret/],
    ['tracing: { sample: 2 }', /tracing\.sample: must be at most 1/],
    ['http: { port: 9134 }', /metrics\.port: is 9134, and so is http\.port/],
    ['limits: { sessions: 5', /a bracket is not closed$/],
    ['- 1', /^line 1, column 1: must be a map of keys, and is a list$/],
  ])('%j is named with its place, and in plain words', (text, words) => {
    const said = faults(text)
    expect(said[0]).toMatch(words)
    expect(said.join('\n')).not.toMatch(/Invalid|expected|received|Unrecognized|undefined|NaN/)
  })

  it('S0-12: both listeners may be off, and each has a port of its own without a file', () => {
    expect(faults('http: { port: 0 }\nmetrics: { port: 0 }\n')).toEqual([])
    expect(judgeConfig('').config).toMatchObject({ http: { port: 7300 }, metrics: { port: 9134 } })
  })

  it('every fault of a file is named, in the order of the file', () => {
    expect(faults('limits:\n  sesions: 3\n  ttl: 99h\nhtpp: 1\n').map((line) => line.split(':')[1]?.trim())).toEqual([
      'limits.sesions',
      'limits.ttl',
      'htpp',
    ])
  })
})

describe('the judged text (fault C3)', () => {
  const handed = () => join(folder, 'run', 'judged.yaml')
  const take = (nowMs = Date.now()) => takeConfig(folder, nowMs)
  const prepare = (judged: string | undefined, onDisk: string) => {
    mkdirSync(join(folder, 'run'), { recursive: true })
    writeFileSync(join(folder, 'hub.yaml'), onDisk)
    if (judged !== undefined) writeFileSync(handed(), judged)
  }

  it('is what a start takes, once, and a file that was written meanwhile is named', () => {
    prepare('limits: { sessions: 5 }', 'limits: { sessions: 5, nonsense: 1 }')
    expect(take()).toMatchObject({
      config: { limits: { sessions: 5 } },
      note: expect.stringContaining('was changed after'),
    })
    // The next start has nothing that was judged, and refuses what the file holds now.
    expect(() => take()).toThrow(expect.objectContaining({ code: 'config_invalid' }))
  })

  it('is no news where the file is the same, and counts no more after five minutes', () => {
    prepare('limits: { sessions: 5 }', 'limits: { sessions: 5 }')
    expect(take().note).toBeUndefined()
    prepare('limits: { sessions: 5 }', 'limits: { sessions: 6 }')
    expect(take(Date.now() + 301_000).config.limits.sessions).toBe(6)
  })
})

describe('defaults', () => {
  it('S0-15: without a file the span of a stop is 15 s [stop-40]', () => {
    expect(read('').shutdownTimeout).toBe(15_000)
    expect(read('shutdownTimeout: 1m').shutdownTimeout).toBe(60_000)
  })

  it('S0-16, S1-48: without a file 12 sessions at once, and a session lives an hour', () => {
    const config = read('')
    expect(config.limits.sessions).toBe(12)
    const card = agentCardShape.parse({ name: 'a', description: 'd', image: 'hub/a', run: ['x'] })
    expect(limitsOfCard(config, card)).toEqual({ ...DEFAULT_LIMITS, ttlMs: 3_600_000 })
  })

  it('the copy of `hub agent try` has the limits of its agent, and its refusal names that one (S4-34)', () => {
    const card = (ttl: string) =>
      agentCardShape.parse({ name: 'a--dev', description: 'd', image: 'hub/a--dev', run: ['x'], limits: { ttl } })
    const config = read('limits: { agents: { a: { ttl: 8h } } }')
    expect(limitsOfCard(config, card('8h')).ttlMs).toBe(28_800_000)
    expect(() => limitsOfCard(config, card('9h'))).toThrow(/hub\.yaml allows 8h: .* limits\.agents\.a\.ttl there/)
    expect(() => limitsOfCard(read('limits: { agents: { a: { ttl: 8h }, a--dev: { ttl: 2h } } }'), card('8h'))).toThrow(
      /allows 2h: .* limits\.agents\.a--dev\.ttl/,
    )
  })

  it.each([
    ['limits: { sessions: 20 }', 'limits.sessions is 20; hub.yaml allows 12'],
    ['limits: { messagesPerSecond: 201 }', 'limits.messagesPerSecond is 201; hub.yaml allows 200'],
    ['limits: { ttl: 2h }', 'limits.ttl is 2h; hub.yaml allows 1h'],
  ])('S1-41, S1-52: a card with %s is refused with both figures', (limits, words) => {
    const fields = { name: 'a', description: 'd', image: 'hub/a', run: ['x'], ...parseDocument(limits).toJS() }
    expect(() => limitsOfCard(read(''), agentCardShape.parse(fields))).toThrow(
      expect.objectContaining({ code: 'limit_exceeded', message: expect.stringContaining(words) }),
    )
  })
})

describe('the pages that people read', () => {
  const pageOf = (path: string) => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8')

  it.each(['docs/operating.md', 'docs/reference/configuration.md'])(
    'every example of hub.yaml in %s is taken',
    (path) => {
      const blocks = [...pageOf(path).matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = '']) => text)
      const examples = blocks.filter((text) => /^(?:alerts|limits|http|reach|engine|disk|retention):/m.test(text))
      expect(examples.length).toBeGreaterThan(0)
      // The page has the watchdog's file too, which another test reads.
      for (const text of examples.slice(0, 1)) expect(faults(text), text).toEqual([])
    },
  )

  /** Rows of the table of keys: `a.b` | type | `1` | limit | meaning. */
  const [ofHub = ''] = pageOf('docs/reference/configuration.md').split('\n### ')
  const pairs = [...ofHub.matchAll(/^\| `([a-zA-Z.[\]<>]+)` \| [^|]* \| ([^|]*) \|/gm)].map(
    ([, key = '', stated = '']) => [key, /`([^`]+)`/.exec(stated)?.[1]] as const,
  )
  const defaults = pairs.filter(
    (pair): pair is [string, string] =>
      pair[1] !== undefined &&
      !/[[<]|channels$|^limits\.(?:ttl|memory|cpus|pids|tmp|workspace|openFiles)$/.test(pair[0]),
  )

  it('names the default of every key', () => expect(defaults.length).toBeGreaterThan(25))

  it.each(defaults)('%s is %s by default, as it says, and takes that text', (key, stated) => {
    const renamed: Record<string, string> = {
      'health.interval': 'health.intervalMs',
      'health.timeout': 'health.timeoutMs',
      'health.failures': 'health.failuresMax',
    }
    const found = (config: Config) =>
      (renamed[key] ?? key)
        .split('.')
        .reduce<unknown>((value, step) => (value as Record<string, unknown>)?.[step], config)
    const written = key.split('.').reduceRight((inner, step) => `{ ${step}: ${inner} }`, stated)
    const config = read(written.replace(/^\{ (.*) \}$/, '$1'))
    expect(found(config)).toEqual(found(read('')))
  })

  it.each(['ttl', 'memory', 'cpus', 'pids', 'tmp', 'workspace', 'openFiles'] as const)(
    'states the default of limits.%s',
    (key) => {
      const names = { ttl: 'ttlMs', memory: 'memoryBytes', tmp: 'tmpBytes', workspace: 'workspaceBytes' } as const
      const value =
        DEFAULT_LIMITS[key in names ? names[key as keyof typeof names] : (key as 'cpus' | 'pids' | 'openFiles')]
      const text =
        key === 'ttl'
          ? spanWritten(value)
          : ['memory', 'tmp', 'workspace'].includes(key)
            ? sizeWritten(value)
            : `${value}`
      expect(pairs.find(([each]) => each === `limits.${key}`)?.[1]).toBe(text)
    },
  )

  it('an address of this machine may stand alone or in a list', () => {
    for (const local of ['127.0.0.1:9093', '[127.0.0.1:9093]', '["[::1]:9093"]'])
      expect(
        faults(`alerts: { channels: [{ kind: webhook, url: "http://127.0.0.1:9093/x", local: ${local} }] }`),
      ).toEqual([])
  })
})

it('kata is refused by name, as what is not supported', () => {
  expect(() => read('engine: { runtime: kata }')).toThrow(HubError)
})

it('each profile is taken, strict only with what it demands and without relaxations, and an unknown one is refused [flag-9]', () => {
  expect(read('').profile).toBe('standard')
  expect(read('profile: development').profile).toBe('development')
  expect(ringsOf(() => read('profile: production')).guard.policy).toEqual({
    failClosed: true,
    requireSignature: false,
    profile: 'production',
  })
  const key = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
  const strict = (policy: string) => `profile: strict\npolicy: { ${policy} }\n`
  expect(ringsOf(() => read(strict(`publicKey: ${key}`))).guard.policy.profile).toBe('strict')
  const { faults } = judgeConfig(strict('failClosed: false'))
  expect(faults.map(({ line, key, message }) => [line, key, message])).toEqual([
    [2, 'policy.publicKey', expect.stringContaining('takes only signed rules')],
    [2, 'policy.failClosed', expect.stringContaining('a relaxation that the profile strict does not take')],
  ])
  for (const other of ['development', 'standard', 'production'])
    expect(judgeConfig(`profile: ${other}\npolicy: { failClosed: false }`).faults).toEqual([])
  expect(judgeConfig('profile: paranoid').faults).toHaveLength(1)
})
