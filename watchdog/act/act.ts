/**
 * What the watchdog does to containers. C1 every call has a deadline and containers are handled side by side, so a stubborn
 * one delays no other. C2 a container counts as stopped only when the engine says it is gone. C3 doing it twice is harmless.
 */
import type { Clock } from '../base/clock.ts'
import type { Container } from '../judge/containers.ts'
import type { Remains } from '../judge/facts.ts'
import type { Lease, StopOrder } from '../judge/lease.ts'
import type { Engine } from '../observe/engine.ts'
import type { Confirmed, HubLine } from '../observe/hub-line.ts'
import { judgeRemains, openProcesses, type Processes } from '../observe/processes.ts'

const AT_ONCE = 16
/** Time between two looks at what is left, while the hub stops it. */
const LOOK_MS = 500
/** How often a container that is being removed is looked at before it counts as still there. */
const LOOKS_MAX = 8

export interface Stopped {
  readonly path: 'hub' | 'watchdog'
  readonly requested: number
  readonly containers: readonly Confirmed[]
  /** Why the engine could not say at the end that nothing is left; absent if it could. */
  readonly unproven?: string
}

export interface Acts {
  recycle(containers: readonly Container[]): Promise<readonly Confirmed[]>
  /**
   * Stops every container of the instance: through the hub if that is in time, else by label itself; says which (docs/safety.md 5).
   * It does not wait for a hub that does not even take the lease.
   */
  stopEverything(lease: Lease, order: StopOrder): Promise<Stopped>
  /** Removes only the containers of one session; throws if the engine does not answer. */
  drill(session: string): Promise<Stopped>
  /** Progress of the stop that is under way; null if there is none. */
  progress(): { readonly requested: number; readonly confirmed: number } | null
}

interface Hands {
  readonly engine: Engine
  readonly clock: Clock
  readonly processes: Processes
}

async function remainsOf({ engine, processes }: Hands, { id }: Container, state: string): Promise<Remains> {
  const found = processes.of(id)
  if (found === null || found.length > 0) return judgeRemains(state, found)
  const seesAll = await engine.machine().then(processes.seesAll, () => false)
  return judgeRemains(state, seesAll ? found : null)
}

/** `gone`, whatever the call that failed said, or why not. */
async function confirmGone(parts: Hands, container: Container, problem: string): Promise<Confirmed> {
  const { engine, clock } = parts
  try {
    for (let look = 1; ; look += 1) {
      const found = await engine.inspect(container.id)
      if (found === 'gone') return { container: container.name, outcome: 'gone' }
      // Waiting helps only if a removal was ordered, here or by somebody else.
      if (problem !== '' || look === LOOKS_MAX) {
        const remains = await remainsOf(parts, container, found.state)
        const known = remains === 'unknown' ? {} : { remains }
        return {
          container: container.name,
          outcome: 'failed',
          reason: problem || `it is still ${found.state}`,
          ...known,
        }
      }
      await new Promise<void>((resolve) => void clock.after(LOOK_MS, resolve))
    }
  } catch (error) {
    return { container: container.name, outcome: 'failed', reason: problem || (error as Error).message }
  }
}

async function recycleOne(hands: Hands, container: Container, graceMs: number): Promise<Confirmed> {
  const { engine } = hands
  let problem = ''
  const attempt = async (call: Promise<'done' | 'gone'>) => {
    try {
      return await call
    } catch (error) {
      problem = (error as Error).message
      return 'failed'
    }
  }
  const runs = ['running', 'paused', 'restarting'].includes(container.state)
  const stopped = runs ? await attempt(engine.stop(container.id, graceMs)) : 'done'
  if (stopped === 'gone') return { container: container.name, outcome: 'already_gone' }
  if (stopped === 'failed') await attempt(engine.kill(container.id))
  const removed = await attempt(engine.remove(container.id))
  if (removed === 'gone') return { container: container.name, outcome: 'already_gone' }
  return confirmGone(hands, container, removed === 'done' ? '' : problem)
}

/** The acts over one engine. `stopGraceMs`: between SIGTERM and SIGKILL; `hubStopMs`: what the hub gets to report. */
export function createActs(
  options: { stopGraceMs: number; hubStopMs: number },
  parts: { clock: Clock; engine: Engine; hub: HubLine; onWork?: () => void; processes?: Processes },
): Acts {
  const { clock, engine, hub, onWork = () => {}, processes = openProcesses() } = parts
  let progress: { requested: number; confirmed: number } | null = null

  async function recycle(containers: readonly Container[], onDone: () => void = () => {}): Promise<Confirmed[]> {
    const done: Confirmed[] = []
    const waiting = [...containers]
    const worker = async () => {
      for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) {
        onWork()
        const confirmed = await recycleOne({ engine, clock, processes }, one, options.stopGraceMs)
        if (confirmed.outcome !== 'failed') onDone()
        done.push(confirmed)
      }
    }
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, waiting.length) }, worker))
    return done
  }

  const listed = async (): Promise<readonly Container[] | string> => {
    try {
      return await engine.list()
    } catch (error) {
      return (error as Error).message
    }
  }

  /** Counts what has gone while somebody else removes it, until that work ends. */
  async function count(first: readonly Container[], work: Promise<unknown>): Promise<void> {
    let over = false
    const end = work.finally(() => {
      over = true
    })
    while (!over) {
      await Promise.race([end, new Promise<void>((resolve) => void clock.after(LOOK_MS, resolve))])
      if (over) return
      onWork()
      const left = await listed()
      if (typeof left !== 'string') progress = { requested: first.length, confirmed: first.length - left.length }
    }
  }

  async function byTheHub(first: readonly Container[], lease: Lease, order: StopOrder) {
    const heard = await hub.lease(lease)
    // A hub that hangs would use up its whole deadline, and the person who waits should see the end soon.
    if (heard.kind !== 'answer' && heard.kind !== 'refused') return null
    const asked = hub.shutdown(lease.epoch, order, options.hubStopMs)
    await count(first, asked)
    return asked
  }

  async function stopEverything(lease: Lease, order: StopOrder): Promise<Stopped> {
    const first = await listed()
    const known = typeof first === 'string' ? [] : first
    progress = { requested: known.length, confirmed: 0 }
    const byHub = await byTheHub(known, lease, order)
    const left = await listed()
    const path = byHub === null ? 'watchdog' : 'hub'
    if (typeof left === 'string') {
      // The engine is silent: nothing is confirmed, and the answer must say so for every container we know of.
      const names = new Set([...known.map((one) => one.name), ...(byHub ?? []).map((one) => one.container)])
      const containers = [...names].map((container) => ({ container, outcome: 'failed' as const, reason: left }))
      return { path, requested: containers.length, containers, unproven: left }
    }
    const total = Math.max(known.length, left.length)
    progress = { requested: total, confirmed: total - left.length }
    const own = await recycle(left, () => {
      if (progress !== null) progress = { ...progress, confirmed: progress.confirmed + 1 }
    })
    const outcome = new Map<string, Confirmed>()
    for (const one of known) outcome.set(one.name, { container: one.name, outcome: 'gone' })
    for (const one of byHub ?? [])
      outcome.set(one.container, { ...one, outcome: one.outcome === 'failed' ? 'gone' : one.outcome })
    for (const one of own) outcome.set(one.container, one)
    // A container that appeared meanwhile would make "everything has stopped" a lie.
    const last = await listed()
    if (typeof last === 'string')
      return { path, requested: outcome.size, containers: [...outcome.values()], unproven: last }
    for (const one of last) {
      if (outcome.get(one.name)?.outcome !== 'failed')
        outcome.set(one.name, { container: one.name, outcome: 'failed', reason: `it is still ${one.state}` })
    }
    return {
      path: own.length > 0 ? 'watchdog' : path,
      requested: outcome.size,
      containers: [...outcome.values()],
    }
  }

  return {
    recycle: (containers) => recycle(containers),
    async drill(session) {
      const own = (await engine.list()).filter(({ labels }) => labels['hub.session'] === session)
      return { path: 'watchdog', requested: own.length, containers: await recycle(own) }
    },
    stopEverything: (lease, order) =>
      stopEverything(lease, order).finally(() => {
        progress = null
      }),
    progress: () => progress,
  }
}
