/** One attempt each, as the agent: what it says is `ok`, the code of the error, or what was found. */
import { spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { request } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { userInfo } from 'node:os'
import { ROUTES } from '../../../../hub/protocol/routes.ts'

export type Attempt = [id: string, got: string]
/** What the test outside knows and the spy looks for. */
export interface Outside {
  home: string
  otherSession: string
  abstractSocket: string
  /** In two pieces: the whole must stand nowhere in here. */
  canary: readonly [string, string]
  /** Below `home`, where the log and what holds it together lie. */
  pastFiles: readonly string[]
}

const SOCKET = '/run/hub/hub.sock'
const LOADER = '/lib64/ld-linux-x86-64.so.2'
const codeOf = (thrown: unknown): string => (thrown as NodeJS.ErrnoException).code ?? String(thrown)

function attempt(act: () => unknown): string {
  try {
    act()
    return 'ok'
  } catch (thrown) {
    return codeOf(thrown)
  }
}
const found = (look: () => string): string => {
  try {
    return look()
  } catch (thrown) {
    return codeOf(thrown)
  }
}
const write = (path: string, text = 'x') => attempt(() => writeFileSync(path, text))
const bytesOf = (path: string) => found(() => (readFileSync(path, 'latin1').length > 0 ? 'shows' : 'empty'))
const entriesOf = (path: string) => found(() => (readdirSync(path).length > 0 ? 'shows' : 'empty'))

const writes = (): Attempt[] =>
  Object.entries({
    root: '/x',
    app: '/app/x',
    passwd: '/etc/passwd',
    node: '/usr/local/bin/node',
    shim: '/app/images/agent/shim.js',
    run: '/run/x',
    dev: '/dev/x',
    sysrq: '/proc/sysrq-trigger',
    core_pattern: '/proc/sys/kernel/core_pattern',
    modprobe: '/proc/sys/kernel/modprobe',
    hostname: '/proc/sys/kernel/hostname',
    ip_forward: '/proc/sys/net/ipv4/ip_forward',
    binfmt: '/proc/sys/fs/binfmt_misc/register',
    irq: '/proc/irq/default_smp_affinity',
    uevent: '/sys/kernel/uevent_helper',
    cgroup: '/sys/fs/cgroup/x',
    release_agent: '/sys/fs/cgroup/memory/release_agent',
    memory_limit: '/sys/fs/cgroup/memory/memory.limit_in_bytes',
    pids_limit: '/sys/fs/cgroup/pids/pids.max',
    uid_map: '/proc/self/uid_map',
    oom_score: '/proc/self/oom_score_adj',
  }).map(([name, path]) => [`T51.write_${name}`, write(path, '-1')])

const devices = (): Attempt[] =>
  ['mem', 'kmem', 'port', 'kmsg', 'sda', 'vda', 'kvm', 'fuse', 'net/tun', 'loop-control', 'console', 'vsock'].map(
    (name) => [`T51.device_${name}`, attempt(() => openSync(`/dev/${name}`, 'r+'))],
  )

const reads = (): Attempt[] => [
  ...['kcore', 'keys', 'timer_list', 'interrupts', 'sched_debug', 'kmsg'].map((name): Attempt => {
    // A log of the kernel blocks where it may be read.
    if (name === 'kmsg') return ['T51.read_kmsg', attempt(() => openSync('/proc/kmsg', 'r'))]
    return [`T51.read_${name}`, bytesOf(`/proc/${name}`)]
  }),
  ...['/proc/acpi', '/proc/scsi', '/sys/firmware', '/sys/devices/virtual/powercap'].map((path): Attempt => {
    return [`T51.list_${path.split('/').at(-1)}`, entriesOf(path)]
  }),
]

function socketFolder(): Attempt[] {
  const tries: Record<string, () => unknown> = {
    unlink: () => unlinkSync(SOCKET),
    create: () => writeFileSync('/run/hub/x', ''),
    folder: () => mkdirSync('/run/hub/x'),
    rename: () => renameSync(SOCKET, '/run/hub/old.sock'),
    rename_out: () => renameSync(SOCKET, '/tmp/hub.sock'),
    chmod: () => chmodSync(SOCKET, 0o600),
    chmod_folder: () => chmodSync('/run/hub', 0o777),
    link: () => linkSync(SOCKET, '/run/hub/second.sock'),
    link_out: () => linkSync(SOCKET, '/tmp/second.sock'),
    symlink: () => symlinkSync('/tmp/x', '/run/hub/x'),
    touch: () => utimesSync(SOCKET, 0, 0),
    remove_folder: () => rmdirSync('/run/hub'),
    shadow: () => renameSync('/run/hub', '/run/old'),
  }
  return [
    ...Object.entries(tries).map(([name, act]): Attempt => [`T58.${name}`, attempt(act)]),
    ['T58.list', entriesOf('/run/hub')],
    ['T58.list_run', readdirSync('/run').join(' ')],
  ]
}

/** A copy of a program of the image that is known to run from its place. */
function execs(): Attempt[] {
  const ran = (path: string, ...args: string[]) => {
    const { error, status } = spawnSync(path, args)
    return error === undefined ? `status ${status}` : codeOf(error)
  }
  const tries = ['/tmp', '/workspace', '/dev', '/dev/shm', '/dev/mqueue', '/run/hub'].map((folder): Attempt => {
    const copy = `${folder}/copy`
    const got = found(() => {
      copyFileSync(LOADER, copy)
      chmodSync(copy, 0o755)
      return ran(copy, '--version')
    })
    attempt(() => rmSync(copy))
    return [`T51.exec_${folder.slice(1).replace('/', '_')}`, got]
  })
  copyFileSync(process.execPath, '/workspace/node')
  chmodSync('/workspace/node', 0o755)
  tries.push(['T51.exec_by_loader', ran(LOADER, '/workspace/node', '--version')])
  tries.push(['T51.load_module', attempt(() => process.dlopen({ exports: {} } as NodeModule, '/workspace/node'))])
  rmSync('/workspace/node')
  tries.push(['T51.exec_in_place', ran(LOADER, '--version')])
  for (const tool of ['/bin/sh', '/usr/bin/env', '/bin/busybox', '/usr/bin/tar'])
    tries.push([`T51.exec_${tool.split('/').at(-1)}`, ran(tool)])
  return tries
}

/** What of its memory this container uses, as the kernel counts it against its limit. */
function memoryUsed(): number {
  const files = ['/sys/fs/cgroup/memory/memory.usage_in_bytes', '/sys/fs/cgroup/memory.current']
  return Number(readFileSync(files.find((file) => existsSync(file)) ?? '', 'utf8'))
}

function sharedMemory(): Attempt[] {
  const file = '/dev/shm/weight'
  const counted = found(() => {
    const before = memoryUsed()
    writeFileSync(file, Buffer.alloc(32 * 1024 ** 2, 1))
    return memoryUsed() - before > 24 * 1024 ** 2 ? 'counted' : 'free'
  })
  const tooMuch = found(() => {
    writeFileSync(file, Buffer.alloc(65 * 1024 ** 2, 1))
    return 'ok'
  })
  attempt(() => rmSync(file))
  return [
    ['T102.memory', counted],
    ['T102.more_than_its_size', tooMuch],
    ['T102.mode', found(() => (statSync('/dev/shm').mode & 0o7777).toString(8))],
  ]
}

function standing(): Attempt[] {
  const wanted = /^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):\s*(.*?)\s*$/
  const lines = readFileSync('/proc/self/status', 'utf8').split('\n')
  const status = lines.flatMap((line): Attempt[] => {
    const [, name, value] = wanted.exec(line) ?? []
    return name === undefined ? [] : [[`T51.${name}`, String(value).replaceAll(/\s+/g, ' ')]]
  })
  const limits = readFileSync('/proc/self/limits', 'utf8')
  const limit = (name: string) => new RegExp(`^Max ${name}\\s+(\\d+)\\s+(\\d+)`, 'm').exec(limits)?.slice(1).join(' ')
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').trim().split('\n')
  // Of two at one place the later one hides the other.
  const top = new Map(mounts.map((line) => line.split(' ')).map((each) => [String(each[4]), String(each[5])]))
  const writable = [...top].filter(([, options]) => options.startsWith('rw')).map(([path]) => path)
  const own = () => [userInfo().username, userInfo().uid, userInfo().gid].join(' ')
  return [
    ...status,
    ['T51.own_user', found(own)],
    ['T51.list_mqueue', entriesOf('/dev/mqueue')],
    ['T51.list_pts', entriesOf('/dev/pts')],
    ['T56.terminal', attempt(() => openSync('/dev/ptmx', 'r+'))],
    ['T51.open_files', limit('open files') ?? 'none'],
    ['T51.core_size', limit('core file size') ?? 'none'],
    // Those of the kernel are tried by name above: how many there are is the host's affair.
    [
      'T51.writable_mounts',
      writable
        .filter((path) => !/^\/(?:proc|sys)(?:\/|$)/.test(path))
        .sort()
        .join(' '),
    ],
    ['T51.processes', String(readdirSync('/proc').filter((name) => /^\d+$/.test(name)).length)],
  ]
}

const reach = (path: string) =>
  new Promise<string>((resolve) => {
    const socket = connect({ path }, () => resolve('ok')).on('error', (thrown) => resolve(codeOf(thrown)))
    setTimeout(() => resolve('silent'), 30_000).unref()
    socket.unref()
  })

/** One request by the way out: its status, or the code of the error. */
const through = (method: string, what: string) =>
  new Promise<string>((resolve) => {
    const { HUB_EGRESS } = process.env
    if (HUB_EGRESS === undefined) return resolve('no way out')
    const { hostname: host, port } = new URL(HUB_EGRESS)
    const path = method === 'CONNECT' ? what : new URL(what).pathname
    const headers = { authorization: `Bearer ${process.env.OPENAI_API_KEY}` }
    const asked = request({ host, port, method, path, headers: method === 'CONNECT' ? {} : headers, agent: false })
    asked.on('response', (answer) => answer.resume().on('end', () => resolve(String(answer.statusCode))))
    asked.on('connect', (answer, socket) => {
      socket.destroy()
      resolve(String(answer.statusCode))
    })
    asked.on('error', (thrown) => resolve(codeOf(thrown)))
    asked.end()
  })

/** Connections to its own way out that the other end still has, by the kernel's table: neither only listening (0A) nor over (06). */
const connected = () =>
  found(() => readFileSync('/proc/net/tcp', 'utf8'))
    .split('\n')
    .filter((line) => / [0-9A-F]+:B7E8 [0-9A-F]+:[0-9A-F]{4} (?!0A|06)/.test(line)).length

/** How many of a hundred connections to its own way out stay open, once the others are closed. */
async function flood(): Promise<string> {
  const [asked, held] = [100, 32]
  // What came before must be over.
  for (let looks = 0; looks < 600 && connected() > 0; looks += 1) await new Promise((done) => setTimeout(done, 50))
  return new Promise((resolve) => {
    const open = new Set<Socket>()
    let [ended, failure] = [0, '']
    const end = (said: string) => {
      for (const socket of open) socket.destroy()
      resolve(said)
    }
    for (let at = 0; at < asked; at += 1) {
      const socket = connect(47_080, '127.0.0.1')
      socket.on('connect', () => open.add(socket)).on('error', (thrown) => (failure = codeOf(thrown)))
      socket.on('close', () => {
        open.delete(socket)
        ended += 1
        if (ended === asked) end(failure)
        else if (ended === asked - held) setTimeout(() => end(`${open.size} stay`), 500)
      })
    }
  })
}

async function network({ abstractSocket }: Outside): Promise<Attempt[]> {
  const dial = (port: number, host: string) =>
    new Promise<string>((resolve) => {
      const socket = connect(port, host, () => {
        socket.destroy()
        resolve('ok')
      }).on('error', (thrown) => resolve(codeOf(thrown)))
    })
  const listen = (host: string) =>
    new Promise<string>((resolve) => {
      const server = createServer().on('error', (thrown) => resolve(codeOf(thrown)))
      server.listen(0, host, () => server.close(() => resolve('ok')))
    })
  const datagram = (type: 'udp4' | 'udp6') =>
    new Promise<string>((resolve) => {
      const socket = createSocket(type).on('error', (thrown) => resolve(codeOf(thrown)))
      socket.send('x', 53, type === 'udp4' ? '127.0.0.1' : '::1', (thrown) => resolve(thrown ? codeOf(thrown) : 'ok'))
    })
  /** Of both tables of the kernel, the ports that somebody listens on. */
  const listening = () =>
    ['tcp', 'tcp6']
      .flatMap((table) => found(() => readFileSync(`/proc/net/${table}`, 'utf8')).split('\n'))
      .flatMap((line) => / [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:0000 0A /.exec(line)?.[1] ?? [])
      .map((port) => Number.parseInt(port, 16))
      .join(' ')
  const routes = readFileSync('/proc/net/route', 'utf8').trim().split('\n').length - 1
  return [
    ['T59.interfaces', readdirSync('/sys/class/net').join(' ')],
    ['T59.routes', String(routes)],
    ['T59.resolve', await lookup('example.com').then(() => 'ok', codeOf)],
    ['T59.tcp', await dial(80, '93.184.216.34')],
    ['T59.tcp6', await dial(80, '2606:2800:220:1::1')],
    ['T59.metadata', await dial(80, '169.254.169.254')],
    ['T59.loopback', await dial(22, '127.0.0.1')],
    ['T59.listen', await listen('127.0.0.1')],
    ['T59.abstract_of_host', await reach(`\0${abstractSocket}`)],
    ['E1.listening', listening() || 'nobody'],
    ['E1.own_way_out', await dial(47_080, '127.0.0.1')],
    ['E1.private', await dial(80, '10.0.0.1')],
    ['E1.broadcast', await dial(80, '255.255.255.255')],
    ['E1.loopback6', await dial(47_080, '::1')],
    ['E1.datagram', await datagram('udp4')],
    ['E1.datagram6', await datagram('udp6')],
    [
      'E1.routes6',
      found(() =>
        String(
          readFileSync('/proc/net/ipv6_route', 'utf8')
            .split('\n')
            .filter((line) => line !== '' && !line.endsWith(' lo')).length,
        ),
      ),
    ],
    ['E1.asked', await through('GET', `${process.env.HUB_EGRESS_MODEL ?? ''}/v1/models`)],
    ['E1.asked_elsewhere', await through('GET', `${process.env.HUB_EGRESS ?? ''}/up/other/v1/models`)],
    ['E1.line_elsewhere', await through('CONNECT', 'other.example.org:443')],
    ['E12.flood', await flood()],
  ]
}

/** Paths of the host, straight and by the ways round that other engines had. */
async function hostPaths({ home, otherSession }: Outside): Promise<Attempt[]> {
  const other = `${home}/run/s/${otherSession}/hub.sock`
  const look = (path: string) => attempt(() => statSync(path))
  return [
    ['T59.engine', await reach('/var/run/docker.sock')],
    ['T59.engine_run', await reach('/run/docker.sock')],
    ['T59.operator', await reach(`${home}/run/operator.sock`)],
    ['T59.watchdog', await reach(`${home}/run/watchdog.sock`)],
    ['T59.other_session', await reach(other)],
    ['T59.other_session_beside', await reach(`/run/hub/../${otherSession}/hub.sock`)],
    ['T59.home', look(home)],
    ['T59.home_by_root', look(`/proc/1/root${home}`)],
    ['T59.home_by_cwd', look(`/proc/1/cwd/../..${home}`)],
    ['T59.parent_of_socket', found(() => realpathSync('/run/hub/..'))],
    ['T59.shadow', look('/etc/shadow')],
    ['T59.engine_home', look('/var/lib/docker')],
  ]
}

/** Everything a process here can be read by: environment, words, and what was written for it. */
function secrets({ canary }: Outside): Attempt[] {
  const whole = canary.join('')
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const files = processes.flatMap((pid) => [`/proc/${pid}/environ`, `/proc/${pid}/cmdline`])
  const texts = [...files, '/workspace/task.json', '/proc/self/mountinfo'].map((file) =>
    found(() => readFileSync(file, 'latin1')),
  )
  return [
    ['T64.canary', texts.some((text) => text.includes(whole)) ? 'present' : 'absent'],
    ['T64.environment', Object.keys(process.env).sort().join(' ')],
  ]
}

/** A program of its own falls, where it may write: what it leaves there, and what the kernel would put into a core dump of it. */
function crashes(): Attempt[] {
  const places = ['/workspace', '/tmp', '/app', '/']
  const names = () => places.flatMap((place) => readdirSync(place).map((name) => `${place}/${name}`))
  const node = (script: string) => spawnSync(process.execPath, ['-e', script], { cwd: '/workspace', encoding: 'utf8' })
  const before = new Set(names())
  const { signal } = node('process.abort()')
  return [
    ['T64.crash', String(signal)],
    ['T64.crash_leaves', names().find((name) => !before.has(name)) ?? 'nothing'],
    ['T64.dumped', found(() => readFileSync('/proc/self/coredump_filter', 'utf8').trim())],
    [
      'T64.dumped_of_child',
      node(`console.log(fs.readFileSync('/proc/self/coredump_filter', 'utf8').trim())`).stdout.trim(),
    ],
  ]
}

/** Falls itself, with the whole of the canary in its memory. */
export function fall({ canary }: Pick<Outside, 'canary'>): never {
  const held = Buffer.from(canary.join('').repeat(1000))
  process.chdir('/workspace')
  process.title = `holds ${held.length}`
  process.abort()
}

/** What the hub has written down: its files by their paths on the host, and what people ask about it, asked here. */
async function past({ home, pastFiles }: Outside): Promise<Attempt[]> {
  const asked = ['audit.list', 'audit.verify', 'audit.export', 'backup.run', 'retention.prune', 'keys.rotate'] as const
  const answers: Attempt[] = []
  for (const name of asked) {
    const route = ROUTES[name]
    if (route !== undefined) answers.push([`T22.${name}`, await ask(route.method, route.path)])
  }
  return [
    ...pastFiles.map((file): Attempt => [`T22.${file}`, attempt(() => statSync(`${home}/${file}`))]),
    ['T22.by_the_socket', attempt(() => statSync('/run/hub/../../../hub.db'))],
    ['T22.by_the_root', attempt(() => statSync(`/proc/1/root/${home}/hub.db`))],
    ...answers,
  ]
}

/** The status of an answer on its own socket. */
const ask = (method: string, path: string) =>
  new Promise<string>((resolve) => {
    const headers = { 'content-type': 'application/json' }
    request({ socketPath: SOCKET, method, path, headers }, (answer) => {
      answer.resume().on('end', () => resolve(String(answer.statusCode)))
    })
      .on('error', (thrown) => resolve(codeOf(thrown)))
      .end(method === 'GET' ? undefined : '{}')
  })

export async function tryDoors(outside: Outside): Promise<Attempt[]> {
  return [
    ...standing(),
    ...writes(),
    ...devices(),
    ...reads(),
    ...socketFolder(),
    ...execs(),
    ...sharedMemory(),
    ...(await network(outside)),
    ...(await hostPaths(outside)),
    ...secrets(outside),
    ...crashes(),
    ...(await past(outside)),
  ]
}
