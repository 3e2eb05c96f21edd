import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { expect, test } from 'vitest'
import { createSystemClock } from '../../../../hub/base/clock.ts'
import { HubError } from '../../../../hub/base/errors.ts'
import { compileModule } from '../../../../hub/guard/policy/module.ts'
import { commitOfFiles } from '../../../../hub/home/init.ts'
import type { Profile } from '../../../../hub/protocol/flags.ts'
import {
  acceptedTable,
  agentPrincipal,
  ask,
  askedFor,
  openPolicy,
  type PolicyFolder,
  policyFolder,
} from '../../../support/policy-fixture.ts'

const long = process.env.HUB_TEST_LONG === '1'
const unavailable = expect.objectContaining({ code: 'policy_unavailable' })
const submit = JSON.stringify(ask('task.submit', { kind: 'operator', id: 'operator' }, askedFor('echo')))

/** What is wrong, in the error's own words. */
function refusal(act: () => unknown): string {
  try {
    act()
  } catch (thrown) {
    expect(thrown).toEqual(unavailable)
    return (thrown as HubError).message
  }
  throw new Error('nothing was refused')
}

test('S1-4: the shipped bundle loads on the real clock, answers its samples and says what it is', () => {
  using folder = policyFolder()
  const policy = openPolicy(folder, { clock: createSystemClock(), commitOf: () => 'c0ffee' })
  const bundle = JSON.parse(folder.read('bundle.json').toString())
  expect(policy.status()).toMatchObject({
    version: bundle.version,
    revision: bundle.revision,
    wasmSha256: bundle.wasmSha256,
    dataCommit: 'c0ffee',
    builtins: [],
    memoSize: 0,
  })
  expect(policy.active().engine.evaluate(submit).effect).toBe('allow')
})

test('T21: a byte changed anywhere in the module refuses the bundle', () => {
  using folder = policyFolder()
  const wasm = folder.read('policy.wasm')
  const step = long ? 509 : Math.floor(wasm.length / 40)
  for (let at = 0; at < wasm.length; at += step) {
    const changed = Buffer.from(wasm)
    changed[at] = (changed[at] ?? 0) ^ 1
    folder.write('policy.wasm', changed)
    expect(refusal(() => openPolicy(folder))).toContain('policy.wasm is not the file bundle.json names')
  }
  for (const kept of [0, 1, 8, wasm.length - 1]) {
    folder.write('policy.wasm', wasm.subarray(0, kept))
    expect(refusal(() => openPolicy(folder))).toContain('policy.wasm')
  }
})

test('T21: no change of bundle.json lets another module rule', () => {
  using folder = policyFolder()
  const text = folder.read('bundle.json').toString()
  const wasmSha256 = openPolicy(folder).status().wasmSha256
  const step = long ? 1 : 37
  let refused = 0
  for (let at = 0; at < text.length; at += step) {
    folder.write('bundle.json', `${text.slice(0, at)}7${text.slice(at + 1)}`)
    try {
      expect(openPolicy(folder).status().wasmSha256).toBe(wasmSha256)
    } catch (thrown) {
      if (!(thrown instanceof HubError)) throw thrown
      refused += 1
    }
  }
  expect(refused).toBeGreaterThan(text.length / step / 2)
  for (const kept of [0, 10, text.length - 3]) {
    folder.write('bundle.json', text.slice(0, kept))
    refusal(() => openPolicy(folder))
  }
})

test.for(['admit.rego', 'tasks.rego', 'samples.json', 'data.json'])(
  'T21: a changed %s beside the module is refused by name',
  (name) => {
    using folder = policyFolder()
    folder.write(name, Buffer.concat([folder.read(name), Buffer.from('\n')]))
    expect(refusal(() => openPolicy(folder))).toContain(`${name} is not the file`)
  },
)

test('T21: a missing bundle is refused, and so is one that lies about its rules', () => {
  using folder = policyFolder()
  const bundle = JSON.parse(folder.read('bundle.json').toString())
  folder.write('bundle.json', JSON.stringify({ ...bundle, revision: 'a'.repeat(64) }))
  expect(refusal(() => openPolicy(folder))).toContain('revision')
  folder.write('bundle.json', JSON.stringify({ ...bundle, builtins: ['http.send'] }))
  expect(refusal(() => openPolicy(folder))).toContain('built-ins')
  folder.write('bundle.json', JSON.stringify({ ...bundle, more: 1 }))
  expect(refusal(() => openPolicy(folder))).toContain('bundle.json')
  folder.bundleDir = `${folder.bundleDir}/nothing`
  expect(refusal(() => openPolicy(folder))).toContain('cannot be read')
})

test('T21: an older version than was used before is refused at the start and at a reload', () => {
  using folder = policyFolder()
  const bundle = JSON.parse(folder.read('bundle.json').toString())
  expect(refusal(() => openPolicy(folder, {}, bundle.version + 1))).toContain('older than')
  folder.write('bundle.json', JSON.stringify({ ...bundle, version: bundle.version + 1 }))
  const policy = openPolicy(folder)
  folder.write('bundle.json', JSON.stringify(bundle))
  expect(refusal(() => policy.reload())).toContain('older than')
  expect(policy.status().version).toBe(bundle.version + 1)
})

test('T21: broken data at a reload keeps the old policy whole, and good data replaces it', () => {
  using folder = policyFolder()
  const policy = openPolicy(folder)
  const before = policy.active()
  const text = JSON.stringify(folder.readData())
  for (let kept = 0; kept < text.length; kept += long ? 1 : 23) {
    writeFileSync(folder.dataPath, text.slice(0, kept))
    expect(refusal(() => policy.reload())).toContain('data.json')
  }
  rmSync(folder.dataPath)
  expect(refusal(() => policy.reload())).toContain('cannot be read')
  expect(policy.active()).toBe(before)
  expect(policy.active().engine.evaluate(submit).effect).toBe('allow')
  folder.writeData({ agents: {} })
  policy.reload()
  expect(policy.active().engine.evaluate(submit)).toMatchObject({
    effect: 'deny',
    reason: 'agent echo is not in the policy: add agents.echo to policy/data.json',
  })
  expect(policy.active().dataDigest).not.toBe(before.dataDigest)
})

test.for([
  ['an unknown key', { agents: {}, more: 1 }, 'more'],
  ['an unknown key of an agent', { agents: { a: { ttlMs: 1, shell: true } } }, 'agents.a'],
  ['a bad name', { agents: { 'A b': { ttlMs: 1 } } }, 'agents'],
  ['a flag that is text', { agents: { a: { ttlMs: 1, submit: 'true' } } }, 'agents.a.submit'],
  ['a span over the ceiling', { agents: { a: { ttlMs: 86_400_001 } } }, 'agents.a.ttlMs'],
  ['a name twice', { agents: { a: { ttlMs: 1, message: ['b', 'b'] } } }, 'agents.a.message'],
] as const)('T21: data with %s is refused by name', ([, data, path]) => {
  using folder = policyFolder()
  folder.writeData(data)
  expect(refusal(() => openPolicy(folder))).toContain(path)
})

test('T20: a bundle with a sample over 5 ms never rules, one slow turn alone is forgiven', () => {
  using folder = policyFolder()
  let readings = 0
  // Every second reading ends a turn: 6 ms each.
  const cpuMs = () => Math.floor(readings++ / 2) * 100 + (readings % 2 === 0 ? 6 : 0)
  expect(refusal(() => openPolicy(folder, { cpuMs }))).toContain('over 5')
  let first = 0
  const once = () => (first++ === 1 ? 50 : 0)
  expect(openPolicy(folder, { cpuMs: once }).status().version).toBeGreaterThan(0)
})

test('T21: a module that allows everything does not answer the samples', () => {
  using folder = policyFolder()
  const yes = [{ result: { version: 1, allow: true, ask: false, reason: 'allowed', rule: 'x' } }]
  const compile = () => ({ builtins: [], instantiate: () => ({ evaluate: () => yes }) })
  expect(refusal(() => openPolicy(folder, { compile }))).toContain('must be denied')
  const broken = () => ({ builtins: [], instantiate: () => ({ evaluate: () => [] }) })
  expect(refusal(() => openPolicy(folder, { compile: broken }))).toContain('no single result')
})

test('T20: a module that gives a no another code than the samples say never rules', () => {
  using folder = policyFolder()
  const compile = (wasm: Buffer) => {
    const module = compileModule(wasm)
    const plain = (text: string) => text.replaceAll('delegation_depth', 'policy_denied')
    const instantiate: typeof module.instantiate = (data) => {
      const { evaluate } = module.instantiate(data)
      return { evaluate: (input) => JSON.parse(plain(JSON.stringify(evaluate(input)))) }
    }
    return { ...module, instantiate }
  }
  expect(refusal(() => openPolicy(folder, { compile }))).toContain('must give the code delegation_depth')
})

test('T20: a module with a built-in outside the allow-list never rules', () => {
  using folder = policyFolder()
  const compile = (wasm: Buffer) => ({ ...compileModule(wasm), builtins: ['http.send'] })
  expect(refusal(() => openPolicy(folder, { compile }))).toContain('not allowed: http.send')
})

test('S1-13: the commit that is named is the one the data is of; of data that is not committed none is named', () => {
  using folder = policyFolder()
  const home = dirname(folder.dataPath)
  const git = (...words: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', '-C', home, ...words], {
      encoding: 'utf8',
    }).trim()
  git('init', '--quiet')
  git('add', 'data.json')
  git('commit', '--quiet', '--message', 'first')
  const first = git('rev-parse', 'HEAD')
  const policy = openPolicy(folder, { commitOf: commitOfFiles })
  expect(policy.status().dataCommit).toBe(first)
  folder.writeData({ agents: {} })
  policy.reload()
  expect(policy.status().dataCommit).toBeUndefined()
  git('commit', '--quiet', '--all', '--message', 'second')
  policy.reload()
  expect(policy.status().dataCommit).toBe(git('rev-parse', 'HEAD'))
  expect(policy.status().dataCommit).not.toBe(first)
})

test('S1-13, fault D3: a profile that wants committed files refuses what was changed since, and what is in no repository', () => {
  using folder = policyFolder()
  const home = dirname(folder.dataPath)
  const open = (profile: Profile) =>
    openPolicy(folder, { commitOf: commitOfFiles }, 0, {
      terms: { failClosed: true, requireSignature: false, profile },
    })
  expect(refusal(() => open('production'))).toMatch(
    /not as it was committed, and profile production takes nothing else; commit it/,
  )
  const git = (...words: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', '-C', home, ...words], { encoding: 'utf8' })
  git('init', '--quiet')
  git('add', 'data.json')
  git('commit', '--quiet', '--message', 'first')
  expect(open('production').status().dataCommit).toBe(git('rev-parse', 'HEAD').trim())
  folder.writeData({ agents: {} })
  expect(refusal(() => open('production'))).toMatch(/not as it was committed/)
  for (const profile of ['development', 'standard'] as const) expect(open(profile).status().dataCommit).toBeUndefined()
})

test.for([
  ['removed', (folder: PolicyFolder) => rmSync(folder.bundleDir, { recursive: true })],
  ['damaged', (folder: PolicyFolder) => folder.write('policy.wasm', 'x')],
] as const)(
  'S1-60, T21: if the shipped bundle is %s at a start, the accepted one rules; without one nothing does, or the built-in rules',
  ([, spoil]) => {
    using folder = policyFolder()
    const { accepted, database } = acceptedTable()
    const open = (failClosed: boolean) =>
      openPolicy(folder, { accepted }, 1, { terms: { failClosed, requireSignature: false }, goesWithoutRules: true })
    const { version } = open(true).status()
    spoil(folder)
    for (const failClosed of [true, false]) {
      const policy = open(failClosed)
      expect(policy.unloaded()?.facts.broken).toBe('bundle')
      expect(policy.status()).toMatchObject({ from: 'accepted', version })
      expect(policy.active().engine.evaluate(submit).effect).toBe('allow')
      expect(refusal(() => policy.reload())).toMatch(/policy\.wasm|bundle\.json/)
      expect(policy.status().from).toBe('accepted')
    }
    database.exec('delete from policy_file')
    const operator = { kind: 'operator', id: 'operator' } as const
    const people = { by: 'people', parent: null }
    const dispatcher = { kind: 'hub', id: 'dispatcher' } as const
    const session = agentPrincipal('echo', { secrets: ['key'], message: ['other'], delegate: ['other'] })
    const asked: [effectClosed: string, effectOpen: string, ReturnType<typeof ask>][] = [
      ['allow', 'allow', ask('task.list', operator)],
      ['allow', 'allow', ask('policy.reload', operator)],
      ['allow', 'allow', ask('lease.renew', { kind: 'watchdog', id: 'watchdog' })],
      ['deny', 'allow', ask('task.submit', operator, askedFor('echo'))],
      ['deny', 'deny', ask('task.submit', operator, askedFor(null, ['echo']))],
      [
        'deny',
        'deny',
        ask('task.submit', { kind: 'automation', id: 'ci', actions: ['task.submit'] }, askedFor('echo')),
      ],
      ['deny', 'deny', ask('task.retry', { kind: 'device', id: 'phone', rights: ['resume'] }, askedFor('echo'))],
      ['deny', 'allow', ask('task.dispatch', dispatcher, { agent: 'echo', origin: people, owner: true })],
      ['deny', 'deny', ask('task.dispatch', dispatcher, { agent: 'echo', origin: people, owner: false })],
      [
        'deny',
        'deny',
        ask('task.dispatch', dispatcher, { agent: 'echo', origin: { by: 'agent', parent: 'a' }, owner: true }),
      ],
      [
        'deny',
        'deny',
        ask('task.dispatch', { kind: 'hub', id: 'services' }, { agent: 'echo', origin: people, owner: true }),
      ],
      ['deny', 'deny', ask('service.start', { kind: 'hub', id: 'services' }, { agent: 'echo', origin: people })],
      ['deny', 'allow', ask('session.join', session)],
      ['deny', 'allow', ask('task.result', session)],
      ['deny', 'deny', ask('secret.get', session, { name: 'key' })],
      ['deny', 'deny', ask('message.send', session, { kind: 'request', to: { agent: 'other' }, relation: 'parent' })],
      ['deny', 'deny', ask('task.delegate', session, { agent: 'other' })],
      ['deny', 'deny', ask('artifact.get', session, { own: false, inherited: false })],
      ['deny', 'deny', ask('token.create', operator)],
      ['deny', 'deny', ask('keys.rotate', operator)],
    ]
    for (const failClosed of [true, false]) {
      const policy = open(failClosed)
      expect(policy.status().from).toBe(failClosed ? 'none' : 'built-in')
      const { engine } = policy.active()
      const effects = asked.map(([, , input]) => [input.operation, engine.evaluate(JSON.stringify(input)).effect])
      expect(effects).toEqual(asked.map(([closed, open, { operation }]) => [operation, failClosed ? closed : open]))
      expect(engine.evaluate(JSON.stringify(ask('keys.rotate', operator))).code).toBe('policy_unavailable')
    }
    // The session that built-in rules let start may do nothing but its task.
    const text = JSON.stringify(ask('task.dispatch', dispatcher, { agent: 'echo', origin: people, owner: true }))
    expect(open(false).active().engine.evaluate(text).narrow).toEqual({ capabilities: [], ttlMs: 3_600_000 })
  },
)

test('T20: the real module takes an input of 64 KiB, refuses more, and answers the next one', () => {
  using folder = policyFolder()
  const faults: string[] = []
  const policy = openPolicy(folder)
  policy.onFault((reason) => faults.push(reason))
  const { engine } = policy.active()
  const sized = (bytes: number) => JSON.stringify(ask('task.log', agentPrincipal('echo'), { pad: 'x'.repeat(bytes) }))
  expect(engine.evaluate(sized(65_000)).effect).toBe('allow')
  expect(engine.evaluate(sized(65_600)).rule).toBe('hub.guard.input_bytes')
  expect(engine.evaluate(sized(10)).effect).toBe('allow')
  expect(engine.evaluate('not json').effect).toBe('deny')
  expect(engine.evaluate(sized(10)).effect).toBe('allow')
  expect(faults).toEqual([])
})

test('T20: the memory of a module ends at 64 MiB, and a new instance works after that', () => {
  using folder = policyFolder()
  const instance = compileModule(folder.read('policy.wasm')).instantiate({ agents: {} })
  expect(() => instance.evaluate(JSON.stringify({ pad: 'x'.repeat(70 * 1024 * 1024) }))).toThrow()
  const next = compileModule(folder.read('policy.wasm')).instantiate({ agents: {} })
  expect(next.evaluate('{}')).toMatchObject([{ result: { allow: false } }])
})
