/**
 * What the watchdog does to containers. C1 every call has a deadline and containers are worked on side by side, so a stubborn
 * one delays no other. C2 a container counts as stopped only when the engine says it is gone. C3 twice is harmless.
 */
import type { Container, Engine } from './engine.ts'
import type { Confirmed, HubLine, StopOrder } from './lease.ts'

const AT_ONCE = 16

export interface Stopped {
  readonly path: 'hub' | 'watchdog'
  readonly requested: number
  readonly containers: readonly Confirmed[]
}

export interface Acts {
  recycle(containers: readonly Container[]): Promise<readonly Confirmed[]>
  /** Stops every container of the instance: by the hub if it does it in time, else itself by label; says which (safety.md section 5). */
  stopEverything(epoch: number, order: StopOrder): Promise<Stopped>
}

/** `gone`, whatever the call that failed said, or why not. */
async function confirmGone(engine: Engine, container: Container, problem: string): Promise<Confirmed> {
  try {
    const found = await engine.inspect(container.id)
    if (found === 'gone') return { container: container.name, outcome: 'gone' }
    return { container: container.name, outcome: 'failed', reason: problem || `it is still ${found.state}` }
  } catch (error) {
    return { container: container.name, outcome: 'failed', reason: problem || (error as Error).message }
  }
}

async function recycleOne(engine: Engine, container: Container, graceMs: number): Promise<Confirmed> {
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
  return confirmGone(engine, container, removed === 'done' ? '' : problem)
}

/** The acts over one engine. `stopGraceMs`: between SIGTERM and SIGKILL; `hubStopMs`: what the hub gets to report. */
export function createActs(
  options: { stopGraceMs: number; hubStopMs: number },
  parts: { engine: Engine; hub: HubLine },
): Acts {
  const { engine, hub } = parts

  async function recycle(containers: readonly Container[]): Promise<Confirmed[]> {
    const done: Confirmed[] = []
    const waiting = [...containers]
    const worker = async () => {
      for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) {
        done.push(await recycleOne(engine, one, options.stopGraceMs))
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

  return {
    recycle,
    async stopEverything(epoch, order) {
      const first = await listed()
      const byHub = await hub.shutdown(epoch, order, options.hubStopMs)
      const left = await listed()
      if (typeof left === 'string') {
        // The engine is silent: nothing is confirmed, and the answer must say so for every container known of.
        const names = new Set([
          ...(typeof first === 'string' ? [] : first.map((one) => one.name)),
          ...(byHub ?? []).map((one) => one.container),
        ])
        const containers = [...names].map((container) => ({ container, outcome: 'failed' as const, reason: left }))
        return { path: byHub === null ? 'watchdog' : 'hub', requested: containers.length, containers }
      }
      const own = await recycle(left)
      const outcome = new Map<string, Confirmed>()
      for (const one of typeof first === 'string' ? [] : first)
        outcome.set(one.name, { container: one.name, outcome: 'gone' })
      for (const one of byHub ?? [])
        outcome.set(one.container, { ...one, outcome: one.outcome === 'failed' ? 'gone' : one.outcome })
      for (const one of own) outcome.set(one.container, one)
      return {
        path: byHub === null || own.length > 0 ? 'watchdog' : 'hub',
        requested: outcome.size,
        containers: [...outcome.values()],
      }
    },
  }
}
