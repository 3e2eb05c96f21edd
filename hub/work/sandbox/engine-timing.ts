/** An engine whose calls are timed, whoever makes them (S0-12). */
import type { Clock } from '../../base/clock.ts'
import type { Spread } from '../../base/meters.ts'
import type { Engine } from './engine.ts'

/** What is timed: each verb that is one question and its answer. Following events and waiting for an exit last as long as what they follow. */
export const ENGINE_VERBS = [
  ...(['ping', 'info', 'inspectImage', 'create', 'inspect', 'start', 'stop'] as const),
  ...(['kill', 'pause', 'top', 'remove', 'list', 'listOthers', 'logs'] as const),
] as const satisfies readonly (keyof Engine)[]
export type EngineVerb = (typeof ENGINE_VERBS)[number]

/** Also a call that fails counts, with the time until it did. */
export function timeEngine(
  engine: Engine,
  { clock, seconds }: { clock: Clock; seconds: Readonly<Record<EngineVerb, Spread>> },
): Engine {
  type Call = (...given: unknown[]) => Promise<unknown>
  const timed = (verb: EngineVerb): Call =>
    async function call(...given) {
      const from = clock.monotonicMs()
      try {
        return await (engine[verb] as Call)(...given)
      } finally {
        seconds[verb].add((clock.monotonicMs() - from) / 1000)
      }
    }
  return {
    disagreement: () => engine.disagreement(),
    waitNextExit: (id) => engine.waitNextExit(id),
    events: (...given) => engine.events(...given),
    ...(Object.fromEntries(ENGINE_VERBS.map((verb) => [verb, timed(verb)])) as Pick<Engine, EngineVerb>),
  }
}
