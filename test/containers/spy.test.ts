/**
 * The spy: an agent like any other, on a real hub and the real engine, that tries every door from inside (T51, T52, T56, T58, T59, T64).
 * The tables are the whole of what may come back. Words in a cell stand for hosts: a file that one kernel refuses another does not have.
 */
import { request } from 'node:http'
import { createServer, type Server } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ContainerHome, openContainerHome, resultOf, type Session } from '../support/container-home.ts'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'
import { canCallRaw, load, spyImage } from '../support/spy-image.ts'

const CANARY = ['canary-of-the-host-', '7f3a91'] as const

/** Every id of a list with the same answer. */
const all = (answer: string, prefix: string, names: string): Record<string, string> =>
  Object.fromEntries(names.split(/\s+/).map((name) => [`${prefix}${name}`, answer]))

const DOORS: Record<string, string> = {
  // Its own, and the name that its image gives it (fault F14).
  'T51.own_user': 'agent1 60929 60929',
  'T51.Uid': '60929 60929 60929 60929',
  'T51.Gid': '60929 60929 60929 60929',
  'T51.Groups': '60929| ',
  ...all('0000000000000000', 'T51.', 'CapInh CapPrm CapEff CapBnd CapAmb'),
  'T51.NoNewPrivs': '1',
  'T51.Seccomp': '2',
  'T51.open_files': '256 256',
  'T51.core_size': '0 0',
  'T51.writable_mounts': '/dev /dev/pts /tmp /workspace',
  'T51.processes': '2',

  ...all('EROFS', 'T51.write_', 'root app passwd node shim run'),
  ...all('EACCES', 'T51.write_', 'dev oom_score'),
  ...all('EROFS|EACCES|ENOENT', 'T51.write_', 'sysrq core_pattern modprobe hostname ip_forward binfmt irq uevent'),
  ...all('EROFS|EACCES|ENOENT', 'T51.write_', 'cgroup release_agent memory_limit pids_limit'),
  'T51.write_uid_map': 'EPERM',
  ...all('ENOENT', 'T51.device_', 'mem kmem port kmsg sda vda kvm fuse net/tun loop-control console vsock'),
  ...all('empty|ENOENT', 'T51.', 'read_kcore read_keys read_timer_list read_interrupts read_sched_debug'),
  'T51.read_kmsg': 'EACCES|EPERM',
  ...all('empty|ENOENT', 'T51.', 'list_acpi list_scsi list_firmware list_powercap'),
  ...all('EACCES', 'T51.exec_', 'tmp workspace dev'),
  'T51.exec_dev_shm': 'ENOENT',
  // An empty folder stands before it, read-only (fault F18).
  'T51.exec_dev_mqueue': 'EROFS',
  'T51.list_mqueue': 'empty',
  'T51.exec_run_hub': 'EROFS',
  'T51.exec_by_loader': 'status 127',
  'T51.load_module': 'ERR_DLOPEN_FAILED',
  // Shows that the ones above were refused for their place.
  'T51.exec_in_place': 'status 0',
  ...all('ENOENT', 'T51.exec_', 'sh env busybox tar'),

  ...all('EROFS', 'T58.', 'unlink create folder rename chmod chmod_folder link symlink touch remove_folder shadow'),
  ...all('EXDEV|EROFS', 'T58.', 'rename_out link_out'),
  'T58.list': 'EACCES',
  'T58.list_run': 'hub',

  'T59.interfaces': 'lo',
  'T59.routes': '0',
  'T59.resolve': 'EAI_AGAIN',
  ...all('EPERM', 'T59.', 'tcp tcp6 metadata loopback listen'),
  'T59.abstract_of_host': 'ECONNREFUSED',
  ...all('ENOENT', 'T59.', 'engine engine_run operator watchdog other_session other_session_beside'),
  ...all('ENOENT', 'T59.', 'home home_by_root home_by_cwd shadow engine_home'),
  'T59.parent_of_socket': '/run',

  'T64.canary': 'absent',
  'T64.environment': 'HOME HOSTNAME HUB_DEADLINE HUB_SESSION HUB_SOCKET LANG PATH TMPDIR TZ',
}

/** `died`: a profile that knows one entry of the processor only kills what takes another. */
const CALLS: Record<string, string> = {
  ...all('EPERM', 'T51.', 'mount remount_root bind_mount umount pivot_root chroot fsopen fsmount fspick open_tree'),
  ...all('EPERM|ENOSYS', 'T51.', 'move_mount mount_setattr process_madvise pidfd_getfd'),
  ...all('EPERM', 'T51.', 'setns clone_user ptrace_attach process_vm_readv process_vm_writev kcmp'),
  'T51.clone3': 'ENOSYS',
  'T51.memfd_create': 'EPERM',
  'T51.memfd_secret': 'EPERM|ENOSYS',
  'T51.execveat': 'EACCES',
  ...all('EPERM', 'T51.unshare_', 'mount cgroup uts ipc user pid net'),
  ...all('EPERM', 'T51.', 'keyctl add_key request_key bpf userfaultfd perf_event_open'),
  ...all(
    'EPERM',
    'T51.',
    'init_module finit_module delete_module kexec_load kexec_file_load reboot syslog acct swapon',
  ),
  ...all('EPERM', 'T51.', 'sethostname setdomainname settimeofday clock_settime iopl ioperm quotactl fanotify_init'),
  ...all('EPERM', 'T51.', 'name_to_handle_at open_by_handle_at lookup_dcookie vhangup personality set_mempolicy'),
  ...all('EPERM', 'T51.', 'setuid_root setgid_root setgroups mknod_device chown_root rlimit_raise core_raise'),
  ...all('died|EPERM', 'T51.old_', 'mount unshare bpf keyctl'),

  ...all('EPERM', 'T52.', 'io_uring_setup io_uring_enter io_uring_register'),
  ...all('EPERM', 'T52.', 'packet_socket raw_socket socketpair_inet'),
  ...all('died|EPERM', 'T52.', 'x32_socket old_socket old_socketcall'),
  // AF_UNIX, the one that is let through.
  'T52.family_1': 'ok',
  ...all('EPERM', 'T52.family_', '0 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25'),
  ...all('EPERM', 'T52.family_', '26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45'),

  ...all('EPERM', 'T56.', 'io_setup io_submit io_getevents io_destroy io_cancel io_pgetevents'),
  ...all('EPERM', 'T56.', 'shmget shmat shmctl semget semop semtimedop msgget msgsnd msgrcv msgctl'),
  ...all('EPERM', 'T51.', 'modify_ldt'),
  ...all('died|EPERM', 'T56.old_', 'io_setup ipc shmget'),
  'T51.old_modify_ldt': 'died|EPERM',
  ...all('EPERM', 'T56.', 'mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr'),
  'T56.old_mq_open': 'died|EPERM',
}

let home: ContainerHome
let other: Session
let beside: Server
let seen: Record<string, string> = {}
let logged = ''

/** What came back and may not, and what did not come back. */
function wrongIn(table: Record<string, string>): string[] {
  return Object.entries(table).flatMap(([id, answers]) => {
    const got = seen[id]
    const may = answers.split('|').map((answer) => answer.trim())
    return got !== undefined && may.includes(got) ? [] : [`${id} answered ${got ?? 'nothing'}, expected ${answers}`]
  })
}

beforeAll(async () => {
  await load([spyImage()])
  home = await openContainerHome({
    cards: ['test/support/images/spy/agent.yaml'],
    env: { HUB_SECRET_CANARY: CANARY.join('') },
  })
  other = await home.place('spy', { what: 'stay' })
  const abstractSocket = `hub-spy-${home.instance}`
  beside = createServer().listen(`\0${abstractSocket}`)
  const outside = { home: home.home, otherSession: other.id, abstractSocket, canary: CANARY }
  const task = await home.run('spy', { what: 'doors', outside })
  seen = resultOf(task)
  logged = (await home.hub('task', 'logs', task.id)).stdout
})
afterAll(async () => {
  beside?.close()
  await home?.close()
})

describe('from inside, as the agent', () => {
  test('T51, T58, T59, T64: files, devices, programs, sockets, network, host and secrets: nothing but the expected refusals', () => {
    expect(wrongIn(DOORS)).toEqual([])
  })

  test.skipIf(!canCallRaw)(
    'T51, T52, T56: raw system calls and every socket family, by all three entries (x86-64 only): nothing but the expected refusals',
    () => expect(wrongIn(CALLS)).toEqual([]),
  )

  test('every attempt is judged: none came back that no table names', () => {
    const judged = { ...DOORS, ...(canCallRaw ? CALLS : {}) }
    expect(Object.keys(seen).filter((id) => !(id in judged))).toEqual([])
    expect(logged).toContain('about to try: doors')
  })
})

test('T64: the canary of the hub stands nowhere in what the engine shows of a session', async () => {
  const inspect = JSON.stringify(await home.engine.inspect(other.containerId))
  expect(inspect).toContain(other.id)
  expect(inspect).not.toContain(CANARY.join(''))
})

test('S1-51: `hub session show --hardening` passes a session check by check, and fails the one that a hand has changed since', async () => {
  const grade = async () => {
    const { code, stdout } = await home.hub('session', 'show', other.id, '--hardening', '--json')
    const { hardening } = JSON.parse(stdout) as {
      hardening: { pass: boolean; checks: { name: string; pass: boolean }[] }
    }
    return { code, ...hardening, failed: hardening.checks.flatMap(({ name, pass }) => (pass ? [] : [name])) }
  }
  const untouched = await grade()
  expect(untouched).toMatchObject({ code: 0, pass: true, failed: [] })
  expect(untouched.checks).toHaveLength(19)
  await update(other.containerId, { PidsLimit: 1000 })
  expect(await grade()).toMatchObject({ code: 1, pass: false, failed: ['limits'] })
  const { stdout } = await home.hub('session', 'show', other.id, '--hardening')
  expect(stdout).toMatch(/FAIL +limits +HostConfig\.PidsLimit is 1000, the profile says 64/)
})

/** Past the hub, as someone with the engine's socket could. */
function update(container: string, change: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const path = `/containers/${container}/update`
    const headers = { 'content-type': 'application/json' }
    request({ socketPath: ENGINE_SOCKET, method: 'POST', path, headers }, (answer) => {
      answer
        .resume()
        .on('end', () => (answer.statusCode === 200 ? resolve() : reject(new Error(`${answer.statusCode}`))))
    })
      .on('error', reject)
      .end(JSON.stringify(change))
  })
}
