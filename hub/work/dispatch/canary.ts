/**
 * The canary session: one container of the usual profile, with an image from the catalogue. It goes the whole way of a session in about two
 * seconds: create, compare, start, join over its socket, compare again, run out of memory, stop, remove (faults A5, A9). It names what this
 * engine or host cannot do before the first task fails because of it (sandbox/fitness.ts).
 *
 * Y1. It is no session: it has no row, its key and token are worthless, and what it says affects only its own result.
 * Y2. It is in the ledger before it is created, and leaves it when the engine no longer knows it, like any session.
 * Y3. An engine that does not answer is no finding: this throws `engine_unavailable`, and the caller tries again.
 * Y4. Only images of agents that may start are run. A missing or broken image is its agent's fault, so the next one is tried. The engine is
 *     blamed only if a second image fails in the same way, or if there is no other.
 * Y5. A stop comes first: nothing is started or judged once new work is not permitted.
 */
import { dirname } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { type ErrorCode, HubError, toHubError } from '../../base/errors.ts'
import { newSessionId, type Random } from '../../base/random.ts'
import type { Gate } from '../../guard/gate.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import { CANARY_AGENT, DEFAULT_LIMITS } from '../../protocol/agent.ts'
import type { Registry } from '../registry.ts'
import { compareInspect, type Difference } from '../sandbox/compare.ts'
import type { Containers, Provisioned } from '../sandbox/containers.ts'
import type { Engine } from '../sandbox/engine.ts'
import { type CanaryFacts, type CanaryStep, type Finding, judgeEngine, judgeFitness } from '../sandbox/fitness.ts'
import type { Ledger } from '../sandbox/ledger.ts'
import type { Machine } from '../sandbox/machine.ts'
import { containerNameOf, type Runtime, type SessionFacts } from '../sandbox/profile.ts'
import type { Sockets } from '../sandbox/sockets.ts'
import { differencesBesideSwap } from '../sandbox/swap.ts'
import { canaryUser } from '../sandbox/users.ts'
import { CANARY_MEMORY_BYTES, openCanaryDoor } from './canary-door.ts'
import { expiryAfter, readExpiry } from './expiry.ts'

export interface CanaryReport {
  findings: Finding[]
  /** From the first call to the confirmed removal. */
  tookMs: number
  /** When it ended, in epoch milliseconds. */
  atMs: number
  /** Which engine it was: another text means another engine. */
  engine: string
}

export interface Canary {
  /** Whether there is an image to try with. */
  hasImage(): boolean
  /** Which engine answers now, and why it is refused if it is one that is never supported. Throws `engine_unavailable`. */
  ask(): Promise<{ engine: string; components: Readonly<Record<string, string>>; refused: Finding[] }>
  /** Throws `engine_unavailable` if the engine does not answer, `mode_...` if nothing may be started. */
  run(): Promise<CanaryReport>
}

const CANARY = hubPrincipal('canary')
/** Tried before others, because what they do is known. */
const SHIPPED: ReadonlySet<string> = new Set(['hub/drill', 'hub/echo'])
const TTL_MS = 60_000
const MEMORY_WAIT_MS = 10_000
const LIMITS = { ...DEFAULT_LIMITS, memoryBytes: CANARY_MEMORY_BYTES, ttlMs: TTL_MS }

interface CanaryParts {
  clock: Clock
  random: Random
  gate: Gate
  registry: Registry
  engine: Pick<Engine, 'ping' | 'info' | 'inspect' | 'logs'>
  containers: Containers
  ledger: Ledger
  sockets: Sockets
  machine: () => Machine
}

/** A step that failed, with the code of the engine's answer if there was one. */
class Broken extends Error {
  readonly step: CanaryStep
  readonly differences: readonly Difference[]
  readonly code: ErrorCode | undefined
  constructor(step: CanaryStep, said: string, differences: readonly Difference[] = [], code?: ErrorCode) {
    super(said)
    this.step = step
    this.differences = differences
    this.code = code
  }
}

const noImage = () =>
  new HubError('image_missing', 'no agent that may be started has an image to prove the engine with')

/** Whether the image may be the cause: it is missing, its program cannot be started, or its program does not join. */
const isOfImage = ({ step, code }: Broken): boolean =>
  step === 'join' || (step === 'create' && code === 'image_missing') || (step === 'start' && code === 'engine_refused')

interface Image {
  agent: string
  imageId: string
}
type Tried = Pick<CanaryFacts, 'failure' | 'memory' | 'passedOver'>
/** What came of one image. `mayBeImage`: another one may do better. */
type TriedOne = Omit<Tried, 'passedOver'> & { mayBeImage?: boolean }

export function createCanary(
  options: { instance: string; runtime: Runtime; firstUser: number; joinWindowMs: number },
  parts: CanaryParts,
): Canary {
  const { instance, runtime, firstUser } = options
  const { clock, random, gate, registry, engine, containers, ledger, sockets, machine } = parts
  function images(): Image[] {
    const usable = registry.list().flatMap(({ card, imageId, state }) => {
      if (imageId === undefined || state !== 'registered') return []
      return [{ agent: card.name, imageId, isShipped: SHIPPED.has(card.image) }]
    })
    return usable.sort((a, b) => Number(b.isShipped) - Number(a.isShipped))
  }

  async function look(): Promise<Pick<CanaryFacts, 'engine' | 'info'>> {
    const [told, info] = [await engine.ping(), await engine.info()]
    return { engine: told, info }
  }
  /** If any of this changes, it is another engine. */
  const textOf = ({ engine: { engineVersion, components }, info }: Pick<CanaryFacts, 'engine' | 'info'>): string =>
    JSON.stringify([engineVersion, components, { ...info, warnings: [] }])

  const baseOf = (seen: Pick<CanaryFacts, 'engine' | 'info'>): CanaryFacts => ({
    ...seen,
    machine: machine(),
    runtime,
    firstUser,
    folder: dirname(sockets.socketDirOf(newSessionId(random))),
  })

  function newFacts(imageId: string): SessionFacts {
    const session = newSessionId(random)
    return {
      instance,
      session,
      task: 'canary',
      attempt: 'canary',
      agent: CANARY_AGENT,
      generation: 1,
      imageId,
      user: canaryUser(firstUser),
      socketDir: sockets.make(session),
      expiresAtMs: clock.wallMs() + TTL_MS,
      expiresBoot: readExpiry(expiryAfter(clock, TTL_MS)),
      runtime,
      egress: false,
      relax: [],
    }
  }

  /** What the engine said at this step, told apart from an engine that does not answer. */
  async function at<Result>(step: CanaryStep, work: Promise<Result>): Promise<Result> {
    try {
      return await work
    } catch (thrown) {
      const error = toHubError(thrown)
      if (error.code.startsWith('mode_') || error.code === 'store_unavailable') throw error
      // An engine that answers is there, whatever it answered. If it does not answer, there is nothing to report.
      if (error.code === 'engine_unavailable') await engine.ping()
      const { differences } = error.facts as { differences?: Difference[] }
      throw new Broken(step, error.message, (differences ?? []).map(asSeen), error.code)
    }
  }

  /** An error carries the values of a difference as text. */
  function asSeen({ field, expected, found }: Difference): Difference {
    const read = (text: unknown) => {
      try {
        return JSON.parse(String(text)) as unknown
      } catch {
        return text
      }
    }
    return { field, expected: read(expected), found: read(found) }
  }

  async function compareAgain(placed: Provisioned, body: ReturnType<Containers['plan']>): Promise<void> {
    const found = await at('look again', engine.inspect(placed.containerId))
    const differences = differencesBesideSwap(
      compareInspect(body, found, placed.containerId),
      () => machine().swapBytes > 0,
    )
    if (differences.length > 0)
      throw new Broken('look again', 'the engine changed the container when it started it', differences)
  }

  const callOf = (facts: SessionFacts, body: ReturnType<Containers['plan']>) =>
    ({
      principal: CANARY,
      operation: 'session.provision',
      resource: `session:${facts.session}`,
      facts: { body },
      mends: 'engine_unfit',
    }) as const

  async function walk(facts: SessionFacts, body: ReturnType<Containers['plan']>): Promise<CanaryFacts['memory']> {
    const door = await openCanaryDoor(facts, sockets, clock)
    try {
      const call = callOf(facts, body)
      const { grant } = gate.admit(call, (proof) => ({ grant: proof, auditEffect: `probe of ${runtime}` }))
      const placed = await at('create', containers.provision(grant, facts, LIMITS))
      const ended = placed.exited.then(
        ({ exitCode, oomKilled }) => ({ exitCode, oomKilled }),
        () => ({ exitCode: -1, oomKilled: false }),
      )
      // The engine may have taken long, and a stop may have come meanwhile. That stop has not seen this container (Y5).
      gate.foresee(call)
      await at('start', placed.start())
      const { joinWindowMs } = options
      const late = clock.sleep(joinWindowMs).then(() => `it did not join within ${joinWindowMs / 1000} s`)
      const fell = ended.then(({ exitCode }) => `it ended with exit code ${exitCode} before it joined`)
      const why = await Promise.race([door.joined.then(() => undefined), late, fell])
      if (why !== undefined) throw new Broken('join', `a container under ${runtime} ${why.slice(3)}`)
      await compareAgain(placed, body)
      const hunger = Promise.race([door.hungry, ended.then(() => 'killed' as const)])
      const memory = await Promise.race([hunger, clock.sleep(MEMORY_WAIT_MS).then(() => 'not seen' as const)])
      const stop = {
        principal: CANARY,
        operation: 'session.reap',
        resource: `container:${placed.containerId}`,
      } as const
      const proof = gate.admitStop(stop, (minted) => minted)
      await at('stop', containers.stop(proof, placed.containerId, { graceMs: 0 }))
      const exit = await Promise.race([ended, clock.sleep(MEMORY_WAIT_MS)])
      return memory === 'killed' && exit?.oomKilled !== true ? 'killed, unsaid' : memory
    } finally {
      door.close()
    }
  }

  /** Removes it whatever came of it. What is not gone stays in the ledger for the next who removes it. */
  async function clear(session: string): Promise<void> {
    const container = containerNameOf(instance, session)
    const reap = { principal: CANARY, operation: 'session.reap', resource: `container:${container}` } as const
    const grant = gate.admitStop(reap, (proof) => proof)
    const removed = await containers.recycle(grant, container, { graceMs: 0 })
    sockets.remove(session)
    if (removed.outcome === 'failed') throw new Broken('remove', removed.reason)
    ledger.drop(session)
  }

  /** From a run that was cut off: container, folder and ledger entry are still there. */
  async function clearLeft(): Promise<void> {
    const left = ledger.list().filter(({ agent }) => agent === CANARY_AGENT)
    for (const { session } of left) await clear(session).catch(() => undefined)
  }

  async function tryOn(imageId: string): Promise<TriedOne> {
    const facts = newFacts(imageId)
    const { session, agent, generation, expiresAtMs, expiresBoot } = facts
    const container = containerNameOf(instance, session)
    const body = containers.plan(facts, LIMITS)
    ledger.put({
      session,
      container,
      containerId: null,
      agent,
      generation,
      attempt: 1,
      expiresAtMs,
      expiresBoot: `${expiresBoot.bootId}:${expiresBoot.bootMs}`,
    })
    let log = ''
    const broke = (thrown: unknown): TriedOne => {
      if (!(thrown instanceof Broken)) throw thrown
      const failure = { step: thrown.step, said: thrown.message, differences: thrown.differences, log }
      return { failure, mayBeImage: isOfImage(thrown) }
    }
    const walked = await walk(facts, body)
      .then((memory): TriedOne => (memory === undefined ? {} : { memory }))
      .catch(async (thrown) => {
        log = await engine.logs(container, 4096).catch(() => '')
        // If a stop ended it, it did not fail (Y5).
        gate.foresee(callOf(facts, body))
        return broke(thrown)
      })
      .catch(async (thrown) => {
        await clear(session).catch(() => undefined)
        throw thrown
      })
    const cleared = await clear(session).then((): TriedOne => ({}), broke)
    // If it cannot be removed, the engine failed, whatever the image did before.
    if (walked.failure === undefined) return { ...walked, ...cleared }
    return cleared.failure === undefined ? walked : { ...walked, mayBeImage: false }
  }

  /** Tries image after image until one goes the whole way, the engine itself fails, two fail alike, or there is no other (Y4). */
  async function tryImages(): Promise<Tried> {
    const seen = new Set<string>()
    const failed: NonNullable<Tried['passedOver']> = []
    for (;;) {
      const next = images().find(({ imageId }) => !seen.has(imageId))
      if (next === undefined) break
      seen.add(next.imageId)
      const { mayBeImage, ...tried } = await tryOn(next.imageId)
      const { failure } = tried
      if (failure === undefined || mayBeImage !== true) return { ...tried, passedOver: failed }
      if (failure.step === 'create') {
        // The image was removed or built again since the cards were read. Its agent then reports that itself.
        await registry.read()
        if (!images().some(({ imageId }) => imageId === next.imageId)) continue
      }
      const isAgain = failed.some((other) => other.failure.step === failure.step)
      failed.push({ agent: next.agent, failure })
      if (isAgain) break
    }
    const last = failed.pop()
    if (last === undefined) throw noImage()
    return { failure: last.failure, passedOver: failed }
  }

  function record(findings: readonly Finding[], tookMs: number): void {
    const call = { principal: CANARY, operation: 'hub.observe', resource: 'engine' } as const
    const ids = findings.map(({ id }) => id).join(', ')
    const isGood = !findings.some(({ blocks }) => blocks)
    gate.admit(call, () => ({
      auditEffect: `canary ${isGood ? 'passed' : 'failed'} in ${tookMs} ms${ids === '' ? '' : `: ${ids}`}`,
    }))
  }

  return {
    hasImage: () => images().length > 0,
    async ask() {
      const seen = await look()
      return { engine: textOf(seen), components: seen.engine.components, refused: judgeEngine(baseOf(seen)) }
    },
    async run() {
      const startedAt = clock.monotonicMs()
      if (images().length === 0) throw noImage()
      const seen = await look()
      await clearLeft()
      const base = baseOf(seen)
      const tried = judgeEngine(base).length > 0 ? {} : await tryImages()
      const findings = judgeFitness({ ...base, ...tried })
      const tookMs = Math.round(clock.monotonicMs() - startedAt)
      record(findings, tookMs)
      return { findings, tookMs, atMs: clock.wallMs(), engine: textOf(seen) }
    },
  }
}
