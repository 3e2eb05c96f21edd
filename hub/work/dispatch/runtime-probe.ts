/**
 * The proof of a runtime: one container of the usual profile, with an image of the catalogue, that joins over its socket. It is no session:
 * nothing it says is believed, and its join is refused; that it could be said at all is the proof.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { http } from '../../base/node-http.ts'
import { newSessionId, type Random } from '../../base/random.ts'
import type { Gate } from '../../guard/gate.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import { DEFAULT_LIMITS } from '../../protocol/agent.ts'
import type { Registry } from '../registry.ts'
import type { Containers } from '../sandbox/containers.ts'
import type { Ledger } from '../sandbox/ledger.ts'
import { containerNameOf, type Runtime, type SessionFacts } from '../sandbox/profile.ts'
import type { Sockets } from '../sandbox/sockets.ts'
import { expiryAfter, readExpiry } from './expiry.ts'

const PROBE = hubPrincipal('runtime-probe')
const TTL_MS = 60_000

export function createRuntimeProbe(
  options: { instance: string; runtime: Runtime; joinWindowMs: number },
  parts: {
    clock: Clock
    random: Random
    gate: Gate
    registry: Registry
    containers: Containers
    ledger: Ledger
    sockets: Sockets
  },
): () => Promise<void> {
  const { instance, runtime, joinWindowMs } = options
  const { clock, random, gate, registry, containers, ledger, sockets } = parts

  async function joinsWithin(facts: SessionFacts): Promise<boolean> {
    let heard: (joined: boolean) => void = () => undefined
    const joined = new Promise<boolean>((resolve) => {
      heard = resolve
    })
    const server = http.createServer({ requestTimeout: 5000 }, (request, response) => {
      if (request.method === 'POST' && request.url === '/v1/join') heard(true)
      response.writeHead(401).end()
    })
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen(sockets.socketPathOf(facts.session), resolve)
      })
      sockets.open(facts.session)
      const resource = `session:${facts.session}`
      const body = containers.plan(facts, DEFAULT_LIMITS)
      const call = { principal: PROBE, operation: 'session.provision', resource, facts: { body } } as const
      const { grant } = gate.admit(call, (proof) => ({ grant: proof, auditEffect: `probe of ${runtime}` }))
      const placed = await containers.provision(grant, facts, DEFAULT_LIMITS)
      await placed.start()
      return await Promise.race([joined, clock.sleep(joinWindowMs).then(() => false)])
    } finally {
      server.close()
      server.closeAllConnections()
    }
  }

  return async () => {
    const imageId = registry.list().find((agent) => agent.imageId !== undefined)?.imageId
    if (imageId === undefined) throw new HubError('image_missing', 'no agent has an image to prove it with')
    const session = newSessionId(random)
    const expiresBoot = expiryAfter(clock, TTL_MS)
    const facts: SessionFacts = {
      instance,
      session,
      task: 'probe',
      attempt: 'probe',
      agent: 'runtime-probe',
      generation: 1,
      imageId,
      socketDir: sockets.make(session),
      expiresAtMs: clock.wallMs() + TTL_MS,
      expiresBoot: readExpiry(expiresBoot),
      runtime,
    }
    const container = containerNameOf(instance, session)
    const { agent, generation, expiresAtMs } = facts
    ledger.put({ session, container, containerId: null, agent, generation, attempt: 1, expiresAtMs, expiresBoot })
    try {
      if (!(await joinsWithin(facts)))
        throw new HubError('timed_out', `a container under it did not join within ${joinWindowMs / 1000} s`)
    } finally {
      const reap = { principal: PROBE, operation: 'session.reap', resource: `container:${container}` } as const
      const removed = await containers.recycle(
        gate.admitStop(reap, (proof) => proof),
        container,
        { graceMs: 0 },
      )
      // What is not gone stays in the ledger, for whoever removes it.
      if (removed.outcome !== 'failed') ledger.drop(session)
      sockets.remove(session)
    }
  }
}
