/** Grading a session (S1-51): each floor fails by itself, whether the engine or the profile is wrong, and nothing fails unseen. */
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { DEFAULT_LIMITS } from '../../../../hub/protocol/agent.ts'
import { RELAXATIONS, type Relaxation } from '../../../../hub/protocol/relax.ts'
import { judgeHardening } from '../../../../hub/work/sandbox/hardening.ts'
import { readHostFacts } from '../../../../hub/work/sandbox/host.ts'
import { buildContainer, type CreateBody, containerNameOf } from '../../../../hub/work/sandbox/profile.ts'
import { inspectAnswer } from '../../../support/fake-engine.ts'
import { asEngine29, MEASURED } from '../../../support/later-answers.ts'
import { FACTS, HOST } from '../../../support/sandbox-facts.ts'

type Row = Record<string, unknown>
type Answer = Row & { Config: Row; HostConfig: Row; NetworkSettings: Row }

const id = 'c0ffee'.padEnd(64, '0')

function answerTo(body: CreateBody): Answer {
  return inspectAnswer({
    id,
    name: containerNameOf(FACTS.instance, FACTS.session),
    body,
    state: 'running',
    exitCode: 0,
    oomKilled: false,
    createdAtMs: 0,
    socketPath: '',
    session: FACTS.session,
    log: '',
  }) as Answer
}
const failed = (sent: CreateBody, inspect: unknown) =>
  judgeHardening(sent, inspect, id)
    .checks.filter(({ pass }) => !pass)
    .map(({ name }) => name)
const sent = buildContainer(FACTS, DEFAULT_LIMITS, HOST)

test('S1-51: a container as the profile makes it passes every check', () => {
  const { pass, checks } = judgeHardening(sent, answerTo(sent), id)
  expect(checks.map(({ name }) => name)).toEqual([
    'a user of its own, not root',
    'network none',
    'read-only root',
    'no capabilities',
    'no new privileges',
    'own seccomp profile',
    'AppArmor where the host has it',
    'own namespaces',
    'one read-only bind',
    'writable memory only, its own',
    'nothing runs from what it can write',
    'no shared memory',
    'no devices',
    'kernel files masked and read-only',
    'limits',
    'bounded log',
    'no restart',
    'TTL set',
    'the shim first, no health check',
    'image by id',
    'nothing else',
  ])
  expect(checks.every((check) => check.pass && check.found === '' && check.relaxed === undefined)).toBe(true)
  expect(pass).toBe(true)
})

const profiles = readHostFacts(fileURLToPath(new URL('../../../../images/agent', import.meta.url)))
const shipped = { ...HOST, seccomp: profiles.seccomp, seccompEgress: profiles.seccompEgress }

test('S1-51: the grade says which sockets a session may open, by what the engine shows; another profile than its own fails', () => {
  const closed = buildContainer(FACTS, DEFAULT_LIMITS, shipped)
  const open = buildContainer({ ...FACTS, egress: true }, DEFAULT_LIMITS, shipped)
  expect(judgeHardening(closed, answerTo(closed), id)).toMatchObject({ pass: true, sockets: 'unix' })
  expect(judgeHardening(open, answerTo(open), id)).toMatchObject({ pass: true, sockets: 'egress' })
  // It was granted nothing, and its container has the profile of one that was; and the other way round.
  for (const [told, shown] of [
    [closed, open],
    [open, closed],
  ] as const)
    expect(failed(told, answerTo(shown))).toEqual(['own seccomp profile'])
})

const relaxedBy = (...relax: Relaxation[]) => buildContainer({ ...FACTS, relax }, DEFAULT_LIMITS, HOST)

test.each<[Relaxation, string, string]>([
  ['exec', 'nothing runs from what it can write', 'programs run from /workspace, and nobody granted that'],
  ['shm', 'no shared memory', 'there is a /dev/shm, and nobody granted one'],
])('T101, T102: %s shows in the grade as what it moves, and passes only by its own grant', (relax, check, refusal) => {
  const body = relaxedBy(relax)
  const grade = judgeHardening(body, answerTo(body), id, undefined, [relax])
  expect(grade).toMatchObject({ pass: true, relaxed: [relax] })
  expect(grade.checks.filter(({ relaxed }) => relaxed !== undefined)).toEqual([
    { name: check, pass: true, found: '', relaxed: relax },
  ])
  // The engine did as it was told, and nobody granted it; or another one was granted.
  for (const granted of [[], RELAXATIONS.filter((each) => each !== relax)] as Relaxation[][]) {
    const { pass, checks } = judgeHardening(body, answerTo(body), id, undefined, granted)
    expect(pass).toBe(false)
    expect(checks.filter((each) => !each.pass)).toEqual([{ name: check, pass: false, found: refusal, relaxed: relax }])
  }
  // Granted and asked for, but the engine made it as usual; and the other way round.
  const other = judgeHardening(body, answerTo(sent), id, undefined, [relax])
  expect(other).toMatchObject({ pass: false, relaxed: [] })
  expect(failed(sent, answerTo(body))).toEqual(['writable memory only, its own', check])
})

test('T101, T102: a grant moves its own wall and no other', () => {
  const tmpfs = (changes: Record<string, string>) => {
    const body = relaxedBy(...RELAXATIONS)
    Object.assign(body.HostConfig.Tmpfs, changes)
    const { checks } = judgeHardening(body, answerTo(body), id, undefined, RELAXATIONS)
    return checks.filter(({ pass }) => !pass).map(({ name, found }) => `${name}: ${found}`)
  }
  const { '/tmp': tmp = '', '/dev/shm': shm = '' } = relaxedBy(...RELAXATIONS).HostConfig.Tmpfs
  expect(tmpfs({})).toEqual([])
  expect(tmpfs({ '/tmp': tmp.replace('noexec', 'exec') })).toEqual([
    'nothing runs from what it can write: programs run from /tmp, /workspace',
  ])
  expect(tmpfs({ '/dev/shm': shm.replace('noexec', 'exec') })).toEqual([
    'nothing runs from what it can write: programs run from /workspace, /dev/shm',
    'no shared memory: the floor does not hold',
  ])
  expect(tmpfs({ '/dev/shm': shm.replace('64m', '65m') })).toEqual(['no shared memory: the floor does not hold'])
  expect(tmpfs({ '/more': tmp })).toEqual(['writable memory only, its own: the floor does not hold'])
})

test.each([
  ['IPv6', '"value":2,"op"', '"value":10,"op"'],
  ['any protocol', ',{"index":2,"value":0,"op":"SCMP_CMP_EQ"}', ''],
  ['datagrams', '"valueTwo":1,', '"valueTwo":2,'],
  ['any machine', ',"includes":{"arches":["amd64","arm64"]}', ''],
  ['MPTCP', '"index":2,"value":6,', '"index":2,"value":262,'],
])('a profile for egress that allows %s fails by its floor, though the engine did as it was told', (_, text, other) => {
  const seccompEgress = profiles.seccompEgress.replace(text, other)
  expect(seccompEgress).not.toBe(profiles.seccompEgress)
  const wrong = buildContainer({ ...FACTS, egress: true }, DEFAULT_LIMITS, { ...shipped, seccompEgress })
  const grade = judgeHardening(wrong, answerTo(wrong), id)
  expect(grade).toMatchObject({ pass: false, sockets: 'other' })
  expect(grade.checks.filter(({ pass }) => !pass).map(({ name }) => name)).toEqual(['own seccomp profile'])
})

test.each(MEASURED)('fault A2: it passes on Engine 29 too, in API 1.%i with its store %s', (minor, store) => {
  expect(judgeHardening(sent, asEngine29(answerTo(sent), minor, store), id).pass).toBe(true)
})

const host = (name: string, value: unknown) => (answer: Answer) =>
  void Object.assign(answer.HostConfig, { [name]: value })
const config = (name: string, value: unknown) => (answer: Answer) =>
  void Object.assign(answer.Config, { [name]: value })

describe('S1-51: one field that the engine shows otherwise fails the check that names it, and only that', () => {
  test.each<[string, (answer: Answer) => void, string[]]>([
    ['another user', config('User', '0'), ['a user of its own, not root']],
    ['one user and another group', config('User', '60928:60929'), ['a user of its own, not root']],
    ['the user of another session', config('User', '60929:60929'), ['a user of its own, not root']],
    ['a network', host('NetworkMode', 'bridge'), ['network none']],
    ['a second network', (a) => Object.assign(a.NetworkSettings.Networks as Row, { bridge: {} }), ['network none']],
    ['a writable root', host('ReadonlyRootfs', false), ['read-only root']],
    ['a capability', host('CapAdd', ['SYS_ADMIN']), ['no capabilities']],
    ['privileged', host('Privileged', true), ['no capabilities']],
    [
      'another seccomp profile',
      host('SecurityOpt', ['no-new-privileges=true', 'seccomp=unconfined']),
      ['own seccomp profile'],
    ],
    ['no security option', host('SecurityOpt', []), ['no new privileges', 'own seccomp profile']],
    ['no AppArmor', (a) => Object.assign(a, { AppArmorProfile: 'unconfined' }), ['AppArmor where the host has it']],
    ['processes of the host', host('PidMode', 'host'), ['own namespaces']],
    ['a writable bind', (a) => Object.assign((a.Mounts as Row[])[0] ?? {}, { RW: true }), ['one read-only bind']],
    ['a second bind', host('Binds', ['/:/host']), ['one read-only bind']],
    [
      'programs in /tmp',
      host('Tmpfs', { '/tmp': 'rw', '/workspace': 'rw' }),
      ['writable memory only, its own', 'nothing runs from what it can write'],
    ],
    ['a device', host('Devices', [{ PathOnHost: '/dev/kvm' }]), ['no devices']],
    ['nothing masked', host('MaskedPaths', []), ['kernel files masked and read-only']],
    ['more memory', host('Memory', 1024 ** 4), ['limits']],
    ['no limit of processes', host('PidsLimit', 0), ['limits']],
    ['another log driver', host('LogConfig', { Type: 'syslog', Config: {} }), ['bounded log']],
    ['restarts', host('RestartPolicy', { Name: 'always', MaximumRetryCount: 0 }), ['no restart']],
    ['no labels', config('Labels', {}), ['TTL set']],
    ['another program', (a) => Object.assign(a, { Path: '/bin/sh' }), ['the shim first, no health check']],
    ['an image by name', config('Image', 'hub/agent:latest'), ['image by id']],
    ['an unknown field', host('NewThing', 1), ['nothing else']],
    ['another environment', config('Env', ['TOKEN=x']), ['nothing else']],
    [
      'no answer worth the name',
      (a) => void Object.assign(a, { HostConfig: null, Config: null }),
      ['a user of its own, not root'],
    ],
  ])('%s', (_what, alter, names) => {
    const answer = answerTo(sent)
    alter(answer)
    const found = failed(sent, answer)
    if (answer.HostConfig === null) expect(found).toEqual(expect.arrayContaining(names))
    else expect(found).toEqual(names)
    expect(judgeHardening(sent, answer, id).pass).toBe(false)
  })
})

describe('S1-51: a profile that went wrong itself fails too, though the engine did as it was told', () => {
  test.each<[string, Partial<CreateBody['HostConfig']>, string]>([
    ['a writable root', { ReadonlyRootfs: false }, 'read-only root'],
    ['capabilities', { CapDrop: [] }, 'no capabilities'],
    ['no seccomp profile', { SecurityOpt: ['no-new-privileges=true'] }, 'own seccomp profile'],
    ['new privileges', { SecurityOpt: [`seccomp=${HOST.seccomp}`] }, 'no new privileges'],
    ['the network of the host', { NetworkMode: 'host' }, 'network none'],
    ['memory without end', { Memory: 0, MemorySwap: 0 }, 'limits'],
    ['nothing masked', { MaskedPaths: [] }, 'kernel files masked and read-only'],
  ])('%s', (_what, change, name) => {
    const wrong = { ...sent, HostConfig: { ...sent.HostConfig, ...change } }
    expect(failed(wrong, answerTo(wrong))).toContain(name)
  })
})

test('what the engine answers in no known shape fails, and says so without throwing', () => {
  for (const inspect of [undefined, null, 'x', [], { HostConfig: 7, Config: [] }]) {
    const { pass, checks } = judgeHardening(sent, inspect, id)
    expect(pass).toBe(false)
    expect(checks.find(({ name }) => name === 'read-only root')?.found).not.toBe('')
  }
})

test('fault A9: swap that is not counted fails the limits, but not on a machine that has none', () => {
  const answer = answerTo(sent)
  answer.HostConfig.MemorySwap = -1
  const failing = (swap: boolean) => {
    const beside = { hasSwap: () => swap, confinementOf: () => undefined }
    return judgeHardening(sent, answer, id, beside)
      .checks.filter(({ pass }) => !pass)
      .map(({ name }) => name)
  }
  expect([failing(true), failing(false)]).toEqual([['limits'], []])
})

test('fault A5: AppArmor that the engine shows and does not use fails its check', () => {
  const body = buildContainer(FACTS, DEFAULT_LIMITS, { ...HOST, appArmor: true })
  const answer = answerTo(body)
  Object.assign(answer.State as Row, { Pid: 4711 })
  const found = (runs: string | undefined) => {
    const beside = { hasSwap: () => false, confinementOf: (pid: number) => (pid === 4711 ? runs : 'another process') }
    const { checks } = judgeHardening(body, answer, id, beside)
    return checks.filter(({ pass }) => !pass).map((check) => `${check.name}: ${check.found}`)
  }
  expect(found('docker-default')).toEqual([])
  expect(found(undefined)).toEqual([])
  expect(found('unconfined')).toEqual([
    'AppArmor where the host has it: its process runs unconfined, not under docker-default',
  ])
})
