/** The closed list of engine calls: every listed one passes, everything else is refused before a byte is sent (T62, T63, T70). */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { DEFAULT_LIMITS } from '../../../../hub/protocol/agent.ts'
import { judgeEngineCall } from '../../../../hub/work/sandbox/engine-filter.ts'
import { buildContainer } from '../../../../hub/work/sandbox/profile.ts'
import { LABEL_KEYS, MASKED_PATHS, READONLY_PATHS } from '../../../../hub/work/sandbox/profile-lists.ts'
import { repositoryRoot } from '../../../house/source.ts'
import { FACTS, HOST } from '../../../support/sandbox-facts.ts'

const ID = 'a'.repeat(64)
const NAME = 'hub-hub-test-sabcdefghijklmno'
const CREATE = `/v1.41/containers/create?name=${NAME}`
const APIS = ['1.41', '1.44', '1.49', '1.50', '1.56']
const filters = (value: unknown) => `filters=${encodeURIComponent(JSON.stringify(value))}`
const OURS = filters({ label: ['hub.instance=hub-test'] })
const EVENTS = filters({ label: ['hub.instance=hub-test'], type: ['container'] })
const body = buildContainer(FACTS, DEFAULT_LIMITS, HOST)
const text = JSON.stringify(body)

test.each([
  ['GET', '/_ping'],
  ['GET', '/info'],
  ['GET', '/images/hub/agent:latest/json'],
  ['GET', `/images/sha256:${ID}/json`],
  ['POST', `/containers/${ID}/start`],
  ['GET', `/containers/${ID}/json`],
  ['GET', `/containers/${NAME}/json`],
  ['POST', `/containers/${ID}/wait?condition=next-exit`],
  ['POST', `/containers/${ID}/stop?t=5`],
  ['POST', `/containers/${ID}/kill`],
  ['DELETE', `/containers/${ID}?force=1&v=1`],
  ['DELETE', `/containers/${NAME}?force=1&v=1`],
  ['GET', `/containers/json?all=1&${OURS}`],
  // Sessions of all hubs, to see whose users they have (fault F14).
  ['GET', `/containers/json?all=1&${filters({ label: ['hub.session'] })}`],
  ['GET', `/events?${EVENTS}`],
  ['GET', `/containers/${ID}/logs?stdout=1&stderr=1&tail=100`],
  ['POST', `/containers/${ID}/pause`],
  ['POST', `/containers/${ID}/unpause`],
  ['GET', `/containers/${ID}/top`],
])('%s %s passes without a body and not with one', (method, path) => {
  for (const api of APIS) {
    expect(judgeEngineCall({ method, path: `/v${api}${path}`, body: undefined })).toBeUndefined()
    expect(judgeEngineCall({ method, path: `/v${api}${path}`, body: '{}' })).toBe('it must have no body')
  }
})

test('fault A3: the one call without a version is the question for the versions', () => {
  expect(judgeEngineCall({ method: 'GET', path: '/version', body: undefined })).toBeUndefined()
  expect(judgeEngineCall({ method: 'GET', path: '/version', body: '{}' })).toBe('it must have no body')
  expect(judgeEngineCall({ method: 'POST', path: '/version', body: undefined })).toMatch(/closed list/)
})

test.each([
  ['POST', `/containers/${ID}/exec`],
  ['POST', `/exec/${ID}/start`],
  ['POST', `/containers/${ID}/attach?stream=1`],
  ['GET', `/containers/${ID}/attach/ws`],
  ['POST', `/commit?container=${ID}`],
  ['POST', '/build'],
  ['POST', '/images/create?fromImage=alpine'],
  ['POST', '/images/alpine/push'],
  ['POST', '/images/load'],
  ['DELETE', '/images/alpine'],
  ['GET', `/containers/${ID}/archive?path=/`],
  ['PUT', `/containers/${ID}/archive?path=/`],
  ['HEAD', `/containers/${ID}/archive?path=/`],
  ['GET', `/containers/${ID}/export`],
  ['GET', '/images/alpine/get'],
  ['POST', `/containers/${ID}/update`],
  ['POST', `/containers/${ID}/rename?name=x`],
  ['POST', '/containers/prune'],
  ['POST', '/images/prune'],
  ['POST', '/swarm/init'],
  ['POST', '/plugins/pull?remote=x'],
  ['POST', '/volumes/create'],
  ['GET', '/volumes'],
  ['POST', '/networks/create'],
  ['POST', `/networks/bridge/connect`],
  ['POST', '/secrets/create'],
  ['POST', '/configs/create'],
  ['POST', '/session'],
  ['POST', '/auth'],
  ['POST', '/info'],
  ['GET', '/info?all=1'],
  ['GET', '/system/df'],
  ['POST', `/containers/${ID}/wait`],
  ['POST', `/containers/${ID}/wait?condition=not-running`],
  ['POST', `/containers/${ID}/stop`],
  ['POST', `/containers/${ID}/stop?t=16`],
  ['POST', `/containers/${ID}/stop?t=-1`],
  ['POST', `/containers/${ID}/kill?signal=CONT`],
  ['POST', `/containers/${ID}/start?detachKeys=a`],
  ['DELETE', `/containers/${ID}`],
  ['DELETE', '/containers/someone-else?force=1&v=1'],
  ['GET', `/containers/${ID}/logs?stdout=1&stderr=1&follow=1`],
  ['GET', '/containers/json?all=1'],
  ['GET', `/containers/json?all=1&${filters({})}`],
  ['GET', `/containers/json?all=1&${filters({ label: ['hub.instance'] })}`],
  ['GET', `/containers/json?all=1&${filters({ label: ['hub.session', 'hub.instance=x'] })}`],
  ['GET', `/containers/json?all=1&${filters({ label: ['hub.session=x'] })}`],
  ['GET', `/events?${filters({ label: ['hub.session'], type: ['container'] })}`],
  ['GET', `/containers/json?all=1&${filters({ label: ['a=b'] })}`],
  ['GET', `/containers/json?all=1&${filters({ label: ['hub.instance=x'], name: ['y'] })}`],
  ['GET', '/events'],
  ['GET', `/events?${OURS}`],
  ['GET', `/containers/../images/json`],
  ['GET', '/images/../containers/json'],
  ['GET', '/images/x//json'],
  ['GET', `/containers/${ID}/json?size=1`],
  ['GET', `/containers/${ID.slice(0, 12)}/json`],
  ['GET', `/containers/${ID}/json\n`],
  ['GET', `/containers/${ID}%2f..%2f/json`],
  ['get', '/_ping'],
  ['GET', '/_PING'],
])('T62, T70: %s %s is refused', (method, path) => {
  for (const given of [undefined, '{}', text]) {
    expect(judgeEngineCall({ method, path: `/v1.41${path}`, body: given })).toMatch(/closed list/)
  }
})

test.each([
  '/_ping',
  '/v1.24/_ping',
  '/v1.40/_ping',
  '/v1.57/_ping',
  '/v2.41/_ping',
  '/v1.4/_ping',
  '/v1.441/_ping',
  '/v1x44/_ping',
  '/v1.44/v1.44/_ping',
  '//v1.41/_ping',
  'http://other/v1.41/_ping',
  '/v1.44/version',
])('fault A3: a version that the hub does not know, or none, is refused: %s', (path) =>
  expect(judgeEngineCall({ method: 'GET', path, body: undefined })).toMatch(/closed list/),
)

const create = (given: unknown) => judgeEngineCall({ method: 'POST', path: CREATE, body: given })

test('create passes with the body of the profile', () => {
  expect(create(text)).toBeUndefined()
})

test('T63: create without a body, with an odd one or one over the cap is refused', () => {
  expect(create(undefined)).toMatch(/needs a body/)
  expect(create(Buffer.from(text))).toMatch(/needs a body/)
  expect(create('')).toMatch(/not JSON/)
  expect(create(`${text}${' '.repeat(65_536)}`)).toMatch(/over 65536 bytes/)
  expect(create(text.replace('{"Image"', '{"Image":"sha256:0","Image"'))).toMatch(/plain JSON/)
})

test('create by a name that is not ours is refused', () => {
  for (const path of ['/v1.41/containers/create', '/v1.41/containers/create?name=web', `${CREATE}&platform=x`]) {
    expect(judgeEngineCall({ method: 'POST', path, body: text })).toMatch(/closed list/)
  }
})

const relaxed = buildContainer({ ...FACTS, relax: ['exec', 'shm'] }, DEFAULT_LIMITS, HOST).HostConfig.Tmpfs
const withTmpfs = (Tmpfs: Record<string, string>) => create(JSON.stringify({ ...body, HostConfig: { ...host, Tmpfs } }))

test('T101, T102: of what a session can write to, the two that a grant moves pass, and nothing else does', () => {
  const { '/tmp': tmp, '/workspace': workspace, '/dev/shm': shm = '' } = relaxed
  expect(withTmpfs(relaxed)).toBeUndefined()
  const plain = { '/tmp': tmp, '/workspace': host.Tmpfs['/workspace'] }
  expect([withTmpfs({ ...plain, '/workspace': workspace }), withTmpfs({ ...plain, '/dev/shm': shm })]).toEqual([
    undefined,
    undefined,
  ])
  const odd: Record<string, string>[] = [
    { '/tmp': tmp.replace('noexec', 'exec') },
    { '/dev/shm': shm.replace('noexec', 'exec') },
    ...['nosuid,', 'nodev,', 'noexec,'].map((word) => ({ '/dev/shm': shm.replace(word, '') })),
    ...['nosuid,', 'nodev,', 'exec,'].map((word) => ({ '/workspace': workspace.replace(word, '') })),
    { '/workspace': workspace.replace('exec', 'exec,noexec') },
    { '/dev/shm': shm.replace('64m', '65m') },
    { '/dev/shm': shm.replace('4k', '8k') },
    { '/dev/shm': shm.replaceAll('60928', '60929') },
    { '/dev/hugepages': shm },
  ]
  for (const change of odd) expect(withTmpfs({ ...relaxed, ...change }), JSON.stringify(change)).toMatch(/Tmpfs|user/)
})

const host = body.HostConfig
const withBind = (change: object) => {
  const [mount] = host.Mounts
  return { ...mount, BindOptions: { ...mount?.BindOptions, ...change } }
}
test.each<[string, object]>([
  ['Privileged', { Privileged: true }],
  ['CapAdd', { CapAdd: ['NET_ADMIN'] }],
  ['CapDrop', { CapDrop: [] }],
  ['Binds', { Binds: ['/var/run/docker.sock:/s'] }],
  ['Mounts', { Mounts: [...host.Mounts, ...host.Mounts] }],
  ['Mounts', { Mounts: [{ ...host.Mounts[0], Source: '/var/run/docker.sock' }] }],
  ['Mounts', { Mounts: [{ ...host.Mounts[0], ReadOnly: false }] }],
  ['ReadOnlyNonRecursive', { Mounts: [withBind({ ReadOnlyNonRecursive: true })] }],
  ['CreateMountpoint', { Mounts: [withBind({ CreateMountpoint: true })] }],
  ['NonRecursive', { Mounts: [withBind({ NonRecursive: true })] }],
  ['Annotations', { Annotations: { a: 'b' } }],
  ['StorageOpt', { StorageOpt: { size: '1G' } }],
  ['VolumeDriver', { VolumeDriver: 'x' }],
  ['Isolation', { Isolation: 'process' }],
  ['Cgroup', { Cgroup: 'container:x' }],
  ['Umask', { Umask: 0 }],
  ['OomScoreAdj', { OomScoreAdj: -1000 }],
  ['CpuRealtimeRuntime', { CpuRealtimeRuntime: 1 }],
  ['CpusetCpus', { CpusetCpus: '0' }],
  ['KernelMemory', { KernelMemory: 1 }],
  ['VolumesFrom', { VolumesFrom: ['x'] }],
  ['Devices', { Devices: [{ PathOnHost: '/dev/kvm' }] }],
  ['DeviceRequests', { DeviceRequests: [{ Count: -1 }] }],
  ['CgroupParent', { CgroupParent: '/' }],
  ['NetworkMode', { NetworkMode: 'host' }],
  ['NetworkMode', { NetworkMode: 'container:x' }],
  ['PidMode', { PidMode: 'host' }],
  ['IpcMode', { IpcMode: 'host' }],
  ['UTSMode', { UTSMode: 'host' }],
  ['UsernsMode', { UsernsMode: 'host' }],
  ['CgroupnsMode', { CgroupnsMode: 'host' }],
  ['PortBindings', { PortBindings: { '80/tcp': [] } }],
  ['ExtraHosts', { ExtraHosts: ['a:1.1.1.1'] }],
  ['Links', { Links: ['a'] }],
  ['Sysctls', { Sysctls: { a: 'b' } }],
  ['SecurityOpt', { SecurityOpt: ['no-new-privileges=true', 'seccomp=unconfined'] }],
  ['SecurityOpt', { SecurityOpt: [...host.SecurityOpt, 'label=disable'] }],
  ['SecurityOpt', { SecurityOpt: [...host.SecurityOpt.slice(0, 2), 'apparmor=unconfined'] }],
  ['MaskedPaths', { MaskedPaths: [] }],
  ['ReadonlyPaths', { ReadonlyPaths: [] }],
  ['RestartPolicy', { RestartPolicy: { Name: 'always', MaximumRetryCount: 0 } }],
  ['LogConfig', { LogConfig: { Type: 'syslog', Config: {} } }],
  ['OomKillDisable', { OomKillDisable: true }],
  ['PidsLimit', { PidsLimit: -1 }],
  ['PidsLimit', { PidsLimit: 0 }],
  ['Memory', { Memory: 0 }],
  ['swap', { MemorySwap: host.Memory + 1 }],
  ['Runtime', { Runtime: 'kata' }],
  ['AutoRemove', { AutoRemove: true }],
  ['ReadonlyRootfs', { ReadonlyRootfs: false }],
  ['HostConfig', { privileged: true }],
])('section 6: a body with another %s is refused', (field, change) => {
  expect(create(JSON.stringify({ ...body, HostConfig: { ...host, ...change } }))).toContain(field)
})

test.each<[string, object]>([
  ['Image', { Image: 'hub/agent:latest' }],
  ...['0:0', '1000:1000', '60927:60927', '61184:61184', '60928:60929', '60928', '060928:060928'].map(
    (User): [string, object] => ['ser', { User }],
  ),
  ['its writable folders belong to another user', { User: '60929:60929' }],
  ['Entrypoint', { Entrypoint: ['/bin/sh'] }],
  ['Cmd', { Cmd: ['x'] }],
  ['Volumes', { Volumes: { '/x': {} } }],
  ['Healthcheck', { Healthcheck: { Test: ['CMD', 'x'] } }],
  ['Env', { Env: [...body.Env.slice(1), 'LD_PRELOAD=/x.so'] }],
  ['Labels', { Labels: { ...body.Labels, extra: 'x' } }],
  ['NetworkingConfig', { NetworkingConfig: { EndpointsConfig: { bridge: {} } } }],
  ['Tty', { Tty: true }],
  ['Hostname', { Hostname: 'host' }],
  ['Shell', { Shell: ['/bin/sh'] }],
  ['MacAddress', { MacAddress: '02:42:ac:11:00:02' }],
])('section 6: a body with another %s outside HostConfig is refused', (field, change) => {
  expect(create(JSON.stringify({ ...body, ...change }))).toContain(field)
})

test('fault D15: the filter is written apart: it imports nothing of the profile, and would see a line that is missing there', () => {
  const source = readFileSync(join(repositoryRoot, 'hub/work/sandbox/engine-filter.ts'), 'utf8')
  const imported = [...source.matchAll(/from '([^']+)'/g)].map(([, from]) => from)
  expect(imported.sort()).toEqual(['../../base/engine-versions.ts', '../../protocol/agent.ts', 'zod'])
  for (const list of [MASKED_PATHS, READONLY_PATHS, LABEL_KEYS])
    for (const line of list) expect(source, line).toContain(`'${line}'`)
})

test('fault F14: each hub has its own range of users, and creates for none of another', () => {
  const call = { method: 'POST', path: CREATE, body: text }
  expect(judgeEngineCall(call)).toBeUndefined()
  expect(judgeEngineCall(call, 60_700)).toBeUndefined()
  expect(judgeEngineCall(call, 60_929)).toMatch(
    /^its user 60928:60928 is not in the range of sessions' users \(60929 to 61184\)$/,
  )
  expect(judgeEngineCall(call, 2000)).toMatch(/not in the range of sessions' users \(2000 to 2255\)/)
})
