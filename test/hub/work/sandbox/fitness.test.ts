/** Each thing that an engine or a host cannot do is recognised from its evidence and named with its mending (faults A5, A9); over recorded answers. */
import { describe, expect, test } from 'vitest'
import { type CanaryFacts, fitnessText, judgeEngine, judgeFitness } from '../../../../hub/work/sandbox/fitness.ts'
import { type Recorded, recorded } from '../../../support/engines.ts'

type Failure = NonNullable<CanaryFacts['failure']>
interface More {
  info?: Partial<CanaryFacts['info']>
  machine?: Partial<CanaryFacts['machine']>
  failure?: Partial<Failure>
  memory?: CanaryFacts['memory']
}

function facts(name: Recorded, more: More = {}): CanaryFacts {
  const { engine, info } = recorded(name)
  return {
    engine,
    info: { ...info, ...more.info },
    machine: { kernel: info.kernel, swapBytes: 0, memoryCgroup: true, appArmor: false, ...more.machine },
    runtime: 'runc',
    folder: '/home/user/.hub/run/s',
    firstUser: 60_928,
    ...(more.failure === undefined
      ? {}
      : { failure: { step: 'create', said: 'the engine said no', differences: [], log: '', ...more.failure } }),
    ...(more.memory === undefined ? {} : { memory: more.memory }),
  }
}
const found = (name: Recorded, more: More = {}) => judgeFitness(facts(name, more)).map(({ id }) => id)

test.each<[Recorded, string[]]>([
  ['docker-20.10', []],
  ['docker-29', []],
  ['podman-4.3', ['podman']],
  ['rootless-20.10', ['rootless_unlimited']],
])('fault A5: %s, as it really answered, has these findings before anything is created: %j', (name, ids) => {
  expect(judgeEngine(facts(name)).map(({ id }) => id)).toEqual(ids)
  expect(found(name, { memory: 'killed' })).toEqual(ids)
})

describe('fault A5: a refusal says which engine was found, why, and what to install', () => {
  const textOf = (name: Recorded, more: More = {}) => fitnessText(judgeFitness(facts(name, more)))
  test('Podman', () => {
    expect(textOf('podman-4.3')).toMatch(
      /^this is Podman 4\.3\.1, which is not supported: .*install Docker Engine 20\.10/,
    )
  })
  test('rootless without limits', () => {
    expect(textOf('rootless-20.10')).toMatch(
      /runs rootless and cannot limit memory, processes or CPU .*cgroup version 1, driver none.*use a rootful engine/,
    )
  })
  test('Docker Desktop', () => {
    const more = { info: { operatingSystem: 'Docker Desktop', kernel: '6.12.5-linuxkit' } }
    expect(textOf('docker-29', more)).toMatch(/^this is Docker Desktop, which is not supported: .*virtual machine/)
  })
  test('any other engine whose containers run elsewhere', () => {
    expect(textOf('docker-29', { info: { kernel: '5.15.0-colima' } })).toMatch(
      /^the engine runs its containers on another kernel \(5\.15\.0-colima\)/,
    )
  })
  test('a rootless engine that can limit is tried like any other', () => {
    const more = { info: { memoryLimit: true, pidsLimit: true, cpuQuota: true, swapLimit: true } }
    expect(judgeEngine(facts('rootless-20.10', more))).toEqual([])
  })
})

const ulimits = (...names: string[]) => names.map((Name) => ({ Name, Soft: 1, Hard: 1 }))
const OURS = ulimits('nofile', 'core', 'fsize')
const differs = (field: string, expected: unknown, seen: unknown) => [{ field, expected, found: seen }]
const joinFailed: More['failure'] = { step: 'join', said: 'a container under runc did not join within 30 s' }
const SNAP = { dataRoot: '/var/snap/docker/common/var-lib-docker' }
const withOption = (option: string) => ({
  securityOptions: [...recorded('docker-20.10').info.securityOptions, option],
})

test.each<[string, string, More, RegExp]>([
  [
    'default-ulimits',
    'default_ulimits',
    {
      failure: { step: 'look again', differences: differs('HostConfig.Ulimits', OURS, [...OURS, ...ulimits('nproc')]) },
    },
    /\(nproc\).*daemon\.json.*systemctl restart docker/,
  ],
  [
    'no memory control group, by the kernel',
    'no_memory_cgroup',
    { machine: { memoryCgroup: false } },
    /cgroup_enable=memory.*cmdline\.txt/,
  ],
  [
    'no memory control group, by the engine',
    'no_memory_cgroup',
    { info: { memoryLimit: false } },
    /cgroup_enable=memory/,
  ],
  [
    'memory 0 dropped by the engine',
    'no_memory_cgroup',
    { failure: { differences: differs('HostConfig.Memory', 100, 0) } },
    /cgroup_enable=memory/,
  ],
  [
    'a warning that memory cannot be limited',
    'no_memory_cgroup',
    {
      failure: {
        differences: differs(
          'Warnings',
          undefined,
          'Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.',
        ),
      },
    },
    /cgroup_enable=memory/,
  ],
  [
    'swap that is not counted (fault A9)',
    'no_swap_accounting',
    {
      info: { swapLimit: false },
      machine: { swapBytes: 4096 },
      failure: { differences: differs('HostConfig.MemorySwap', 100, -1) },
    },
    /swapaccount=1.*swapoff/,
  ],
  ['no limit of processes', 'no_pids_cgroup', { info: { pidsLimit: false } }, /CONFIG_CGROUP_PIDS/],
  [
    'no limit of CPU',
    'no_cpu_quota',
    {
      failure: { said: 'it answered 400: NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler' },
    },
    /CFS_BANDWIDTH/,
  ],
  [
    'no docker-init',
    'no_init',
    { failure: { step: 'start', said: 'it answered 500: exec: "docker-init": executable file not found in $PATH' } },
    /apt-get install tini/,
  ],
  ['no seccomp', 'no_seccomp', { info: { securityOptions: [] } }, /CONFIG_SECCOMP_FILTER/],
  [
    'AppArmor in the kernel without its userland',
    'apparmor_unused',
    { machine: { appArmor: true } },
    /apt-get install apparmor/,
  ],
  [
    'an AppArmor profile that cannot be loaded',
    'apparmor_profile',
    {
      failure: {
        step: 'start',
        said: 'it answered 500: AppArmor enabled on system but the docker-default profile could not be loaded',
      },
    },
    /apt-get install apparmor/,
  ],
  [
    'an unknown runtime',
    'no_runtime',
    { failure: { said: 'it answered 400: unknown or invalid runtime name: runsc' } },
    /"runtimes" in .*daemon\.json/,
  ],
  ["snap's Docker: the folder is empty", 'snap', { info: SNAP, failure: joinFailed }, /snap remove docker/],
  [
    "snap's Docker: the folder is not there",
    'snap',
    {
      info: SNAP,
      failure: {
        said: 'invalid mount config for type "bind": bind source path does not exist: /home/user/.hub/run/s/x',
      },
    },
    /snap remove docker/,
  ],
  [
    'users that the engine does not map (fault F14)',
    'users_unmapped',
    {
      info: withOption('name=userns'),
      failure: {
        step: 'start',
        said: 'OCI runtime create failed: setup user: cannot set uid to unmapped user in user namespace',
      },
    },
    /no mapping for the users of sessions \(60928 to 61183\).*\/etc\/subuid/,
  ],
  [
    'the same at the mount of a tmpfs, in the words of an engine with 50000 ids (measured)',
    'users_unmapped',
    {
      info: { ...withOption('name=rootless'), memoryLimit: true, pidsLimit: true, cpuQuota: true },
      failure: {
        step: 'start',
        said: 'error mounting "tmpfs" to rootfs at "/workspace": mount tmpfs:/workspace (via /proc/self/fd/11), flags: 0xe, data: size=256m,nr_inodes=32k,uid=60928,gid=60928,mode=0700: invalid argument',
      },
    },
    /engine.firstUser in hub.yaml/,
  ],
  ['userns-remap', 'userns_remap', { info: withOption('name=userns'), failure: joinFailed }, /userns-remap out of/],
  ['SELinux', 'selinux', { info: withOption('name=selinux'), failure: joinFailed }, /selinux-enabled/],
  [
    'a socket folder that cannot be connected through',
    'socket_folder',
    { failure: { ...joinFailed, log: 'x\nError: connect EACCES /run/hub/hub.sock\n' } },
    /its log ends: Error: connect EACCES/,
  ],
  [
    'a stop that the host denies',
    'stop_denied',
    { failure: { step: 'stop', said: 'it answered 500: cannot stop container: permission denied' } },
    /aa-remove-unknown/,
  ],
  ['a memory limit that does not hold', 'memory_unbounded', { memory: 'survived' }, /took twice its memory limit/],
])('fault A5: %s', (_what, id, more, words) => {
  const findings = judgeFitness(facts('docker-20.10', more))
  expect(findings.map((each) => each.id)).toEqual([id])
  expect(findings[0]?.blocks).toBe(true)
  expect(fitnessText(findings).replaceAll('\n', ' ')).toMatch(words)
})

test('what does not apply is no finding: swap not counted without swap (fault A9), AppArmor in use, userns-remap that works', () => {
  expect(found('docker-20.10', { info: { swapLimit: false }, memory: 'killed' })).toEqual([])
  expect(found('docker-20.10', { info: withOption('name=apparmor'), machine: { appArmor: true } })).toEqual([])
  expect(found('docker-20.10', { info: withOption('name=userns'), memory: 'killed' })).toEqual([])
  expect(found('docker-20.10', { info: SNAP, memory: 'killed' })).toEqual([])
})

test.each<[CanaryFacts['memory'], string]>([
  ['killed, unsaid', 'oom_unreported'],
  ['not seen', 'oom_not_seen'],
])('fault A5: memory %s is worth a look and blocks nothing', (memory, id) => {
  expect(judgeFitness(facts('docker-20.10', { memory })).map((each) => [each.id, each.blocks])).toEqual([[id, false]])
})

test("fault A5: what nobody foresaw is told in the engine's own words, with the first fields that differ", () => {
  const many = ['A', 'B', 'C', 'D'].map((name) => ({ field: `HostConfig.${name}`, expected: 1, found: 2 }))
  const findings = judgeFitness(
    facts('docker-29', { failure: { said: 'it answered 500: flux capacitor', differences: many } }),
  )
  expect(findings).toHaveLength(1)
  expect(findings[0]).toMatchObject({ id: 'canary_failed', blocks: true })
  expect(findings[0]?.words).toBe(
    'the canary session failed at the step "create": it answered 500: flux capacitor; HostConfig.A is 2; the hub asked for 1; HostConfig.B is 2; the hub asked for 1; HostConfig.C is 2; the hub asked for 1',
  )
  expect(findings[0]?.mend).toContain('journalctl -u docker')
})

test('every finding has words and a mending, and no two have one id', () => {
  const all = [
    ...judgeFitness(facts('podman-4.3')),
    ...judgeFitness(
      facts('docker-20.10', {
        info: { securityOptions: [], memoryLimit: false, pidsLimit: false, cpuQuota: false },
        machine: { appArmor: true },
      }),
    ),
  ]
  expect(all.length).toBe(6)
  expect(new Set(all.map(({ id }) => id)).size).toBe(6)
  for (const { words, mend } of all) expect(Math.min(words.length, mend.length)).toBeGreaterThan(20)
})
