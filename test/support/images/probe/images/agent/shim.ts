/**
 * Stands in the place of the shim and tries, from inside, what must not work. Does what its socket tells it, one word a line:
 * `report`, `exit N`, `hog` (memory), `trap` (ignore SIGTERM), `chatter` (standard output without end).
 */
import { spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import {
  chmodSync,
  copyFileSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer } from 'node:net'

const LOADERS = ['/lib64/ld-linux-x86-64.so.2', '/lib/ld-linux-aarch64.so.1']

/** The code of the error, or `ok`. */
function attempt(act: () => unknown): string {
  try {
    act()
    return 'ok'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}
function attemptLater(act: (done: (error?: Error) => void) => void): Promise<string> {
  return new Promise((resolve) => {
    const done = (error?: Error) =>
      resolve(error === undefined ? 'ok' : ((error as NodeJS.ErrnoException).code ?? String(error)))
    try {
      act(done)
    } catch (error) {
      done(error as Error)
    }
  })
}

function statusFields(): Record<string, string> {
  const lines = readFileSync('/proc/self/status', 'utf8').split('\n')
  const wanted = /^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp|Uid|Gid|Groups):\s*(.*?)\s*$/
  return Object.fromEntries(
    lines.flatMap((line) => {
      const found = wanted.exec(line)
      return found === null ? [] : [[found[1], found[2]?.replaceAll(/\s+/g, ' ')]]
    }),
  )
}

function runOf(path: string, ...args: string[]): string {
  const ran = spawnSync(path, args)
  return ran.error === undefined ? `status ${ran.status}` : ((ran.error as NodeJS.ErrnoException).code ?? 'error')
}

function execFrom(folder: string, loader: string): string {
  const copy = `${folder}/loader`
  copyFileSync(loader, copy)
  chmodSync(copy, 0o700)
  const result = runOf(copy, '--version')
  rmSync(copy)
  return result
}

function filesThatFit(folder: string, max: number): number {
  let made = 0
  while (made < max && attempt(() => writeFileSync(`${folder}/f${made}`, '')) === 'ok') made += 1
  for (let each = 0; each < made; each += 1) rmSync(`${folder}/f${each}`)
  return made
}

const MASKED_FILES = ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/proc/interrupts', '/proc/sched_debug']

function bytesOf(path: string): number {
  try {
    return readFileSync(path, 'latin1').length
  } catch {
    return 0
  }
}
function entriesOf(path: string): number {
  try {
    return readdirSync(path).length
  } catch {
    return 0
  }
}

async function report(): Promise<object> {
  const loader = LOADERS.find((path) => attempt(() => readFileSync(path)) === 'ok') ?? ''
  const write = (path: string) => attempt(() => writeFileSync(path, 'x'))
  return {
    env: Object.keys(process.env).sort(),
    status: statusFields(),
    limits: readFileSync('/proc/self/limits', 'utf8'),
    writes: {
      root: write('/x'),
      app: write('/app/images/agent/shim.js'),
      sockets: write('/run/hub/x'),
      sysrq: write('/proc/sysrq-trigger'),
      hostname: write('/proc/sys/kernel/hostname'),
      cgroup: write('/sys/fs/cgroup/x'),
      tmp: write('/tmp/x'),
      workspace: write('/workspace/x'),
    },
    unlinkSocket: attempt(() => unlinkSync('/run/hub/hub.sock')),
    exec: {
      inPlace: runOf(loader, '--version'),
      tmp: execFrom('/tmp', loader),
      workspace: execFrom('/workspace', loader),
      shell: runOf('/bin/sh', '-c', 'true'),
      child: runOf(process.execPath, '-e', '0'),
    },
    interfaces: readdirSync('/sys/class/net'),
    sockets: {
      tcp: await attemptLater((done) => connect(80, '127.0.0.1', () => done()).on('error', done)),
      tcp6: await attemptLater((done) => connect(80, '::1', () => done()).on('error', done)),
      listen: await attemptLater((done) =>
        createServer()
          .on('error', done)
          .listen(0, '127.0.0.1', () => done()),
      ),
      udp: await attemptLater((done) =>
        createSocket('udp4')
          .on('error', done)
          .bind(0, () => done()),
      ),
      udp6: await attemptLater((done) =>
        createSocket('udp6')
          .on('error', done)
          .bind(0, () => done()),
      ),
      unix: await attemptLater((done) =>
        createServer()
          .on('error', done)
          .listen('/tmp/own.sock', () => done()),
      ),
      engine: await attemptLater((done) => connect('/var/run/docker.sock', () => done()).on('error', done)),
    },
    // The last of each is not masked, so that an empty answer means something.
    readable: [...MASKED_FILES, '/proc/uptime'].filter((path) => bytesOf(path) > 0),
    listable: ['/proc/acpi', '/proc/scsi', '/sys/firmware', '/sys/devices/virtual/powercap', '/sys/kernel'].filter(
      (path) => entriesOf(path) > 0,
    ),
    shm: attempt(() => readdirSync('/dev/shm')),
    devices: readdirSync('/dev').sort(),
    inodes: filesThatFit('/tmp', 5000),
    sizes: ['/tmp', '/workspace'].map((path) => {
      const { bsize, blocks } = statfsSync(path)
      return bsize * blocks
    }),
  }
}

const held: Buffer[] = []
const socket = connect(process.env.HUB_SOCKET ?? '')
let text = ''
socket.setEncoding('utf8')
// It never joins, and does not end for that: the other end may hang up on one that says nothing.
socket.on('error', () => undefined).on('close', () => setInterval(() => undefined, 60_000))
socket.on('data', async (piece: string) => {
  text += piece
  const lines = text.split('\n')
  text = lines.pop() ?? ''
  for (const line of lines) {
    const [word, value] = line.split(' ')
    if (word === 'exit') process.exit(Number(value))
    if (word === 'report') socket.write(`${JSON.stringify(await report())}\n`)
    if (word === 'trap') process.on('SIGTERM', () => {})
    if (word === 'trap') socket.write('{}\n')
    if (word === 'hog') for (;;) held.push(Buffer.alloc(16 * 1024 ** 2, 1))
    if (word === 'chatter') {
      for (let line = 0; line < 40_000; line += 1) console.log(`line ${line} ${'x'.repeat(100)}`)
      process.stdout.write('end\n', () => socket.write('{}\n'))
    }
  }
})
