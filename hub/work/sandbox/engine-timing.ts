/** An engine whose calls are timed, whoever makes them (S0-12). */
import type { Clock } from '../../base/clock.ts'
import type { Example, Spread } from '../../base/meters.ts'
import type { Engine } from './engine.ts'
import type { CreateBody } from './profile.ts'

/** What is timed: each verb that is one question and its answer. Following events and waiting for an exit last as long as what they follow. */
export const ENGINE_VERBS = [
  ...(['ping', 'info', 'inspectImage', 'create', 'inspect', 'start', 'stop'] as const),
  ...(['kill', 'pause', 'top', 'remove', 'list', 'listOthers', 'logs'] as const),
] as const satisfies readonly (keyof Engine)[]
export type EngineVerb = (typeof ENGINE_VERBS)[number]

/** Containers whose task is remembered. A time of one that is forgotten is found by nothing, and counts. */
const KNOWN_MAX = 1024

/** Also a call that fails counts, with the time until it did. `exampleOf`: by what a time of this task can be found, if it can be. */
export function timeEngine(
  engine: Engine,
  parts: {
    clock: Clock
    seconds: Readonly<Record<EngineVerb, Spread>>
    exampleOf: (task: string) => Example | undefined
  },
): Engine {
  const { clock, seconds, exampleOf } = parts
  /** By name and by id. */
  const tasks = new Map<string, string>()
  type Call = (...given: unknown[]) => Promise<unknown>
  const timed = (verb: EngineVerb): Call =>
    async function call(...given) {
      const from = clock.monotonicMs()
      try {
        return await (engine[verb] as Call)(...given)
      } finally {
        const task = tasks.get(String(given[0]))
        seconds[verb].add((clock.monotonicMs() - from) / 1000, task === undefined ? undefined : exampleOf(task))
      }
    }
  const verbs = Object.fromEntries(ENGINE_VERBS.map((verb) => [verb, timed(verb)])) as Pick<Engine, EngineVerb>
  return {
    ...verbs,
    disagreement: () => engine.disagreement(),
    waitNextExit: (id) => engine.waitNextExit(id),
    events: (...given) => engine.events(...given),
    async create(name: string, body: CreateBody) {
      const task = body.Labels['hub.task']
      if (tasks.size >= KNOWN_MAX) tasks.clear()
      if (task !== undefined) tasks.set(name, task)
      const made = await verbs.create(name, body)
      if (task !== undefined) tasks.set(made.id, task)
      return made
    },
  }
}
