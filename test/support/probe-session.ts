/** One real container from a probe image, and the word with the program in it, for tests on the real engine. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { createSystemClock } from '../../hub/base/clock.ts'
import { newSessionId, systemRandom } from '../../hub/base/random.ts'
import { silentLog } from '../../hub/base/telemetry.ts'
import { mintGrant, mintStopGrant } from '../../hub/guard/grant.ts'
import { hubPrincipal } from '../../hub/guard/principal.ts'
import { DEFAULT_LIMITS, type SessionLimits } from '../../hub/protocol/agent.ts'
import { createContainers } from '../../hub/work/sandbox/containers.ts'
import { createEngine } from '../../hub/work/sandbox/engine.ts'
import { readHostFacts } from '../../hub/work/sandbox/host.ts'
import type { SessionFacts } from '../../hub/work/sandbox/profile.ts'
import { createSockets } from '../../hub/work/sandbox/sockets.ts'
import { FIRST_USER } from '../../hub/work/sandbox/users.ts'
import { assembleImages, loadImages } from '../../scripts/images/assembly.ts'
import { createImageEngine } from '../../scripts/images/loading.ts'
import { ENGINE_SOCKET } from './engine-socket.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

const principal = hubPrincipal('test')
export const provisionGrant = mintGrant({
  operation: 'session.provision',
  principal,
  resource: 'probe',
  decisionId: 'd',
  narrow: {},
  auditSeq: 1,
})
export const reapGrant = mintStopGrant({ operation: 'session.reap', principal, resource: 'probe' })

/** Loads the probe image and answers its id. */
export async function loadProbe(): Promise<string> {
  const probe = `${root}test/support/images/probe`
  const images = assembleImages({
    root: probe,
    cacheDir: `${root}.cache/images`,
    folders: [],
    prefix: 'hub-test/probe-',
  })
  const engine = createImageEngine({ socketPath: ENGINE_SOCKET, deadlineMs: 60_000, loadDeadlineMs: 300_000 })
  const [built] = await loadImages(images, engine, () => {})
  return built?.id ?? ''
}

/** Everything a container test needs; disposing it removes each container of the instance and the home. */
export function openBench(imageId: string, socketPath = ENGINE_SOCKET) {
  const clock = createSystemClock()
  const home = mkdtempSync('/tmp/hub-probe-')
  const instance = `probe-${newSessionId(systemRandom)}`
  const engine = createEngine({ socketPath, callMs: 120_000 }, { clock })
  const host = readHostFacts(`${root}images/agent`)
  const containers = createContainers({ instance, host }, { engine, log: silentLog(), clock })
  const sockets = createSockets({ home, uid: process.getuid?.() ?? 0 })
  const servers: { close(): void }[] = []

  /** Provisions one container; `ask` sends a word to the program in it and answers with its JSON. */
  async function place(changes: Partial<SessionLimits> = {}) {
    const session = newSessionId(systemRandom)
    const facts: SessionFacts = {
      instance,
      session,
      task: 'task-1',
      attempt: 'attempt-1',
      agent: 'probe',
      generation: 1,
      imageId,
      user: FIRST_USER,
      socketDir: sockets.make(session),
      expiresAtMs: clock.wallMs() + 120_000,
      expiresBoot: { bootId: clock.bootId, bootMs: clock.bootMs() + 120_000 },
      runtime: 'runc',
      egress: false,
      relax: [],
    }
    const connected = Promise.withResolvers<Socket>()
    const server = createServer((socket) => connected.resolve(socket))
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(sockets.socketPathOf(session), resolve))
    sockets.open(session)
    const limits = { ...DEFAULT_LIMITS, ...changes }
    const body = containers.plan(facts, limits)
    const placed = await containers.provision(provisionGrant, facts, limits)
    const tell = async (word: string) => void (await connected.promise).on('error', () => {}).write(`${word}\n`)
    const ask = async (word: string): Promise<unknown> => {
      await tell(word)
      const socket = await connected.promise
      socket.setEncoding('utf8')
      let text = ''
      for await (const piece of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<string>) {
        text += piece
        if (text.endsWith('\n')) break
      }
      if (!text.endsWith('\n')) throw new Error(`the probe ended: ${await engine.logs(placed.containerId, 2000)}`)
      return JSON.parse(text)
    }
    return { ...placed, session, body, tell, ask }
  }

  return {
    clock,
    instance,
    engine,
    containers,
    place,
    async [Symbol.asyncDispose]() {
      for (const { id } of await engine.list(instance)) await engine.remove(id)
      for (const server of servers) server.close()
      rmSync(home, { recursive: true, force: true })
    },
  }
}
