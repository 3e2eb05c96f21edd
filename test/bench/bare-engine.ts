/**
 * The raw baseline: one container of the hub's own body, by the engine's own calls over node:http, with nothing of the hub between.
 * Its socket is answered here, with a refusal, so that the shim says its first word and ends.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import os from 'node:os'
import { join } from 'node:path'
import { newSessionId, systemRandom } from '../../hub/base/random.ts'
import { DEFAULT_LIMITS } from '../../hub/protocol/agent.ts'
import { readHostFacts } from '../../hub/work/sandbox/host.ts'
import { buildContainer } from '../../hub/work/sandbox/profile.ts'
import { createSockets } from '../../hub/work/sandbox/sockets.ts'
import { FIRST_USER } from '../../hub/work/sandbox/users.ts'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'

const DEADLINE_MS = 60_000

export interface BareRun {
  /** From the create call to the first connection on the session's socket. */
  firstWordMs: number
  /** From the create call to the engine's answer that the container has ended. */
  endMs: number
}

export interface BareEngine extends Disposable {
  run(imageId: string): Promise<BareRun>
}

export function createBareEngine(root: string): BareEngine {
  const home = mkdtempSync('/tmp/hub-bare-')
  const instance = `bench-${newSessionId(systemRandom)}`
  const host = readHostFacts(join(root, 'images/agent'))
  const sockets = createSockets({ home, uid: process.getuid?.() ?? 0 })
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  const agent = new http.Agent({ keepAlive: true })

  function call(method: string, path: string, body?: object): { answered: Promise<void>; ended: Promise<string> } {
    const answered = Promise.withResolvers<void>()
    const ended = new Promise<string>((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body)
      const headers =
        text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
      const signal = AbortSignal.timeout(DEADLINE_MS)
      const options = { socketPath: ENGINE_SOCKET, method, path, headers, agent, signal }
      const asked = http.request(options, (answer) => {
        answered.resolve()
        answer.setEncoding('utf8')
        let said = ''
        answer.on('data', (piece: string) => {
          said += piece
        })
        answer.on('end', () => {
          if ((answer.statusCode ?? 500) < 400) resolve(said)
          else reject(new Error(`${method} ${path}: ${answer.statusCode} ${said.slice(0, 200)}`))
        })
      })
      asked.on('error', reject)
      asked.end(text)
    })
    return { answered: answered.promise, ended }
  }

  return {
    async run(imageId) {
      const session = newSessionId(systemRandom)
      const ttlMs = 120_000
      const facts = {
        instance,
        session,
        task: 'bench',
        attempt: 'bench',
        agent: 'echo',
        generation: 1,
        imageId,
        user: FIRST_USER,
        socketDir: sockets.make(session),
        expiresAtMs: Date.now() + ttlMs,
        expiresBoot: { bootId, bootMs: Math.round(os.uptime() * 1000) + ttlMs },
        runtime: 'runc' as const,
        egress: false,
        relax: [],
      }
      // As the echo agent's card has it: the very body the hub sends.
      const body = buildContainer(facts, { ...DEFAULT_LIMITS, ttlMs, memoryBytes: 256 * 1024 ** 2 }, host)
      const firstWord = Promise.withResolvers<number>()
      const server = http.createServer((_, answer) => answer.writeHead(403, { connection: 'close' }).end('{}'))
      server.on('connection', () => firstWord.resolve(performance.now()))
      await new Promise<void>((resolve) => server.listen(sockets.socketPathOf(session), resolve))
      sockets.open(session)
      let id: string | undefined
      try {
        const startedAt = performance.now()
        const created = await call('POST', '/containers/create', body).ended
        id = (JSON.parse(created) as { Id: string }).Id
        const wait = call('POST', `/containers/${id}/wait?condition=next-exit`)
        await wait.answered
        await call('POST', `/containers/${id}/start`).ended
        const firstWordMs = (await firstWord.promise) - startedAt
        await wait.ended
        return { firstWordMs, endMs: performance.now() - startedAt }
      } finally {
        if (id !== undefined) await call('DELETE', `/containers/${id}?force=1`).ended
        server.close()
        sockets.remove(session)
      }
    },
    [Symbol.dispose]() {
      agent.destroy()
      rmSync(home, { recursive: true, force: true })
    },
  }
}
