/**
 * The one place where a container's settings are made (docs/sandbox.md 2, T48): a pure function of session facts, limits and host facts.
 *
 * P1. Built from nothing: no part of an argument is spread or merged into the body. Each value is checked by its own pattern.
 * P2. Every field is written, also the empty ones, so that inspect can be compared field by field.
 * P3. Nothing of docs/sandbox.md 6 can be expressed: there is no argument for it.
 */
import { HubError } from '../../base/errors.ts'
import { LIMIT_CEILINGS, type SessionLimits } from '../../protocol/agent.ts'
import { isRelaxations, type Relaxation } from '../../protocol/relax.ts'
import { assertLimits } from './limits.ts'
import {
  MASKED_PATHS,
  READONLY_PATHS,
  SHIM,
  SHM_BYTES,
  SOCKET_FOLDER,
  STOP_TIMEOUT_S,
  thermalPath,
} from './profile-lists.ts'
import { isUser, userText } from './users.ts'

export type Runtime = 'runc' | 'runsc'

export interface SessionFacts {
  instance: string
  session: string
  task: string
  attempt: string
  agent: string
  generation: number
  /** `sha256:...`, never a tag (T50). */
  imageId: string
  /** Its own user and group (users.ts). */
  user: number
  /** The session's socket folder on the host. */
  socketDir: string
  /** The deadline in epoch milliseconds, for people, tokens and containers that do not run. */
  expiresAtMs: number
  /** The same deadline by boot time, for running containers. */
  expiresBoot: { bootId: string; bootMs: number }
  runtime: Runtime
  /** It may reach something outside, so its programs may open streams to its own loopback (docs/egress.md 1). */
  egress: boolean
  /** Walls that card and rules moved for it (docs/sandbox.md 8). Empty: all stand. */
  relax: readonly Relaxation[]
}

export interface HostFacts {
  cpusWithThermalThrottle: readonly number[]
  appArmor: boolean
  /** The profile as JSON text. The engine shows it byte for byte. */
  seccomp: string
  /** The same for sessions with egress. */
  seccompEgress: string
}

export type CreateBody = ReturnType<typeof buildContainer>

const FACT_PATTERNS = {
  instance: /^[a-z0-9-]{1,63}$/,
  session: /^s[a-z2-7]{15}$/,
  task: /^[a-z0-9-]{1,63}$/,
  attempt: /^[a-z0-9-]{1,63}$/,
  agent: /^[a-z0-9-]{1,63}$/,
  imageId: /^sha256:[0-9a-f]{64}$/,
  socketDir: /^\/[A-Za-z0-9._/@+-]{1,106}$/,
  runtime: /^(?:runc|runsc)$/,
} as const

function assertFacts(facts: SessionFacts, host: HostFacts): void {
  const bad = (key: string): HubError => new HubError('internal', '', { reason: `the profile was given a bad ${key}` })
  for (const [key, pattern] of Object.entries(FACT_PATTERNS)) {
    const value = facts[key as keyof typeof FACT_PATTERNS]
    if (typeof value !== 'string' || !pattern.test(value)) throw bad(key)
  }
  // The only bind must be the folder of this very session.
  const parts = facts.socketDir.split('/')
  if (parts.at(-1) !== facts.session || parts.some((part) => part === '.' || part === '..')) throw bad('socketDir')
  if (!/^[A-Za-z0-9-]{1,63}$/.test(facts.expiresBoot.bootId)) throw bad('expiresBoot')
  const counts = [facts.generation, facts.expiresAtMs, facts.expiresBoot.bootMs, ...host.cpusWithThermalThrottle]
  if (!counts.every((count) => Number.isSafeInteger(count) && count >= 0)) throw bad('count')
  if (!isUser(facts.user)) throw bad('user')
  if (typeof facts.egress !== 'boolean') throw bad('egress')
  if (!isRelaxations(facts.relax)) throw bad('relax')
  for (const text of [host.seccomp, host.seccompEgress])
    if (!text.startsWith('{') || Buffer.byteLength(text) > 32_768) throw bad('seccomp profile')
}

/** The name of a session's container: `hub-<instance8>-<session>`. */
export const containerNameOf = (instance: string, session: string): string => `hub-${instance.slice(0, 8)}-${session}`

const MIB = 1024 ** 2

function sizeText(count: number, unit: number, suffix: string): string {
  return count % unit === 0 ? `${count / unit}${suffix}` : `${count}`
}

/** Options of a tmpfs. The engine adds `noexec` where nothing is said of it, so both words are written. uid and gid are needed: with only a mode, the image's own mode won and writes failed. */
function tmpfsOptions(
  user: number,
  bytes: number,
  [inodesPerMib, inodesMax]: readonly [perMib: number, max: number],
  exec: 'noexec' | 'exec' = 'noexec',
): string {
  const inodes = Math.min(inodesMax, Math.max(inodesPerMib, Math.floor((bytes / MIB) * inodesPerMib)))
  const size = `size=${sizeText(bytes, MIB, 'm')},nr_inodes=${sizeText(inodes, 1024, 'k')}`
  return `rw,${exec},nosuid,nodev,${size},uid=${user},gid=${user},mode=0700`
}

/**
 * The whole body of the create call. Throws `limit_exceeded` for a limit that is not positive or above its ceiling, and `internal` for a fact
 * that does not match its pattern.
 */
export function buildContainer(facts: SessionFacts, limits: SessionLimits, host: HostFacts) {
  assertFacts(facts, host)
  assertLimits(limits, LIMIT_CEILINGS)
  return {
    Image: facts.imageId,
    Hostname: '',
    Domainname: '',
    User: userText(facts.user),
    Env: [
      `HUB_SOCKET=${SOCKET_FOLDER}/hub.sock`,
      `HUB_SESSION=${facts.session}`,
      `HUB_DEADLINE=${facts.expiresAtMs}`,
      'TZ=UTC',
    ],
    Labels: {
      'hub.instance': facts.instance,
      'hub.session': facts.session,
      'hub.task': facts.task,
      'hub.attempt': facts.attempt,
      'hub.agent': facts.agent,
      'hub.generation': String(facts.generation),
      'hub.expires-at': String(facts.expiresAtMs),
      'hub.expires-boot': `${facts.expiresBoot.bootId}:${facts.expiresBoot.bootMs}`,
    },
    Entrypoint: [...SHIM],
    Cmd: [] as string[],
    WorkingDir: '/workspace',
    Tty: false,
    OpenStdin: false,
    StdinOnce: false,
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    StopSignal: 'SIGTERM',
    StopTimeout: STOP_TIMEOUT_S,
    NetworkDisabled: false,
    ArgsEscaped: false,
    OnBuild: [] as string[],
    Shell: [] as string[],
    ExposedPorts: {},
    Volumes: {},
    Healthcheck: { Test: ['NONE'] },
    HostConfig: buildHostConfig(facts, limits, host),
  }
}

function buildHostConfig(facts: SessionFacts, limits: SessionLimits, host: HostFacts) {
  return {
    NetworkMode: 'none',
    ReadonlyRootfs: true,
    Tmpfs: writableFolders(facts, limits),
    Mounts: [
      {
        Type: 'bind',
        Source: facts.socketDir,
        Target: SOCKET_FOLDER,
        ReadOnly: true,
        Consistency: '',
        BindOptions: {
          Propagation: 'rprivate',
          NonRecursive: false,
          CreateMountpoint: false,
          // If these two are not named, some engines fill in what older clients used (fault A2).
          ReadOnlyNonRecursive: false,
          ReadOnlyForceRecursive: false,
        },
      },
    ],
    ...nothingElse(),
    ...nothingMoved(),
    CapDrop: ['ALL'],
    CapAdd: [] as string[],
    Privileged: false,
    PublishAllPorts: false,
    OomKillDisable: false,
    SecurityOpt: [
      'no-new-privileges=true',
      `seccomp=${facts.egress ? host.seccompEgress : host.seccomp}`,
      ...(host.appArmor ? ['apparmor=docker-default'] : []),
    ],
    PidMode: '',
    UTSMode: '',
    UsernsMode: '',
    CgroupnsMode: 'private',
    CgroupParent: '',
    Cgroup: '',
    IpcMode: 'none',
    ShmSize: SHM_BYTES,
    PidsLimit: limits.pids,
    Memory: limits.memoryBytes,
    MemorySwap: limits.memoryBytes,
    NanoCpus: Math.round(limits.cpus * 1e9),
    CpuShares: 512,
    // No nproc: the kernel counts it per uid over the whole host. PidsLimit does that work.
    Ulimits: [
      { Name: 'nofile', Soft: limits.openFiles, Hard: limits.openFiles },
      { Name: 'core', Soft: 0, Hard: 0 },
      { Name: 'fsize', Soft: limits.workspaceBytes, Hard: limits.workspaceBytes },
    ],
    LogConfig: { Type: 'json-file', Config: { 'max-size': '1m', 'max-file': '1' } },
    RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
    AutoRemove: false,
    Init: true,
    Runtime: facts.runtime,
    MaskedPaths: [...MASKED_PATHS, ...host.cpusWithThermalThrottle.map(thermalPath)],
    ReadonlyPaths: [...READONLY_PATHS],
  }
}

/** All that a session can write to: memory of its own, counted against its limit (T101, T102). */
function writableFolders({ user, relax }: SessionFacts, limits: SessionLimits) {
  return {
    '/tmp': tmpfsOptions(user, limits.tmpBytes, [64, 16_384]),
    '/workspace': tmpfsOptions(user, limits.workspaceBytes, [128, 262_144], relax.includes('exec') ? 'exec' : 'noexec'),
    ...(relax.includes('shm') ? { '/dev/shm': tmpfsOptions(user, SHM_BYTES, [64, 16_384]) } : {}),
  }
}

/** Every list through which something else could get in: empty. */
function nothingElse() {
  const none: string[] = []
  return {
    Binds: none,
    VolumesFrom: none,
    Devices: none,
    DeviceRequests: none,
    DeviceCgroupRules: none,
    Links: none,
    ExtraHosts: none,
    PortBindings: {},
    Sysctls: {},
    Annotations: {},
    StorageOpt: {},
    ContainerIDFile: '',
    VolumeDriver: '',
    Isolation: '',
    GroupAdd: none,
    Dns: none,
    DnsOptions: none,
    DnsSearch: none,
  }
}

/** Every number that an engine would fill in by itself, at the value that changes nothing. A version that does not know one drops it. */
function nothingMoved() {
  return {
    ConsoleSize: [0, 0],
    CpuPeriod: 0,
    CpuQuota: 0,
    CpuRealtimePeriod: 0,
    CpuRealtimeRuntime: 0,
    CpusetCpus: '',
    CpusetMems: '',
    CpuCount: 0,
    CpuPercent: 0,
    IOMaximumIOps: 0,
    IOMaximumBandwidth: 0,
    KernelMemory: 0,
    KernelMemoryTCP: 0,
    MemoryReservation: 0,
    MemorySwappiness: null,
    OomScoreAdj: 0,
    Umask: null,
    BlkioWeight: 0,
    BlkioWeightDevice: null,
    BlkioDeviceReadBps: null,
    BlkioDeviceWriteBps: null,
    BlkioDeviceReadIOps: null,
    BlkioDeviceWriteIOps: null,
  }
}
