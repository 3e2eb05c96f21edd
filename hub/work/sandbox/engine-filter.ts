/**
 * The closed list of engine calls (docs/sandbox.md 7, T62, T63, T70). Each call is judged before a byte is sent. What is not listed is
 * refused.
 *
 * F1. Method, whole path with query, and body must all match one row, in an API version that the hub knows. Only the question for the
 *     versions has no version in its path.
 * F2. A body is empty except in create.
 * F3. The body of create has its own schema, with every fixed value written literally. It is written apart from the profile on purpose: a
 *     mistake in one does not get past the other.
 */
import { z } from 'zod'
import { API_PATTERN } from '../../base/engine-versions.ts'
import { LIMIT_CEILINGS } from '../../protocol/agent.ts'

export interface EngineCall {
  method: string
  /** With the version it is made in, and the query. */
  path: string
  body: unknown
}

const BODY_BYTES_MAX = 65_536

/** Written a second time on purpose, see F3: nothing is imported from the profile (fault D15). */
const MASKED = [
  ...['/dev/mqueue', '/dev/pts'],
  ...['/proc/acpi', '/proc/asound', '/proc/interrupts', '/proc/kcore', '/proc/keys', '/proc/latency_stats'],
  ...['/proc/sched_debug', '/proc/scsi', '/proc/timer_list', '/proc/timer_stats'],
  ...['/sys/devices/virtual/powercap', '/sys/firmware'],
]
const READ_ONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']
const LABELS = [
  ...['hub.instance', 'hub.session', 'hub.task', 'hub.attempt', 'hub.agent', 'hub.generation'],
  ...['hub.expires-at', 'hub.expires-boot'],
]

/** Users of sessions: where their range begins by default, and how many there are. */
const FIRST_USER = 60_928
const USERS = 256

const ID = '[0-9a-f]{64}'
const NAME = 'hub-[a-z0-9-]{1,8}-s[a-z2-7]{15}'
const EITHER = `(?:${ID}|${NAME})`
/** Percent-encoded JSON, checked by its content. */
const FILTERS = "filters=([A-Za-z0-9%._~!*()'-]{1,600})"

const none = z.array(z.never()).length(0)
const blank = z.strictObject({})
const off = z.literal(false)
const zero = z.literal(0)
const empty = z.literal('')
const count = (max: number) => z.int().min(1).max(max)
const tmpfs = z
  .string()
  .regex(/^rw,noexec,nosuid,nodev,size=[1-9]\d*m?,nr_inodes=[1-9]\d*k?,uid=[1-9]\d{3,9},gid=[1-9]\d{3,9},mode=0700$/)
/** The one folder that programs may run from, where card and rules permit it (T101). Who may is not known here. */
const workspace = z
  .string()
  .regex(
    /^rw,(?:no)?exec,nosuid,nodev,size=[1-9]\d*m?,nr_inodes=[1-9]\d*k?,uid=[1-9]\d{3,9},gid=[1-9]\d{3,9},mode=0700$/,
  )
/** The one more folder, likewise, in this one size (T102). */
const shm = z
  .string()
  .regex(/^rw,noexec,nosuid,nodev,size=64m,nr_inodes=4k,uid=[1-9]\d{3,9},gid=[1-9]\d{3,9},mode=0700$/)
const ulimit = (name: string, value: z.ZodType<number>) =>
  z.strictObject({ Name: z.literal(name), Soft: value, Hard: value })
const isAtLeast = (list: readonly string[]) => (paths: string[]) => list.every((path, at) => paths[at] === path)

const hostConfigShape = z.strictObject({
  NetworkMode: z.literal('none'),
  ReadonlyRootfs: z.literal(true),
  Tmpfs: z.strictObject({ '/tmp': tmpfs, '/workspace': workspace, '/dev/shm': shm.optional() }),
  Mounts: z.tuple([
    z.strictObject({
      Type: z.literal('bind'),
      Source: z.string().regex(/^\/[^\s:,]*\/run\/s\/s[a-z2-7]{15}$/),
      Target: z.literal('/run/hub'),
      ReadOnly: z.literal(true),
      Consistency: empty,
      BindOptions: z.strictObject({
        Propagation: z.literal('rprivate'),
        NonRecursive: off,
        CreateMountpoint: off,
        ReadOnlyNonRecursive: off,
        ReadOnlyForceRecursive: off,
      }),
    }),
  ]),
  Binds: none,
  VolumesFrom: none,
  Devices: none,
  DeviceRequests: none,
  DeviceCgroupRules: none,
  Links: none,
  ExtraHosts: none,
  PortBindings: blank,
  Sysctls: blank,
  GroupAdd: none,
  Dns: none,
  DnsOptions: none,
  DnsSearch: none,
  Annotations: blank,
  StorageOpt: blank,
  ContainerIDFile: empty,
  VolumeDriver: empty,
  Isolation: empty,
  ConsoleSize: z.tuple([zero, zero]),
  CpuPeriod: zero,
  CpuQuota: zero,
  CpuRealtimePeriod: zero,
  CpuRealtimeRuntime: zero,
  CpusetCpus: empty,
  CpusetMems: empty,
  CpuCount: zero,
  CpuPercent: zero,
  IOMaximumIOps: zero,
  IOMaximumBandwidth: zero,
  KernelMemory: zero,
  KernelMemoryTCP: zero,
  MemoryReservation: zero,
  MemorySwappiness: z.null(),
  OomScoreAdj: zero,
  Umask: z.null(),
  BlkioWeight: zero,
  BlkioWeightDevice: z.null(),
  BlkioDeviceReadBps: z.null(),
  BlkioDeviceWriteBps: z.null(),
  BlkioDeviceReadIOps: z.null(),
  BlkioDeviceWriteIOps: z.null(),
  CapDrop: z.tuple([z.literal('ALL')]),
  CapAdd: none,
  Privileged: z.literal(false),
  PublishAllPorts: z.literal(false),
  OomKillDisable: z.literal(false),
  SecurityOpt: z.union([
    z.tuple([z.literal('no-new-privileges=true'), z.string().startsWith('seccomp={"defaultAction":"SCMP_ACT_ERRNO"')]),
    z.tuple([
      z.literal('no-new-privileges=true'),
      z.string().startsWith('seccomp={"defaultAction":"SCMP_ACT_ERRNO"'),
      z.literal('apparmor=docker-default'),
    ]),
  ]),
  PidMode: z.literal(''),
  UTSMode: z.literal(''),
  UsernsMode: z.literal(''),
  CgroupnsMode: z.literal('private'),
  CgroupParent: z.literal(''),
  Cgroup: empty,
  IpcMode: z.literal('none'),
  ShmSize: z.literal(67_108_864),
  PidsLimit: count(LIMIT_CEILINGS.pids),
  Memory: count(LIMIT_CEILINGS.memoryBytes),
  MemorySwap: count(LIMIT_CEILINGS.memoryBytes),
  NanoCpus: count(LIMIT_CEILINGS.cpus * 1e9),
  CpuShares: z.literal(512),
  Ulimits: z.tuple([
    ulimit('nofile', count(LIMIT_CEILINGS.openFiles)),
    ulimit('core', z.literal(0)),
    ulimit('fsize', count(LIMIT_CEILINGS.workspaceBytes)),
  ]),
  LogConfig: z.strictObject({
    Type: z.literal('json-file'),
    Config: z.strictObject({ 'max-size': z.literal('1m'), 'max-file': z.literal('1') }),
  }),
  RestartPolicy: z.strictObject({ Name: z.literal('no'), MaximumRetryCount: z.literal(0) }),
  AutoRemove: z.literal(false),
  Init: z.literal(true),
  Runtime: z.enum(['runc', 'runsc']),
  MaskedPaths: z.array(z.string().startsWith('/')).max(1024).refine(isAtLeast(MASKED), 'paths must stay masked'),
  ReadonlyPaths: z.array(z.string()).length(READ_ONLY.length).refine(isAtLeast(READ_ONLY), 'must stay read-only'),
})

const label = z.string().min(1).max(200)

const createShape = z.strictObject({
  Image: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  Hostname: empty,
  Domainname: empty,
  User: z.string().regex(/^[1-9]\d{3,9}:[1-9]\d{3,9}$/),
  Env: z.array(z.string().regex(/^(?:HUB_SOCKET|HUB_SESSION|HUB_DEADLINE|TZ)=[\w/.-]{1,64}$/)).length(4),
  Labels: z.strictObject(Object.fromEntries(LABELS.map((key) => [key, label]))),
  Entrypoint: z.tuple([z.literal('/usr/local/bin/node'), z.literal('/app/images/agent/shim.js')]),
  Cmd: none,
  WorkingDir: z.literal('/workspace'),
  Tty: z.literal(false),
  OpenStdin: z.literal(false),
  StdinOnce: z.literal(false),
  AttachStdin: z.literal(false),
  AttachStdout: z.literal(false),
  AttachStderr: z.literal(false),
  StopSignal: z.literal('SIGTERM'),
  StopTimeout: z.literal(5),
  NetworkDisabled: z.literal(false),
  ArgsEscaped: off,
  OnBuild: none,
  Shell: none,
  ExposedPorts: blank,
  Volumes: blank,
  Healthcheck: z.strictObject({ Test: z.tuple([z.literal('NONE')]) }),
  HostConfig: hostConfigShape,
})

type Inside = (part: string) => boolean

/** Filters must hold exactly the keys named here and our instance label, so that foreign containers are not even seen. */
const filtersHold =
  (...keys: string[]): Inside =>
  (part) => {
    try {
      const filters = JSON.parse(decodeURIComponent(part)) as { label?: string[]; type?: string[] }
      const labels = filters.label ?? []
      if (Object.keys(filters).sort().join() !== keys.sort().join() || labels.length !== 1) return false
      return (
        /^hub\.instance=[a-z0-9-]{1,63}$/.test(labels[0] ?? '') &&
        (filters.type ?? ['container']).join() === 'container'
      )
    } catch {
      return false
    }
  }
/** The one exception: a look at the sessions of all hubs, to see whether another hub gives them users of our range (fault F14). */
const allSessions: Inside = (part) => {
  try {
    return decodeURIComponent(part) === '{"label":["hub.session"]}'
  } catch {
    return false
  }
}
const anything: Inside = () => true

const route = (method: string, path: string, inside: Inside = anything) => ({
  method,
  path: new RegExp(`^/${API_PATTERN}${path}$`),
  inside,
})
const CREATE = route('POST', `/containers/create\\?name=${NAME}`)
const ROUTES = [
  CREATE,
  route('GET', '/_ping'),
  { method: 'GET', path: /^\/version$/, inside: anything },
  // Reads only: where the engine keeps its data, and what its host can do.
  route('GET', '/info'),
  route(
    'GET',
    '/images/((?:sha256:[0-9a-f]{64})|[a-z0-9][a-z0-9._/-]{0,150}(?::[A-Za-z0-9._-]{1,128})?)/json',
    (name) => {
      return name.split('/').every((part) => part !== '' && !/^\.+$/.test(part))
    },
  ),
  route('GET', `/containers/${EITHER}/json`),
  route('POST', `/containers/${EITHER}/start`),
  route('POST', `/containers/${EITHER}/wait\\?condition=next-exit`),
  route('POST', `/containers/${EITHER}/stop\\?t=(?:\\d|1[0-5])`),
  route('POST', `/containers/${EITHER}/kill`),
  route('DELETE', `/containers/${EITHER}\\?force=1&v=1`),
  route('GET', `/containers/json\\?all=1&${FILTERS}`, (part) => filtersHold('label')(part) || allSessions(part)),
  route('GET', `/events\\?${FILTERS}`, filtersHold('label', 'type')),
  route('GET', `/containers/${EITHER}/logs\\?stdout=1&stderr=1&tail=\\d{1,5}`),
  // Only for evidence (S1-66).
  route('POST', `/containers/${EITHER}/pause`),
  route('POST', `/containers/${EITHER}/unpause`),
  route('GET', `/containers/${EITHER}/top`),
]

/** Why a call may not leave this process, or undefined if it may. `firstUser`: where the range of sessions' users begins. Pure. */
export function judgeEngineCall(call: EngineCall, firstUser = FIRST_USER): string | undefined {
  const found = ROUTES.find((each) => each.method === call.method && each.path.test(call.path))
  const inside = found?.path.exec(call.path)?.[1]
  if (found === undefined || !found.inside(inside ?? '')) return 'it is not on the closed list of engine calls'
  if (found !== CREATE) return call.body === undefined ? undefined : 'it must have no body'
  if (typeof call.body !== 'string') return 'create needs a body'
  if (Buffer.byteLength(call.body) > BODY_BYTES_MAX) return `its body is over ${BODY_BYTES_MAX} bytes`
  return judgeCreateBody(call.body, firstUser)
}

function judgeCreateBody(text: string, firstUser: number): string | undefined {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    return 'its body is not JSON'
  }
  const parsed = createShape.safeParse(body)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    return `its body breaks the profile at ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`
  }
  // Duplicate keys (engine and parser might take different ones) and odd spellings do not survive this.
  if (JSON.stringify(body) !== text) return 'its body is not the plain JSON this program writes'
  const { Memory, MemorySwap, Tmpfs } = parsed.data.HostConfig
  if (Memory !== MemorySwap) return 'it would allow swap'
  return judgeUser(
    parsed.data.User,
    Object.values(Tmpfs).filter((options) => options !== undefined),
    firstUser,
  )
}

/** One user of the range: as user, as group, and as owner of what it may write. */
function judgeUser(user: string, mounts: readonly string[], firstUser: number): string | undefined {
  const [id = '', group] = user.split(':')
  if (id !== group || Number(id) < firstUser || Number(id) >= firstUser + USERS)
    return `its user ${user} is not in the range of sessions' users (${firstUser} to ${firstUser + USERS - 1})`
  const isOwner = (options: string) => options.includes(`,uid=${id},gid=${id},`)
  return mounts.every(isOwner) ? undefined : 'its writable folders belong to another user'
}
