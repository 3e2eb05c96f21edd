/** A loopback port that was free a moment ago. */
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/** Below the ports that the kernel gives to who asks for any (32768 and up): another test's connection would take the port before it is used. */
const [FIRST, PAST] = [20_000, 32_000]
const TRIES_MAX = 100

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer().on('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })

export async function freePort(): Promise<number> {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const port = randomInt(FIRST, PAST)
    if (await isFree(port)) return port
  }
  throw new Error(`no loopback port is free: ${TRIES_MAX} of ${FIRST} to ${PAST} were tried`)
}
