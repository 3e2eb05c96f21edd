/** The floors of every session, each as it must appear in the engine's own answer (S1-51, docs/sandbox.md 2). Pure. */
import { LIMIT_CEILINGS } from '../../protocol/agent.ts'
import type { Relaxation } from '../../protocol/relax.ts'
import { SHIM, SOCKET_FOLDER } from './profile-lists.ts'
import { userOf } from './users.ts'

/** What is known beside the engine's answer: whether this machine has swap, and under which AppArmor profile a process really runs. */
export interface Beside {
  hasSwap: () => boolean
  confinementOf: (pid: number) => string | undefined
}
/** Looks up a path such as `HostConfig.Memory`. Undefined if it does not exist. */
export type See = (path: string) => unknown
export interface Floor {
  name: string
  /** Fields of the comparison that belong to it. */
  fields: readonly string[]
  /** Whether it holds, where these relaxations were granted. A text says why not. */
  holds: (see: See, beside: Beside, granted: readonly Relaxation[]) => boolean | string
  /** The relaxation that moves it: where the engine shows that, it holds only by the grant. */
  movedBy?: Relaxation
}

const isNothing = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === '' ||
  (typeof value === 'object' && Object.keys(value).length === 0)
const isOnly = (value: unknown, ...entries: readonly string[]): boolean =>
  Array.isArray(value) && value.length === entries.length && entries.every((entry, at) => value[at] === entry)
const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : [])
const within = (value: unknown, max: number): boolean => typeof value === 'number' && value > 0 && value <= max
const host = (...names: string[]): string[] => names.map((name) => `HostConfig.${name}`)
const options = (see: See): string[] => listOf(see('HostConfig.SecurityOpt')).map(String)

/** Asynchronous IO of the kernel, System V IPC, message queues, segments of the processor. */
const SHARED_CALLS = /"(?:io_(?:setup|submit|uring_setup)|(?:shm|sem|msg)get|ipc|mq_open|modify_ldt)"/

/** The rules about sockets as the two profiles have them, written a second time on purpose. Loopback streams only where the machine is known. */
const ALLOW = '"action":"SCMP_ACT_ALLOW"'
const isUnix = `{"names":["socket","socketpair"],${ALLOW},"args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}`
const isStream = ['0', '6'].map(
  (protocol) =>
    `{"names":["socket"],${ALLOW},"args":[{"index":0,"value":2,"op":"SCMP_CMP_EQ"},{"index":1,"value":4294440959,"valueTwo":1,"op":"SCMP_CMP_MASKED_EQ"},{"index":2,"value":${protocol},"op":"SCMP_CMP_EQ"}],"includes":{"arches":["amd64","arm64"]}}`,
)
const OPENS_SOCKETS = ['socket', 'socketpair', 'socketcall']

export type Sockets = 'unix' | 'egress' | 'other'
/**
 * Which sockets the profile that the engine shows lets a program open: `unix` is AF_UNIX alone, `egress` TCP over IPv4 too, and `other` is
 * what no profile of the hub allows. Throws if it is no profile.
 */
export function socketsOf(see: See): Sockets {
  const profile = options(see).find((option) => option.startsWith('seccomp=')) ?? ''
  const { syscalls = [] } = JSON.parse(profile.slice('seccomp='.length)) as { syscalls?: { names: string[] }[] }
  const rules = syscalls.filter(({ names }) => names.some((name) => OPENS_SOCKETS.includes(name)))
  const texts = rules.map((rule) => JSON.stringify(rule))
  if (!texts.every((text) => text === isUnix || isStream.includes(text))) return 'other'
  return texts.every((text) => text === isUnix) ? 'unix' : 'egress'
}

const foldersOf = (see: See): [path: string, options: string][] =>
  Object.entries((see('HostConfig.Tmpfs') ?? {}) as object).map(([path, options]) => [path, String(options)])
const runsFrom = (see: See): string[] =>
  foldersOf(see).flatMap(([path, options]) => (options.split(',').includes('noexec') ? [] : [path]))

/** Which relaxations the engine shows. What is none of them shows in a floor that does not hold. */
export function relaxedOf(see: See): Relaxation[] {
  const shm = foldersOf(see).some(([path]) => path === '/dev/shm')
  return [...(runsFrom(see).length > 0 ? (['exec'] as const) : []), ...(shm ? (['shm'] as const) : [])]
}

/** Written a second time on purpose: a path that the profile loses fails here (fault D15). */
const MASKED = [
  ...['/dev/mqueue', '/dev/pts'],
  ...['/proc/acpi', '/proc/asound', '/proc/interrupts', '/proc/kcore', '/proc/keys', '/proc/latency_stats'],
  ...['/proc/sched_debug', '/proc/scsi', '/proc/timer_list', '/proc/timer_stats'],
  ...['/sys/devices/virtual/powercap', '/sys/firmware'],
]
const READ_ONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']

export const FLOORS: readonly Floor[] = [
  {
    name: 'a user of its own, not root',
    fields: ['Config.User'],
    holds: (see) => userOf(see('Config.User')) !== undefined,
  },
  {
    name: 'network none',
    fields: [
      ...host('NetworkMode', 'PortBindings', 'PublishAllPorts', 'ExtraHosts', 'Links'),
      'NetworkSettings.Networks',
    ],
    holds: (see) =>
      see('HostConfig.NetworkMode') === 'none' &&
      isOnly(Object.keys((see('NetworkSettings.Networks') ?? {}) as object), 'none') &&
      isNothing(see('HostConfig.PortBindings')),
  },
  {
    name: 'read-only root',
    fields: host('ReadonlyRootfs'),
    holds: (see) => see('HostConfig.ReadonlyRootfs') === true,
  },
  {
    name: 'no capabilities',
    fields: host('CapDrop', 'CapAdd', 'Privileged', 'GroupAdd'),
    holds: (see) =>
      isOnly(see('HostConfig.CapDrop'), 'ALL') &&
      isNothing(see('HostConfig.CapAdd')) &&
      see('HostConfig.Privileged') === false,
  },
  {
    name: 'no new privileges',
    fields: [],
    holds: (see) => options(see).includes('no-new-privileges=true'),
  },
  {
    name: 'own seccomp profile',
    fields: host('SecurityOpt'),
    // No call may be allowed that takes kernel objects shared by all sessions (faults F14, F18).
    holds: (see) =>
      options(see).some(
        (option) => /^seccomp=\{.*"defaultAction":"SCMP_ACT_ERRNO"/.test(option) && !SHARED_CALLS.test(option),
      ) && socketsOf(see) !== 'other',
  },
  {
    name: 'AppArmor where the host has it',
    fields: ['AppArmorProfile'],
    // The engine shows the profile that it was told, even if it does not use it (fault A5). The kernel knows.
    holds: (see, { confinementOf }) => {
      if (!options(see).includes('apparmor=docker-default')) return true
      const found = confinementOf(Number(see('State.Pid')))
      return found === undefined || found === 'docker-default' || `its process runs ${found}, not under docker-default`
    },
  },
  {
    name: 'own namespaces',
    fields: host(
      'PidMode',
      'UTSMode',
      'UsernsMode',
      'IpcMode',
      'CgroupnsMode',
      'CgroupParent',
      'Cgroup',
      'Isolation',
      'Sysctls',
    ),
    holds: (see) =>
      host('PidMode', 'UTSMode', 'UsernsMode', 'CgroupParent').every((path) => isNothing(see(path))) &&
      see('HostConfig.IpcMode') === 'none' &&
      see('HostConfig.CgroupnsMode') === 'private',
  },
  {
    name: 'one read-only bind',
    fields: ['Mounts', 'Config.Volumes', ...host('Mounts', 'Binds', 'VolumesFrom', 'VolumeDriver')],
    holds: (see) => {
      const [mount, ...more] = listOf(see('Mounts')) as Record<string, unknown>[]
      const isOurs = mount?.Destination === SOCKET_FOLDER && mount.RW === false && mount.Propagation === 'rprivate'
      return isOurs && more.length === 0 && isNothing(see('HostConfig.Binds'))
    },
  },
  {
    name: 'writable memory only, its own',
    fields: host('Tmpfs', 'ShmSize'),
    holds: (see) => {
      const folders = foldersOf(see).filter(([path]) => path !== '/dev/shm')
      // One owner, whoever it is. The comparison says that it is the session's own user.
      const own = /exec,nosuid,nodev,size=\d.*,uid=([1-9]\d{3,9}),gid=\1,mode=0700$/
      return folders.length === 2 && foldersOf(see).every(([, options]) => own.test(options))
    },
  },
  {
    name: 'nothing runs from what it can write',
    fields: [],
    holds: (see, _, granted) => {
      const paths = runsFrom(see)
      if (paths.length === 0) return true
      if (paths.some((path) => path !== '/workspace')) return `programs run from ${paths.join(', ')}`
      return granted.includes('exec') || 'programs run from /workspace, and nobody granted that'
    },
    movedBy: 'exec',
  },
  {
    name: 'no shared memory',
    fields: [],
    holds: (see, _, granted) => {
      const found = foldersOf(see).find(([path]) => path === '/dev/shm')
      if (found === undefined) return true
      if (!granted.includes('shm')) return 'there is a /dev/shm, and nobody granted one'
      return /^rw,noexec,nosuid,nodev,size=64m,/.test(found[1])
    },
    movedBy: 'shm',
  },
  {
    name: 'no devices',
    fields: host('Devices', 'DeviceRequests', 'DeviceCgroupRules'),
    holds: (see) => host('Devices', 'DeviceRequests', 'DeviceCgroupRules').every((path) => isNothing(see(path))),
  },
  {
    name: 'kernel files masked and read-only',
    fields: host('MaskedPaths', 'ReadonlyPaths'),
    holds: (see) =>
      MASKED.every((path) => listOf(see('HostConfig.MaskedPaths')).includes(path)) &&
      READ_ONLY.every((path) => listOf(see('HostConfig.ReadonlyPaths')).includes(path)),
  },
  {
    name: 'limits',
    fields: host(
      'Memory',
      'MemorySwap',
      'NanoCpus',
      'CpuShares',
      'PidsLimit',
      'Ulimits',
      'OomKillDisable',
      'OomScoreAdj',
      'BlkioWeight',
      'MemoryReservation',
      'MemorySwappiness',
      'KernelMemory',
      'KernelMemoryTCP',
      'CpuPeriod',
      'CpuQuota',
      'CpuRealtimePeriod',
      'CpuRealtimeRuntime',
      'CpusetCpus',
      'CpusetMems',
    ),
    holds: (see, { hasSwap }) =>
      within(see('HostConfig.Memory'), LIMIT_CEILINGS.memoryBytes) &&
      (see('HostConfig.MemorySwap') === see('HostConfig.Memory') ||
        (see('HostConfig.MemorySwap') === -1 && !hasSwap())) &&
      within(see('HostConfig.NanoCpus'), LIMIT_CEILINGS.cpus * 1e9) &&
      within(see('HostConfig.PidsLimit'), LIMIT_CEILINGS.pids) &&
      listOf(see('HostConfig.Ulimits')).length === 3,
  },
  {
    name: 'bounded log',
    fields: host('LogConfig'),
    holds: (see) =>
      see('HostConfig.LogConfig.Type') === 'json-file' && !isNothing(see('HostConfig.LogConfig.Config.max-size')),
  },
  {
    name: 'no restart',
    fields: [...host('RestartPolicy', 'AutoRemove'), 'RestartCount'],
    holds: (see) => see('HostConfig.RestartPolicy.Name') === 'no',
  },
  {
    name: 'TTL set',
    fields: ['Config.Labels'],
    holds: (see) => {
      const labels = (see('Config.Labels') ?? {}) as Record<string, unknown>
      return /^\d{13}$/.test(String(labels['hub.expires-at'])) && /^.+:\d+$/.test(String(labels['hub.expires-boot']))
    },
  },
  {
    name: 'the shim first, no health check',
    fields: ['Config.Entrypoint', 'Config.Cmd', 'Config.Healthcheck', 'Path', 'Args'],
    holds: (see) =>
      isOnly([see('Path'), ...listOf(see('Args'))], ...SHIM) && isOnly(see('Config.Healthcheck.Test'), 'NONE'),
  },
  {
    name: 'image by id',
    fields: ['Image', 'Config.Image'],
    holds: (see) => /^sha256:[0-9a-f]{64}$/.test(String(see('Config.Image'))),
  },
]
