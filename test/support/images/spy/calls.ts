/** System calls that no agent may make, made raw: in both entries of x86-64, past Node and past its library (T51, T52, T56). */
import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'

export const HELPER = '/app/raw'
/** Not there on other processors than x86-64. */
export const canCall = (): boolean => existsSync(HELPER)

const RECORD_AT = 0x600000
const RECORD_BYTES = 512
const HEAD_BYTES = 64

/** A text becomes the address of that text in the record, bytes the address of those bytes. */
type Argument = number | string | Uint8Array
interface Call {
  id: string
  number: number
  args: Argument[]
  old?: boolean
}

const NEW_USER = 0x10000000
const NAMESPACES = {
  mount: 0x00020000,
  cgroup: 0x02000000,
  uts: 0x04000000,
  ipc: 0x08000000,
  user: NEW_USER,
  pid: 0x20000000,
  net: 0x40000000,
}
const INET = 2
const STREAM = 1
const AF_MAX = 45
const zeros = (bytes: number) => new Uint8Array(bytes)

/** Number and arguments of each; what is not said is zero. `self` is a process of the same user to look into. */
const callsOf = (self: number): Record<string, [number, ...Argument[]]> => ({
  'T51.mount': [165, 'none', '/tmp', 'tmpfs', 0, 0],
  'T51.remount_root': [165, 'none', '/', '', 0x20, 0],
  'T51.bind_mount': [165, '/proc', '/tmp', '', 0x1000, 0],
  'T51.umount': [166, '/run/hub', 2],
  'T51.pivot_root': [155, '/tmp', '/tmp'],
  'T51.chroot': [161, '/tmp'],
  'T51.fsopen': [430, 'tmpfs', 0],
  'T51.fsmount': [432, 0, 0, 0],
  'T51.fspick': [433, -100, '/', 0],
  'T51.open_tree': [428, -100, '/', 1],
  'T51.move_mount': [429, -100, '/tmp', -100, '/workspace', 0],
  'T51.mount_setattr': [442, -100, '/', 0, zeros(32), 32],
  'T51.setns': [308, 0, 0],
  'T51.clone_user': [56, NEW_USER | 17, 0],
  'T51.clone3': [435, zeros(88), 88],
  'T51.ptrace_attach': [101, 0x4206, self],
  'T51.process_vm_readv': [310, self, zeros(16), 1, zeros(16), 1, 0],
  'T51.process_vm_writev': [311, self, zeros(16), 1, zeros(16), 1, 0],
  'T51.process_madvise': [440, 0, zeros(16), 1, 0, 0],
  'T51.pidfd_getfd': [438, 0, 0, 0],
  'T51.kcmp': [312, self, self, 0, 0, 0],
  'T51.keyctl': [250, 0, -3, 1],
  'T51.add_key': [248, 'user', 'spy', 'x', 1, -3],
  'T51.request_key': [249, 'user', 'spy', 0, 0],
  'T51.bpf': [321, 0, zeros(72), 72],
  'T51.userfaultfd': [323, 1],
  'T51.perf_event_open': [298, zeros(128), 0, -1, -1, 0],
  'T51.init_module': [175, zeros(16), 16, ''],
  'T51.finit_module': [313, 0, '', 0],
  'T51.delete_module': [176, 'loop', 0],
  'T51.kexec_load': [246, 0, 0, 0, 0],
  'T51.kexec_file_load': [320, 0, 0, 0, 0, 0],
  'T51.reboot': [169, 0xfee1dead, 672274793, 0, 0],
  'T51.syslog': [103, 3, zeros(64), 64],
  'T51.acct': [163, '/tmp/acct'],
  'T51.swapon': [167, '/tmp/swap', 0],
  'T51.sethostname': [170, 'spy', 3],
  'T51.setdomainname': [171, 'spy', 3],
  'T51.settimeofday': [164, zeros(16), 0],
  'T51.clock_settime': [227, 0, zeros(16)],
  'T51.iopl': [172, 3],
  'T51.ioperm': [173, 0, 1, 1],
  'T51.quotactl': [179, 0, 0, 0, 0],
  'T51.fanotify_init': [300, 0, 0],
  'T51.name_to_handle_at': [303, -100, '/', zeros(128), zeros(8), 0],
  'T51.open_by_handle_at': [304, 0, zeros(128), 0],
  'T51.lookup_dcookie': [212, 0, zeros(64), 64],
  'T51.vhangup': [153],
  'T51.personality': [135, 0x0040000],
  // Files without a mount: a program in one would run although no place that can be written to lets programs run.
  'T51.memfd_create': [319, 'spy', 0],
  'T51.memfd_secret': [447, 0],
  // What the helper is given as its input stands in `/tmp`.
  'T51.execveat': [322, 0, '', 0, 0, 0x1000],
  'T51.set_mempolicy': [238, 0, 0, 0],
  'T51.setuid_root': [105, 0],
  'T51.setgid_root': [106, 0],
  'T51.setgroups': [116, 1, zeros(4)],
  'T51.mknod_device': [133, '/tmp/sda', 0o60666, 0x0800],
  'T51.chown_root': [92, '/tmp', 0, 0],
  'T51.rlimit_raise': [302, 0, 7, new Uint8Array(new BigUint64Array([65_536n, 65_536n]).buffer), 0],
  'T51.core_raise': [302, 0, 4, new Uint8Array(new BigUint64Array([1_000_000n, 1_000_000n]).buffer), 0],
  // A dump of it would be the host's: as a program that changes its user.
  'T64.dumpable_by_root': [157, 4, 2],
  'T52.io_uring_setup': [425, 8, zeros(120)],
  'T52.io_uring_enter': [426, 0, 0, 0, 0, 0],
  'T52.io_uring_register': [427, 0, 0, 0, 0],
  'T52.packet_socket': [41, 17, 3, 0x0300],
  'T52.raw_socket': [41, INET, 3, 1],
  'T52.socketpair_inet': [53, INET, STREAM, 0, zeros(8)],
  'T52.x32_socket': [0x40000000 + 41, INET, STREAM, 0],
  'T51.modify_ldt': [154, 1, zeros(16), 16],
  'T56.io_setup': [206, 8, zeros(8)],
  'T56.io_destroy': [207, 0],
  'T56.io_getevents': [208, 0, 0, 1, zeros(32), 0],
  'T56.io_submit': [209, 0, 0, zeros(8)],
  'T56.io_cancel': [210, 0, zeros(64), zeros(32)],
  'T56.io_pgetevents': [333, 0, 0, 1, zeros(32), 0, 0],
  'T56.shmget': [29, 0x1234, 4096, 0o1600],
  'T56.shmat': [30, 0, 0, 0],
  'T56.shmctl': [31, 0, 14, zeros(64)],
  'T56.semget': [64, 0x1234, 1, 0o1600],
  'T56.semop': [65, 0, zeros(8), 1],
  'T56.semtimedop': [220, 0, zeros(8), 1, 0],
  'T56.msgget': [68, 0x1234, 0o1600],
  'T56.msgsnd': [69, 0, zeros(16), 1, 0],
  'T56.msgrcv': [70, 0, zeros(16), 1, 0, 0],
  'T56.msgctl': [71, 0, 3, zeros(64)],
  'T56.mq_open': [240, 'spy', 0o102, 0o600, 0],
  'T56.mq_unlink': [241, 'spy'],
  'T56.mq_timedsend': [242, 0, 'x', 1, 0, 0],
  'T56.mq_timedreceive': [243, 0, zeros(8), 8, 0, 0],
  'T56.mq_notify': [244, 0, 0],
  'T56.mq_getsetattr': [245, 0, 0, 0],
})

/** The same doors by the numbers of the 32-bit entry, where one call can carry what the 64-bit filter looks at in another. */
const oldCalls: Record<string, [number, ...Argument[]]> = {
  'T51.old_mount': [21, 'none', '/tmp', 'tmpfs', 0, 0],
  'T51.old_unshare': [310, NEW_USER],
  'T51.old_bpf': [357, 0, zeros(72), 72],
  'T51.old_keyctl': [288, 0, -3, 1],
  'T52.old_socket': [359, INET, STREAM, 0],
  'T52.old_socketcall': [102, 1, new Uint8Array(new Uint32Array([INET, STREAM, 0]).buffer)],
  'T51.old_modify_ldt': [123, 1, zeros(16), 16],
  'T56.old_io_setup': [245, 8, zeros(8)],
  'T56.old_ipc': [117, 23, 0x1234, 4096, 0o1600],
  'T56.old_shmget': [395, 0x1234, 4096, 0o1600],
  'T56.old_mq_open': [277, 'spy', 0o102, 0o600, 0],
}

function allCalls(): Call[] {
  const calls = Object.entries(callsOf(process.pid)).map(([id, [number, ...args]]) => ({ id, number, args }))
  const old = Object.entries(oldCalls).map(([id, [number, ...args]]) => ({ id, number, args, old: true }))
  const unshares = Object.entries(NAMESPACES).map(([name, flag]) => ({
    id: `T51.unshare_${name}`,
    number: 272,
    args: [flag],
  }))
  const families = Array.from({ length: AF_MAX + 1 }, (_, family) => ({
    id: `T52.family_${family}`,
    number: 41,
    args: [family, STREAM, 0],
  }))
  return [...calls, ...old, ...unshares, ...families]
}

function recordOf({ number, args, old = false }: Call): Buffer {
  const record = Buffer.alloc(RECORD_BYTES)
  let free = HEAD_BYTES
  const address = (data: Uint8Array) => {
    record.set(data, free)
    const at = RECORD_AT + free
    free += Math.ceil(data.length / 8) * 8
    return at
  }
  const plain = args.map((argument) =>
    typeof argument === 'number'
      ? argument
      : address(typeof argument === 'string' ? Buffer.from(`${argument}\0`) : argument),
  )
  for (const [at, value] of [number, ...plain].entries()) record.writeBigInt64LE(BigInt(value), at * 8)
  record.writeBigInt64LE(old ? 1n : 0n, 56)
  return record
}

const [NONBLOCK, CLOEXEC] = [0o4000, 0o2000000]
/** What the kernel calls a type, some with flags, and two that are none. */
const TYPES = [0, 1, 2, 3, 4, 5, 6, 10, 1 | NONBLOCK, 1 | CLOEXEC, 1 | NONBLOCK | CLOEXEC, 2 | CLOEXEC, 1 | 0x100]
/** ICMP, IGMP, TCP, UDP, IPv6, GRE, ICMPv6, SCTP, UDP-Lite, raw, MPTCP. */
const PROTOCOLS = [0, 1, 2, 6, 17, 41, 47, 58, 132, 136, 255, 262]
const UNIX = 1
/** Only its lower half counts for the kernel. */
const HIGH = 2 ** 32
const [SOL_SOCKET, SOL_IP, SOL_TCP] = [1, 0, 6]
const OPTIONS: Readonly<Record<string, [level: number, option: number, value: Argument, bytes: number]>> = {
  nodelay: [SOL_TCP, 1, new Uint8Array([1, 0, 0, 0]), 4],
  keepalive: [SOL_SOCKET, 9, new Uint8Array([1, 0, 0, 0]), 4],
  ulp: [SOL_TCP, 31, 'tls', 3],
  ulp_by_high_level: [SOL_TCP + HIGH, 31, 'tls', 3],
  ulp_by_high_option: [SOL_TCP, 31 + HIGH, 'tls', 3],
  ulp_of_mptcp: [SOL_TCP, 31, 'mptcp', 5],
  congestion: [SOL_TCP, 13, 'reno', 4],
  type_of_service: [SOL_IP, 1, new Uint8Array([16, 0, 0, 0]), 4],
  time_to_live: [SOL_IP, 2, new Uint8Array([9, 0, 0, 0]), 4],
  options_of_ip: [SOL_IP, 4, new Uint8Array([0, 0, 0, 0]), 4],
}

/** All in one process; what one of them opens, the next finds. */
function inOneProcess(calls: readonly Omit<Call, 'id'>[]): string[] {
  const file = '/tmp/calls'
  writeFileSync(file, Buffer.concat(calls.map((call) => recordOf({ id: '', ...call }))))
  const input = openSync(file, 'r')
  const { stdout } = spawnSync(HELPER, { stdio: [input, 'pipe', 'ignore'] })
  closeSync(input)
  return calls.map((_, at) => (stdout.length >= 8 * (at + 1) ? wordOf(Number(stdout.readBigInt64LE(8 * at))) : 'died'))
}

/** Every family with every type and protocol, and options of a stream: what comes back, in as few words as tell it. */
export function trySockets(): [id: string, got: string][] {
  const families = Array.from({ length: AF_MAX + 1 }, (_, family) => family)
  const all = families.flatMap((family) => TYPES.flatMap((type) => PROTOCOLS.map((by) => [family, type, by] as const)))
  const answers = inOneProcess(all.map((args) => ({ number: 41, args: [...args] })))
  const told = all.map((args, at) => ({ family: args[0], what: args.join('/'), answer: answers[at] ?? '' }))
  const beyond = told.filter(({ family }) => family !== UNIX)
  const open = beyond.filter(({ answer }) => answer !== 'EPERM')
  const unix = told.filter(({ family, answer }) => family === UNIX && answer !== 'EPERM').length
  // The stream is the first that this process opens, after its input, its output and where it complains.
  const names = Object.keys(OPTIONS)
  const set = Object.values(OPTIONS).map((args) => ({ number: 54, args: [3, ...args] }))
  const [stream = '', ...results] = inOneProcess([{ number: 41, args: [INET, STREAM, 0] }, ...set])
  return [
    ['E1.tried', String(told.length)],
    ['E1.beyond_unix', open.map(({ what, answer }) => `${what}=${answer}`).join(' ') || 'nothing'],
    ['E1.of_unix', String(unix)],
    ['E1.stream', stream],
    ...names.map((name, at): [string, string] => [`E1.set_${name}`, results[at] ?? '']),
  ]
}

const names = new Map(Object.entries(constants.errno).map(([name, code]) => [code, name]))
const wordOf = (result: number): string => (result < 0 ? (names.get(-result) ?? `errno ${-result}`) : 'ok')

/** Makes every call; one that kills its process shows as `died`. */
export function tryCalls(): [id: string, got: string][] {
  return allCalls().map((call) => {
    // A process each: one that got through must not change what the next one finds.
    const file = '/tmp/call'
    writeFileSync(file, recordOf(call))
    const input = openSync(file, 'r')
    const { stdout } = spawnSync(HELPER, { stdio: [input, 'pipe', 'ignore'] })
    closeSync(input)
    return [call.id, stdout?.length >= 8 ? wordOf(Number(stdout.readBigInt64LE(0))) : 'died']
  })
}
