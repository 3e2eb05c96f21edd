/**
 * Grades a running session (S1-51): what the engine shows of its container, against the profile and against each floor by itself.
 *
 * G1. A check passes only if its floor holds in the engine's answer and nothing in its fields differs from the profile: the first stands
 *     against a wrong profile, the second against an engine or a hand that changed the container.
 * G2. Every difference fails a check; what no check names fails `nothing else`.
 * G3. Pure; it never throws, whatever the engine answered.
 */
import { LIMIT_CEILINGS } from '../../protocol/agent.ts'
import { compareInspect, type Difference } from './compare.ts'
import type { CreateBody } from './profile.ts'
import { CONTAINER_USER, SHIM, SOCKET_FOLDER } from './profile-lists.ts'

export interface HardeningCheck {
  name: string
  pass: boolean
  /** What is not as it should be; empty for a check that passes. */
  found: string
}
export interface Hardening {
  pass: boolean
  checks: HardeningCheck[]
}

/** Looks up a path such as `HostConfig.Memory`; undefined where there is no such thing. */
type See = (path: string) => unknown
interface Floor {
  name: string
  fields: readonly string[]
  holds: (see: See) => boolean
}

const FOUND_MAX = 300

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

const FLOORS: readonly Floor[] = [
  { name: 'not root', fields: ['Config.User'], holds: (see) => see('Config.User') === CONTAINER_USER },
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
    holds: (see) => options(see).some((option) => /^seccomp=\{.*"defaultAction":"SCMP_ACT_ERRNO"/.test(option)),
  },
  { name: 'AppArmor where the host has it', fields: ['AppArmorProfile'], holds: () => true },
  {
    name: 'own namespaces',
    fields: host('PidMode', 'UTSMode', 'UsernsMode', 'IpcMode', 'CgroupnsMode', 'CgroupParent', 'Sysctls'),
    holds: (see) =>
      host('PidMode', 'UTSMode', 'UsernsMode', 'CgroupParent').every((path) => isNothing(see(path))) &&
      see('HostConfig.IpcMode') === 'none' &&
      see('HostConfig.CgroupnsMode') === 'private',
  },
  {
    name: 'one read-only bind',
    fields: ['Mounts', 'Config.Volumes', ...host('Mounts', 'Binds', 'VolumesFrom')],
    holds: (see) => {
      const [mount, ...more] = listOf(see('Mounts')) as Record<string, unknown>[]
      const isOurs = mount?.Destination === SOCKET_FOLDER && mount.RW === false && mount.Propagation === 'rprivate'
      return isOurs && more.length === 0 && isNothing(see('HostConfig.Binds'))
    },
  },
  {
    name: 'writable memory only, nothing runs from it',
    fields: host('Tmpfs', 'ShmSize'),
    holds: (see) => {
      const mounts = Object.values((see('HostConfig.Tmpfs') ?? {}) as object).map(String)
      return mounts.length === 2 && mounts.every((each) => /noexec,nosuid,nodev,size=\d+/.test(each))
    },
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
      listOf(see('HostConfig.MaskedPaths')).includes('/proc/kcore') &&
      listOf(see('HostConfig.ReadonlyPaths')).includes('/proc/sys'),
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
      'BlkioWeight',
    ),
    holds: (see) =>
      within(see('HostConfig.Memory'), LIMIT_CEILINGS.memoryBytes) &&
      see('HostConfig.MemorySwap') === see('HostConfig.Memory') &&
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

function seeIn(inspect: unknown): See {
  return (path) =>
    path.split('.').reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], inspect)
}

/** Grades the answer to inspect of container `id` of a session, given the body that the profile makes for it. */
export function judgeHardening(sent: CreateBody, inspect: unknown, id: string): Hardening {
  const differences = compareInspect(sent, inspect, id)
  const see = seeIn(inspect)
  const named = new Set(FLOORS.flatMap(({ fields }) => fields))
  const checks = FLOORS.map(({ name, fields, holds }) => {
    const mine = differences.filter(({ field }) => fields.includes(field))
    return checkOf(name, mine, safely(holds, see))
  })
  checks.push(
    checkOf(
      'nothing else',
      differences.filter(({ field }) => !named.has(field)),
      true,
    ),
  )
  return { pass: checks.every(({ pass }) => pass), checks }
}

/** A shape nobody foresaw is a floor that does not hold. */
function safely(holds: Floor['holds'], see: See): boolean {
  try {
    return holds(see)
  } catch {
    return false
  }
}

function checkOf(name: string, differences: Difference[], holds: boolean): HardeningCheck {
  const text = ({ field, expected, found }: Difference) =>
    `${field} is ${wordOf(found)}, the profile says ${wordOf(expected)}`
  const said = differences.length > 0 ? differences.map(text).join('; ') : holds ? '' : 'the floor does not hold'
  return { name, pass: holds && differences.length === 0, found: said.slice(0, FOUND_MAX) }
}
const wordOf = (value: unknown): string => (JSON.stringify(value) ?? 'absent').slice(0, 80)
