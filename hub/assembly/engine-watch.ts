/**
 * An engine that answers, and with which no API version can be agreed (fault A3), say after its upgrade: the hub can neither start nor stop
 * anything then, and waiting mends nothing. Told after two rounds in a row, over with the first that is understood.
 */
import type { Alerts } from '../guard/alerts/alerts.ts'
import type { Engine } from '../work/sandbox/engine.ts'

const ROUNDS_MIN = 2

/** Answers what is to be called after each look at the engine. */
export function createEngineWatch(
  { instance }: { instance: string },
  parts: { engine: Pick<Engine, 'disagreement'>; alerts: Pick<Alerts, 'raise' | 'resolve'> },
): () => void {
  let rounds = 0
  return () => {
    const why = parts.engine.disagreement()
    rounds = why === undefined ? 0 : rounds + 1
    if (why === undefined)
      parts.alerts.resolve('engine_unsupported', 'Engine and hub speak the same API version again.')
    else if (rounds >= ROUNDS_MIN)
      parts.alerts.raise(
        'engine_unsupported',
        'critical',
        `The hub can neither start nor stop anything: ${why}. The watchdog and \`hub shutdown --emergency\` still stop. By hand: docker rm -f $(docker ps -aq --filter label=hub.instance=${instance})`,
      )
  }
}
