/**
 * The spy: an agent like any other, on a real hub and the real engine, that tries every door from inside (T51, T52, T56, T58, T59, T64).
 * The tables are the whole of what may come back. Words in a cell stand for hosts: a file that one kernel refuses another does not have.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer as createHttp, type Server as Http } from 'node:http'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ContainerHome, openContainerHome, resultOf, type Session } from '../support/container-home.ts'
import { updateContainer } from '../support/engine-socket.ts'
import { canCallRaw, load, spyImage } from '../support/spy-image.ts'

const CANARY = ['canary-of-the-host-', '7f3a91'] as const
/** Below the home: the log and its checkpoints, what signs them, and the witness. */
const PAST = ['hub.db', 'hub.db-wal', 'keys/checkpoint.key', 'keys/token.key', 'keys/watchdog.key', 'watchdog/state']

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
  'T51.writable_mounts': '/dev /tmp /workspace',
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
  ...all('ENOENT', 'T102.', 'memory more_than_its_size mode'),
  // An empty folder stands before it, read-only (fault F18).
  'T51.exec_dev_mqueue': 'EROFS',
  'T51.list_mqueue': 'empty',
  // The same: a pseudo-terminal that one session holds no other container of this machine can have (fault F14).
  'T51.list_pts': 'empty',
  'T56.terminal': 'ENOENT',
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
  'E1.listening': 'nobody',
  ...all('EPERM', 'E1.', 'own_way_out private broadcast loopback6 datagram datagram6'),
  'E12.flood': 'EPERM',
  'E1.routes6': '0|ENOENT',
  ...all('no way out', 'E1.', 'asked asked_elsewhere line_elsewhere'),
  ...all('ENOENT', 'T59.', 'engine engine_run operator watchdog other_session other_session_beside'),
  ...all('ENOENT', 'T59.', 'home home_by_root home_by_cwd shadow engine_home'),
  'T59.parent_of_socket': '/run',

  // Its past is the hub's alone (fault F5).
  ...all('ENOENT', 'T22.', PAST.join(' ')),
  ...all('ENOENT', 'T22.', 'by_the_socket by_the_root'),
  ...all('404', 'T22.', 'audit.list audit.verify audit.export backup.run retention.prune keys.rotate'),

  'T64.canary': 'absent',
  // Its own memory goes nowhere: no file, and nothing to a program that the host pipes core dumps to (fault F15).
  'T64.crash': 'SIGABRT',
  'T64.crash_leaves': 'nothing',
  ...all('00000000', 'T64.', 'dumped dumped_of_child'),
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
  'T64.dumpable_by_root': 'EINVAL',

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

/** Types times protocols. */
const OF_UNIX = 13 * 12
const SOCKETS: Record<string, string> = {
  'E1.tried': String(46 * OF_UNIX),
  'E1.beyond_unix': 'nothing',
  'E1.of_unix': String(OF_UNIX),
  'E1.stream': 'EPERM',
  // There is no stream to set anything of.
  ...all('EBADF', 'E1.set_', 'nodelay keepalive ulp ulp_by_high_level ulp_by_high_option ulp_of_mptcp'),
  ...all('EBADF', 'E1.set_', 'congestion type_of_service time_to_live options_of_ip'),
}

/** What a session with egress sees otherwise, and this is all of it: streams of IPv4, and where they lead. */
const REACHING: Record<string, string> = {
  ...all('ENETUNREACH', 'T59.', 'tcp metadata'),
  'T59.loopback': 'ECONNREFUSED',
  'T59.listen': 'ok',
  'T64.environment':
    'HOME HOSTNAME HTTPS_PROXY HUB_DEADLINE HUB_EGRESS HUB_EGRESS_MODEL HUB_PLACEHOLDER_MODEL HUB_SESSION HUB_SOCKET LANG NO_PROXY OPENAI_API_KEY OPENAI_BASE_URL PATH TMPDIR TZ https_proxy no_proxy',
  'E1.listening': '47080',
  'E1.own_way_out': 'ok',
  'E12.flood': '32 stay',
  ...all('ENETUNREACH', 'E1.', 'private broadcast'),
  'E1.asked': '200',
  // Nobody declared it; nobody granted it.
  'E1.asked_elsewhere': '404',
  'E1.line_elsewhere': '403',
}
const REACHING_CALLS: Record<string, string> = {
  'T52.family_2': 'ok',
  // The one line of the profile: with and without the two flags.
  'E1.beyond_unix': [1, 2049, 524289, 526337].flatMap((type) => [`2/${type}/0=ok`, `2/${type}/6=ok`]).join(' '),
  'E1.stream': 'ok',
  // `fetch` of Node sets the last one.
  ...all('ok', 'E1.set_', 'nodelay keepalive type_of_service'),
  ...all('EPERM', 'E1.set_', 'ulp ulp_by_high_level ulp_by_high_option ulp_of_mptcp congestion'),
  ...all('EPERM', 'E1.set_', 'time_to_live options_of_ip'),
}

/** What a session with each relaxation sees otherwise, and this is all of it. */
const RELAXED: Record<'exec' | 'shm', Record<string, string>> = {
  exec: { 'T51.exec_workspace': 'status 0', 'T51.exec_by_loader': 'status 0' },
  shm: {
    'T51.writable_mounts': '/dev /dev/shm /tmp /workspace',
    'T51.exec_dev_shm': 'EACCES',
    'T102.memory': 'counted',
    'T102.more_than_its_size': 'ENOSPC',
    'T102.mode': '700',
  },
}

/** A crash makes an agent unhealthy: the one that falls has a name of its own. */
const fallen = {
  name: 'spy-fallen',
  description: 'Falls with a secret in its memory',
  image: 'hub-test/spy',
  run: ['node', '/app/test/support/images/spy/main.js'],
  restarts: 0,
  limits: { ttl: '10m', memory: '256MiB', pids: 64 },
}

const reaching = {
  ...fallen,
  name: 'spy-reaching',
  description: 'The same, with a way out',
  limits: { ttl: '20m', memory: '512MiB', pids: 64 },
  may: { egress: ['model', 'lines.example.org:443'] },
}

const relaxed = (['exec', 'shm'] as const).map((relax) => ({
  ...{ ...fallen, name: `spy-${relax}`, description: `The same, with ${relax}`, relax: [relax] },
  limits: { ttl: '20m', memory: '512MiB', pids: 64 },
}))

let home: ContainerHome
let other: Session
let beside: Server
let model: Http
let open: Session
/** One of each relaxation that runs, and what each saw. */
const moved: Session[] = []
const seenByMoved: Record<string, string>[] = []
/** What each of the two saw, and the keys that the model server was shown. */
let seen: Record<string, string> = {}
let seenByReaching: Record<string, string> = {}
const keys: unknown[] = []
let logged = ''

const filesOf = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) =>
    entry.isFile() ? [join(entry.parentPath, entry.name)] : [],
  )
/** Empty once it is gone: what a hub at work writes beside and renames. */
function bytesOf(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch {
    return Buffer.alloc(0)
  }
}

/** What came back and may not, and what did not come back. */
function wrongIn(table: Record<string, string>, by = seen): string[] {
  return Object.entries(table).flatMap(([id, answers]) => {
    const got = by[id]
    const may = answers.split('|').map((answer) => answer.trim())
    return got !== undefined && may.includes(got) ? [] : [`${id} answered ${got ?? 'nothing'}, expected ${answers}`]
  })
}

beforeAll(async () => {
  await load([spyImage()])
  model = createHttp((request, answer) => {
    keys.push(request.headers.authorization)
    answer.setHeader('content-type', 'application/json').end('{"object":"list","data":[]}')
  })
  await new Promise<void>((done) => model.listen(0, '127.0.0.1', done))
  const { port } = model.address() as { port: number }
  home = await openContainerHome({
    cards: ['test/support/images/spy/agent.yaml', fallen, reaching, ...relaxed],
    rows: { 'spy-exec': { relax: ['exec'] }, 'spy-shm': { relax: ['shm'] } },
    env: { HUB_SECRET_CANARY: CANARY.join('') },
    config: { upstreams: { model: { kind: 'openai', url: `http://127.0.0.1:${port}`, local: true, price: 'free' } } },
  })
  // It shows signs of life, so that it is there to the end, however long that takes.
  other = await home.place('spy', { what: 'idle' })
  const abstractSocket = `hub-spy-${home.instance}`
  beside = createServer().listen(`\0${abstractSocket}`)
  const outside = { home: home.home, otherSession: other.id, abstractSocket, canary: CANARY, pastFiles: PAST }
  const task = await home.run('spy', { what: 'doors', outside })
  seen = resultOf(task)
  logged = (await home.hub('task', 'logs', task.id)).stdout
  seenByReaching = resultOf(await home.run('spy-reaching', { what: 'doors', outside }))
  open = await home.place('spy-reaching', { what: 'idle' })
  for (const { name } of relaxed) {
    seenByMoved.push(resultOf(await home.run(name, { what: 'doors', outside })))
    moved.push(await home.place(name, { what: 'idle' }))
  }
})
afterAll(async () => {
  beside?.close()
  model?.close()
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

  test.skipIf(!canCallRaw)(
    'E1: every family of sockets by every type and protocol: Unix sockets and nothing else (x86-64 only)',
    () => expect(wrongIn(SOCKETS)).toEqual([]),
  )

  test('every attempt is judged: none came back that no table names', () => {
    const judged = { ...DOORS, ...(canCallRaw ? { ...CALLS, ...SOCKETS } : {}) }
    for (const each of [seen, seenByReaching, ...seenByMoved])
      expect(Object.keys(each).filter((id) => !(id in judged))).toEqual([])
    expect(logged).toContain('about to try: doors')
  })
})

describe('from inside, with egress granted', () => {
  // By the user it runs as, another session is another.
  const { 'T51.own_user': _, 'T51.Uid': __, 'T51.Gid': ___, 'T51.Groups': ____, ...doors } = DOORS

  test('E1, E12: every door answers as without it, but for streams of IPv4, which lead to the hub and nowhere else, 32 at once', () => {
    expect(wrongIn({ ...doors, ...REACHING }, seenByReaching)).toEqual([])
    // Whatever the program offers for a key stays here.
    expect(keys).toEqual([undefined])
  })

  test.skipIf(!canCallRaw)(
    'E1: every raw call, and every family by every type and protocol, differs by the one line of its profile (x86-64 only)',
    () => expect(wrongIn({ ...CALLS, ...SOCKETS, ...REACHING_CALLS }, seenByReaching)).toEqual([]),
  )

  test('S1-51: its grade shows the profile, and passes; that of a session without shows the other', async () => {
    const socketsOf = async ({ id }: Session) => {
      const { hardening } = await home.json<{ hardening: { pass: boolean; sockets: string } }>(
        'session',
        'show',
        id,
        '--hardening',
      )
      return [hardening.pass, hardening.sockets]
    }
    expect(await socketsOf(open)).toEqual([true, 'egress'])
    expect(await socketsOf(other)).toEqual([true, 'unix'])
    expect((await home.hub('session', 'show', open.id, '--hardening')).stdout).toMatch(
      /sockets: Unix sockets, and TCP on its own loopback/,
    )
  })
})

describe('from inside, with a relaxation', () => {
  const { 'T51.own_user': _, 'T51.Uid': __, 'T51.Gid': ___, 'T51.Groups': ____, ...doors } = DOORS

  test('T101, T102: every door answers as without it, but for what the relaxation moves', () => {
    const wrong = (['exec', 'shm'] as const).map((relax, at) =>
      wrongIn({ ...doors, ...RELAXED[relax] }, seenByMoved[at]),
    )
    expect(wrong).toEqual([[], []])
  })

  test.skipIf(!canCallRaw)('T101, T102: every raw call and every socket answers as without it (x86-64 only)', () =>
    expect(seenByMoved.map((each) => wrongIn({ ...CALLS, ...SOCKETS }, each))).toEqual([[], []]),
  )

  test('T101, T102: its grade shows what is moved, by the engine, and passes; lists show it too', async () => {
    const gradeOf = async ({ id }: Session) => {
      const { code, stdout } = await home.hub('session', 'show', id, '--hardening')
      return [code, ...stdout.split('\n').filter((line) => line.includes('relaxed'))].map((line) =>
        String(line).replaceAll(/ +/g, ' ').trim(),
      )
    }
    expect(await Promise.all([other, ...moved].map(gradeOf))).toEqual([
      ['0', 'relaxed: nothing'],
      [
        '0',
        'relaxed nothing runs from what it can write by card and rules: programs may run from /workspace',
        'relaxed: programs may run from /workspace',
      ],
      [
        '0',
        'relaxed no shared memory by card and rules: a private /dev/shm of 64 MiB',
        'relaxed: a private /dev/shm of 64 MiB',
      ],
    ])
    expect((await home.hub('session', 'list')).stdout).toMatch(/ spy-exec \(exec\) /)
    expect((await home.hub('agent', 'list')).stdout).toMatch(/spy-shm +registered +sdk \(shm\) /)
    expect((await home.hub('agent', 'show', 'spy-exec')).stdout).toMatch(/relaxed +exec: programs may run from/)
  })
})

test('fault F5: what it looked for is there, the log is whole after all that, and says what was asked for on its socket', async () => {
  expect(PAST.filter((file) => !existsSync(join(home.home, file)))).toEqual([])
  expect(await home.json('audit', 'verify')).toMatchObject({ ok: true })
  const refused = await home.json<{ principal: string; reason: string }[]>(
    'audit',
    'list',
    '--outcome',
    'refused',
    '--limit',
    '100',
  )
  const asked = refused.filter(({ reason }) => reason === 'unknown_operation: no such path on an agent socket')
  // Six doors of each of the four.
  expect(asked).toHaveLength(24)
  for (const { principal } of asked)
    expect(principal).toMatch(/^agent:spy(?:-reaching|-exec|-shm)?\/s[a-z2-7]{15} \(unproven\)$/)
})

test('fault F15: one that falls with a secret in its memory leaves it in no file of the hub', async () => {
  const task = await home.run('spy-fallen', { what: 'fall', outside: { canary: CANARY } })
  const { attempts } = await home.json<{ attempts: Record<string, unknown>[] }>('task', 'show', task.id)
  // By SIGABRT, which is one of those that dump.
  expect(attempts).toMatchObject([{ exit: 'crashed', exitCode: 134 }])
  const files = filesOf(home.home)
  const holding = (text: string) => files.filter((file) => bytesOf(file).includes(text))
  // What it was handed is on record, in its two pieces.
  expect(holding(CANARY[0])).not.toEqual([])
  expect(holding(CANARY.join(''))).toEqual([])
})

test('a task that is refused says so to whoever places it', async () => {
  await expect(home.place('nobody', {})).rejects.toThrow(/hub submit nobody: .*no agent is named nobody/)
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
  expect(untouched.checks).toHaveLength(21)
  await updateContainer(other.containerId, { PidsLimit: 1000 })
  expect(await grade()).toMatchObject({ code: 1, pass: false, failed: ['limits'] })
  const { stdout } = await home.hub('session', 'show', other.id, '--hardening')
  expect(stdout).toMatch(/FAIL +limits +HostConfig\.PidsLimit is 1000, the profile says 64/)
})
