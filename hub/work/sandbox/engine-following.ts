/** Follows the engine beside the loops: its events as hints, and now and then the place where it keeps its data. */
import type { Clock } from '../../base/clock.ts'
import { seesAll } from '../../base/container-processes.ts'
import type { Engine } from './engine.ts'

const AGAIN_MS = 1000
const DATA_ROOT_MS = 600_000

/**
 * Runs until the signal ends it. `began` is called each time the stream begins or broke: the engine may have been changed meanwhile. An
 * event is only a hint. If one is missed, the wait on the container hears it, or the reconcile finds it within five seconds.
 */
export async function followEngine(
  { instance, signal }: { instance: string; signal: AbortSignal },
  parts: { engine: Engine; clock: Clock; began: () => void; died: (session: string) => void },
): Promise<void> {
  const { engine, clock, began, died } = parts
  while (!signal.aborted) {
    began()
    await engine
      .events(instance, ({ action, labels }) => action === 'die' && died(labels['hub.session'] ?? ''), signal)
      .catch(() => undefined)
    await clock.sleep(AGAIN_MS, signal)
  }
}

/**
 * For a loop: looks at the engine's disk. The data root is asked for now and then, since another engine may answer on the socket. The disk
 * of an engine on another machine cannot be watched from here.
 */
export function createEngineDiskLook(parts: {
  engine: Engine
  clock: Clock
  engineDisk: { at(path: string | undefined): void; tick(): unknown }
  isAway: () => boolean
}): () => Promise<void> {
  const { engine, clock, engineDisk, isAway } = parts
  let askedAtMs = Number.NEGATIVE_INFINITY
  return async () => {
    if (clock.monotonicMs() - askedAtMs > DATA_ROOT_MS && !isAway()) {
      askedAtMs = clock.monotonicMs()
      const info = await engine.info().catch(() => undefined)
      if (info !== undefined) engineDisk.at(info.dataRoot !== '' && seesAll(info) ? info.dataRoot : undefined)
    }
    engineDisk.tick()
  }
}
