/** Each line of the normalisation table of docs/sandbox.md 2: a case that must pass, and one that must not (T49). */
import { describe, expect, test } from 'vitest'
import { DEFAULT_LIMITS } from '../../../../hub/protocol/agent.ts'
import { compareInspect } from '../../../../hub/work/sandbox/compare.ts'
import { buildContainer, containerNameOf } from '../../../../hub/work/sandbox/profile.ts'
import { inspectAnswer } from '../../../support/fake-engine.ts'
import { asEngine29, MEASURED } from '../../../support/later-answers.ts'
import { FACTS, HOST } from '../../../support/sandbox-facts.ts'

type Row = Record<string, unknown>
interface Answer extends Row {
  Config: Row
  HostConfig: Row
  Mounts: Row[]
  NetworkSettings: Row
}

const id = 'c0ffee'.padEnd(64, '0')
const sent = buildContainer(FACTS, DEFAULT_LIMITS, HOST)

function answer(body = sent): Answer {
  return inspectAnswer({
    id,
    name: containerNameOf(FACTS.instance, FACTS.session),
    body,
    state: 'created',
    exitCode: 0,
    oomKilled: false,
    createdAtMs: 0,
    socketPath: '',
    session: FACTS.session,
    log: '',
  }) as Answer
}

function fieldsAfter(change: (answer: Answer) => unknown): string[] {
  const changed = answer()
  change(changed)
  return compareInspect(sent, changed, id).map((difference) => difference.field)
}

/** A change of one field of the answer. */
const put = (section: 'Config' | 'HostConfig' | 'NetworkSettings', name: string, value: unknown) => (given: Answer) =>
  void Object.assign(given[section], { [name]: value })
const putOutside = (name: string, value: unknown) => (given: Answer) => void Object.assign(given, { [name]: value })

test('what Engine 20.10 answers to the profile has no difference', () => {
  expect(compareInspect(sent, answer(), id)).toEqual([])
})

test.each(MEASURED)(
  'fault A2: what Engine 29 answers in API 1.%i with its store %s has no difference',
  (minor, store) => {
    expect(compareInspect(sent, asEngine29(answer(), minor, store), id)).toEqual([])
  },
)

const descriptor = { digest: `sha256:${'1'.repeat(64)}`, mediaType: 'application/vnd.oci.image.manifest.v1+json' }
const bind = (option: string, value: unknown) => (given: Answer) => {
  const [mount] = given.HostConfig.Mounts as { BindOptions: Row }[]
  Object.assign(mount?.BindOptions ?? {}, { [option]: value })
}
describe('fault A2: beside that nothing of a later engine passes', () => {
  test.each<[string, string, (answer: Answer) => unknown]>([
    ['what a daemon adds for an older client', 'HostConfig.Mounts', bind('ReadOnlyNonRecursive', true)],
    ['a bind without what lies below', 'HostConfig.Mounts', bind('NonRecursive', true)],
    ['a bind whose source is made', 'HostConfig.Mounts', bind('CreateMountpoint', true)],
    ['a bind that is forced', 'HostConfig.Mounts', bind('ReadOnlyForceRecursive', true)],
    ['an unknown option of a bind', 'HostConfig.Mounts', bind('NewIdea', false)],
    ['an annotation', 'HostConfig.Annotations', put('HostConfig', 'Annotations', { run: 'x' })],
    ['a umask', 'HostConfig.Umask', put('HostConfig', 'Umask', 0)],
    ['a storage option', 'HostConfig.StorageOpt', put('HostConfig', 'StorageOpt', { size: '1G' })],
    ['a kernel memory limit', 'HostConfig.KernelMemory', put('HostConfig', 'KernelMemory', 1)],
    ['an address', 'Config.MacAddress', put('Config', 'MacAddress', '02:42:ac:11:00:02')],
    ['another shell', 'Config.Shell', put('Config', 'Shell', ['/bin/sh', '-c'])],
    ['no descriptor at all', 'ImageManifestDescriptor', putOutside('ImageManifestDescriptor', 'x')],
    [
      'a descriptor of no digest',
      'ImageManifestDescriptor',
      putOutside('ImageManifestDescriptor', { ...descriptor, digest: 'latest' }),
    ],
    [
      'a descriptor of an index',
      'ImageManifestDescriptor',
      putOutside('ImageManifestDescriptor', { ...descriptor, mediaType: 'application/vnd.oci.image.index.v1+json' }),
    ],
    [
      'a descriptor that says more',
      'ImageManifestDescriptor',
      putOutside('ImageManifestDescriptor', { ...descriptor, urls: ['http://x'] }),
    ],
    ['storage of another kind', 'Storage', putOutside('Storage', { RootFS: { Dir: '/' } })],
    ['storage that says more', 'Storage', putOutside('Storage', { RootFS: { Snapshot: { Name: 'x', Path: '/' } } })],
    ['storage of two kinds', 'Storage', putOutside('Storage', { RootFS: { Snapshot: { Name: 'x' } }, Data: {} })],
  ])('%s', (_what, field, change) => expect(fieldsAfter(change)).toContain(field))
})

describe('each line of the table lets pass what it names', () => {
  test.each<[string, (answer: Answer) => unknown]>([
    [
      'keys in another order',
      (a) => Object.assign(a, { HostConfig: Object.fromEntries(Object.entries(a.HostConfig).reverse()) }),
    ],
    ['Links as an empty list', put('HostConfig', 'Links', [])],
    ['Volumes as an empty object', put('Config', 'Volumes', {})],
    ['Sysctls present and empty', put('HostConfig', 'Sysctls', {})],
    ['NetworkDisabled present and false', put('Config', 'NetworkDisabled', false)],
    ['an empty list as null', put('HostConfig', 'Binds', null)],
    ['an empty list left out', (a) => delete a.HostConfig.Dns],
    ['OomKillDisable null', put('HostConfig', 'OomKillDisable', null)],
    ['an added field of the list left out', (a) => delete a.HostConfig.ConsoleSize],
    ['an unknown field that is empty', put('HostConfig', 'NewIdea', [])],
    ['state and places of another kind', putOutside('LogPath', '/somewhere')],
  ])('%s', (_what, change) => expect(fieldsAfter(change)).toEqual([]))
})

test('T101, T102: a workspace that programs run from, and a /dev/shm, are differences where they were not asked for, and so is their absence where they were', () => {
  const { Tmpfs } = sent.HostConfig
  const workspace = Tmpfs['/workspace'].replace('noexec', 'exec')
  for (const shown of [{ '/workspace': workspace }, { '/dev/shm': Tmpfs['/tmp'] }])
    expect(fieldsAfter(put('HostConfig', 'Tmpfs', { ...Tmpfs, ...shown }))).toEqual(['HostConfig.Tmpfs'])
  for (const relax of ['exec', 'shm'] as const) {
    const relaxed = buildContainer({ ...FACTS, relax: [relax] }, DEFAULT_LIMITS, HOST)
    const fields = (body: typeof sent) => compareInspect(relaxed, answer(body), id).map(({ field }) => field)
    expect([fields(relaxed), fields(sent)]).toEqual([[], ['HostConfig.Tmpfs']])
  }
})

describe('each line of the table refuses what it does not name', () => {
  test.each<[string, string, (answer: Answer) => unknown]>([
    [
      'Ulimits with another value',
      'HostConfig.Ulimits',
      put('HostConfig', 'Ulimits', [{ Name: 'nofile', Soft: 257, Hard: 256 }, ...sent.HostConfig.Ulimits.slice(1)]),
    ],
    ['Links with an entry', 'HostConfig.Links', put('HostConfig', 'Links', ['/other:/x'])],
    ['Volumes with an entry', 'Config.Volumes', put('Config', 'Volumes', { '/data': {} })],
    ['Sysctls with an entry', 'HostConfig.Sysctls', put('HostConfig', 'Sysctls', { 'net.core.x': '1' })],
    ['Binds with an entry', 'HostConfig.Binds', put('HostConfig', 'Binds', ['/:/host'])],
    ['MaskedPaths empty', 'HostConfig.MaskedPaths', put('HostConfig', 'MaskedPaths', [])],
    ['MaskedPaths absent', 'HostConfig.MaskedPaths', (a) => delete a.HostConfig.MaskedPaths],
    ['MaskedPaths with one path less', 'HostConfig.MaskedPaths', (a) => (a.HostConfig.MaskedPaths as string[]).pop()],
    ['ReadonlyPaths null', 'HostConfig.ReadonlyPaths', put('HostConfig', 'ReadonlyPaths', null)],
    ['CapDrop empty', 'HostConfig.CapDrop', put('HostConfig', 'CapDrop', [])],
    ['CapDrop in another case', 'HostConfig.CapDrop', put('HostConfig', 'CapDrop', ['all'])],
    [
      'SecurityOpt with a colon',
      'HostConfig.SecurityOpt',
      put('HostConfig', 'SecurityOpt', ['no-new-privileges:true', ...sent.HostConfig.SecurityOpt.slice(1)]),
    ],
    ['a capability added', 'HostConfig.CapAdd', put('HostConfig', 'CapAdd', ['SYS_ADMIN'])],
    ['another health check', 'Config.Healthcheck', put('Config', 'Healthcheck', { Test: ['CMD', 'x'] })],
    ['a label more', 'Config.Labels', put('Config', 'Labels', { ...sent.Labels, x: 'y' })],
    [
      'a tmpfs without noexec',
      'HostConfig.Tmpfs',
      put('HostConfig', 'Tmpfs', { ...sent.HostConfig.Tmpfs, '/tmp': 'rw,size=64m' }),
    ],
    ['OomKillDisable true', 'HostConfig.OomKillDisable', put('HostConfig', 'OomKillDisable', true)],
    ['another hostname', 'Config.Hostname', put('Config', 'Hostname', 'other')],
    ['a domain name', 'Config.Domainname', put('Config', 'Domainname', 'example')],
    ['another size of shared memory', 'HostConfig.ShmSize', put('HostConfig', 'ShmSize', 1)],
    ['a console size', 'HostConfig.ConsoleSize', put('HostConfig', 'ConsoleSize', [1, 0])],
    ['an isolation', 'HostConfig.Isolation', put('HostConfig', 'Isolation', 'process')],
    ['a volume driver', 'HostConfig.VolumeDriver', put('HostConfig', 'VolumeDriver', 'x')],
    ['an OOM score', 'HostConfig.OomScoreAdj', put('HostConfig', 'OomScoreAdj', -1000)],
    ['a swappiness', 'HostConfig.MemorySwappiness', put('HostConfig', 'MemorySwappiness', 60)],
    ['a memory reservation', 'HostConfig.MemoryReservation', put('HostConfig', 'MemoryReservation', 1)],
    ['a CPU quota', 'HostConfig.CpuQuota', put('HostConfig', 'CpuQuota', 1)],
    ['a CPU set', 'HostConfig.CpusetCpus', put('HostConfig', 'CpusetCpus', '0')],
    ['a Blkio list', 'HostConfig.BlkioDeviceReadBps', put('HostConfig', 'BlkioDeviceReadBps', [{}, 1])],
    ['a second mount', 'Mounts', (a) => a.Mounts.push({ Type: 'volume' })],
    ['a mount that can be written', 'Mounts', (a) => Object.assign(a.Mounts[0] ?? {}, { RW: true })],
    ['another propagation', 'Mounts', (a) => Object.assign(a.Mounts[0] ?? {}, { Propagation: 'rshared' })],
    ['another network', 'NetworkSettings.Networks', put('NetworkSettings', 'Networks', { none: {}, bridge: {} })],
    ['no network at all', 'NetworkSettings.Networks', put('NetworkSettings', 'Networks', null)],
    ['another program', 'Path', putOutside('Path', '/bin/sh')],
    ['other arguments', 'Args', putOutside('Args', ['/app/images/agent/shim.js', '--inspect'])],
    ['AppArmor unconfined', 'AppArmorProfile', putOutside('AppArmorProfile', 'unconfined')],
    ['an environment variable more', 'Config.Env', (a) => (a.Config.Env as string[]).push('LD_PRELOAD=/x')],
    ['an unknown field of HostConfig', 'HostConfig.NewIdea', put('HostConfig', 'NewIdea', false)],
    ['an unknown field of Config', 'Config.NewIdea', put('Config', 'NewIdea', 'x')],
    ['an unknown field outside', 'NewIdea', putOutside('NewIdea', { on: true })],
    ['an exec that runs already', 'ExecIDs', putOutside('ExecIDs', ['x'])],
    ['another name', 'Name', putOutside('Name', '/other')],
    ['another image', 'Image', putOutside('Image', `sha256:${'2'.repeat(64)}`)],
  ])('%s', (_what, field, change) => expect(fieldsAfter(change)).toContain(field))
})

test.each(['MaskedPaths', 'ReadonlyPaths', 'CapDrop', 'SecurityOpt'] as const)(
  '%s empty is a difference even where it was sent empty',
  (name) => {
    const emptied = { ...sent, HostConfig: { ...sent.HostConfig, [name]: [] } }
    const found = answer()
    put('HostConfig', name, [])(found)
    const fields = compareInspect(emptied, found, id).map((difference) => difference.field)
    expect(fields).toContain(`HostConfig.${name}`)
  },
)

test('every single field that was sent is compared', () => {
  for (const section of ['Config', 'HostConfig'] as const) {
    for (const name of Object.keys(section === 'Config' ? { ...sent, HostConfig: undefined } : sent.HostConfig)) {
      if (name === 'HostConfig') continue
      const fields = fieldsAfter(put(section, name, 'something else'))
      expect(fields, name).toContain(`${section}.${name}`)
    }
  }
})

test.each([undefined, null, 'text', [], {}, { HostConfig: null }])(
  'an answer that is %j is a difference, not a fault',
  (odd) => {
    expect(compareInspect(sent, odd, id).length).toBeGreaterThan(0)
  },
)
