/** Builds what takes work in: tasks that people ask for, and what judges whether something can ever start. */
import type { Clock } from '../base/clock.ts'
import type { Guard } from '../guard/guard.ts'
import type { Catalogue } from './catalogue.ts'
import { createAsking } from './dispatch/asking.ts'
import type { RuntimeGate } from './dispatch/runtime.ts'
import { createServable } from './dispatch/servable.ts'
import type { Tasks } from './dispatch/tasks.ts'

/** `tasksPerTree` may change while the hub runs. */
export function createIntake(
  options: { tasksPerTree: number },
  parts: {
    clock: Clock
    guard: Pick<Guard, 'policy'>
    catalogue: Catalogue
    tasks: Tasks
    runtimeGate: Pick<RuntimeGate, 'fault'>
  },
) {
  const { clock, guard, catalogue, tasks, runtimeGate } = parts
  const { registry, artifacts, requireModel } = catalogue
  const servable = createServable({
    ...{ registry, requireModel, runtimeFault: runtimeGate.fault },
    grantedTtlMs(agent) {
      const rows = guard.policy.active().data?.agents ?? {}
      return Object.hasOwn(rows, agent) ? rows[agent]?.ttlMs : undefined
    },
  })
  const asking = createAsking(
    {
      get tasksPerTreeMax() {
        return options.tasksPerTree
      },
    },
    { clock, tasks, artifacts, servable },
  )
  return { asking, servable }
}
