/**
 * Looks at the engine: lists our containers, by which its health is judged (guard/conditions/engine-health.ts), and checks that it speaks
 * an API version that the hub knows. With an engine that speaks none (fault A3), for example after its upgrade, the hub can neither start
 * nor stop anything, and waiting does not help. This is reported after two rounds in a row, and is over with the first that is understood.
 */
import { toHubError } from '../../base/errors.ts'
import type { Alerts } from '../../guard/alerts/alerts.ts'
import type { EngineWatch } from '../../guard/conditions/engine-health.ts'
import type { ContainerFact, Engine } from './engine.ts'

/** So a frozen engine is noticed after 5 s between two looks, twice this time, and the pause before a second look (fault A11). */
const LOOK_MS = 5000
const ROUNDS_MIN = 2

export interface EngineLooks {
  /** Our containers; undefined if the engine did not answer. */
  list(): Promise<ContainerFact[] | undefined>
  /** Whether the engine answers. */
  answers(): Promise<boolean>
  /** Call after each round of looks: raises or ends `engine_unsupported`. */
  judgeAgreement(): void
}

export function createEngineLooks(
  { instance }: { instance: string },
  parts: {
    engine: Pick<Engine, 'list' | 'disagreement'>
    engineWatch: EngineWatch
    alerts: Pick<Alerts, 'raise' | 'resolve'>
  },
): EngineLooks {
  const { engine, engineWatch, alerts } = parts
  let rounds = 0

  async function list(): Promise<ContainerFact[] | undefined> {
    try {
      const found = await engine.list(instance, LOOK_MS)
      engineWatch.good()
      return found
    } catch (thrown) {
      engineWatch.bad(toHubError(thrown).message)
      return undefined
    }
  }
  return {
    list,
    answers: async () => (await list()) !== undefined,
    judgeAgreement() {
      const why = engine.disagreement()
      rounds = why === undefined ? 0 : rounds + 1
      if (why === undefined) alerts.resolve('engine_unsupported', 'Engine and hub speak the same API version again.')
      else if (rounds >= ROUNDS_MIN)
        alerts.raise(
          'engine_unsupported',
          'critical',
          `The hub can neither start nor stop anything: ${why}. The watchdog and \`hub shutdown --emergency\` can still stop everything. By hand: docker rm -f $(docker ps -aq --filter label=hub.instance=${instance})`,
        )
    },
  }
}
