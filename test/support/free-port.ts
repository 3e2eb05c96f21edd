/** A loopback port for a test that has to name one before it is used: free a moment ago, and given to nobody else meanwhile. */
import { randomInt } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Below the ports that the kernel gives to who asks for any (32768 and up): another test's connection would take the port before it is used. */
const [FIRST, PAST] = [20_000, 32_000]
const TRIES_MAX = 100
/** One file for each port that a test process has, with its process id: a port stays unused for seconds until what is to use it has started. */
const TAKEN = join(tmpdir(), 'hub-test-ports')

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return false
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

/** Whether the port is this process's now. What a process that has ended left behind is removed, for whoever tries next: test processes are ended by a signal and tidy up nothing. */
function take(port: number): boolean {
  const file = join(TAKEN, String(port))
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' })
    return true
  } catch {
    try {
      const pid = Number(readFileSync(file, 'utf8'))
      if (pid > 0 && isGone(pid)) rmSync(file, { force: true })
    } catch {
      // It has gone meanwhile.
    }
    return false
  }
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer().on('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })

export async function freePort(): Promise<number> {
  mkdirSync(TAKEN, { recursive: true })
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const port = randomInt(FIRST, PAST)
    if (take(port) && (await isFree(port))) return port
  }
  throw new Error(`no loopback port is free: ${TRIES_MAX} of ${FIRST} to ${PAST} were tried`)
}
