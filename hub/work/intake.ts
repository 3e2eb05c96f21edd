/** Builds what takes work in: tasks that people ask for, and runs, whose steps the hub asks for. */
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/telemetry.ts'
import type { Guard } from '../guard/guard.ts'
import type { Catalogue } from './catalogue.ts'
import { createAsking } from './dispatch/asking.ts'
import type { TaskRow } from './dispatch/rows.ts'
import type { RuntimeGate } from './dispatch/runtime.ts'
import { createServable } from './dispatch/servable.ts'
import type { Tasks } from './dispatch/tasks.ts'
import { createHistory } from './runs/history.ts'
import { createRunReader } from './runs/run-facts.ts'
import { createRunner } from './runs/runner.ts'
import { createRuns } from './runs/runs.ts'

/** `tasksPerTree` may change while the hub runs. */
export function createIntake(
  options: { tasksPerTree: number },
  parts: {
    clock: Clock
    log: Log
    guard: Pick<Guard, 'policy' | 'store' | 'host' | 'gate' | 'modes'>
    catalogue: Catalogue
    tasks: Tasks
    runtimeGate: Pick<RuntimeGate, 'fault'>
    /** Why a queued task cannot start. */
    whyWaits: (task: TaskRow) => string
  },
) {
  const { clock, log, guard, catalogue, tasks, runtimeGate, whyWaits } = parts
  const { store, host, gate, modes } = guard
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
  const { steady } = host
  const runs = createRuns({ store, clock, steady, tasks, history: createHistory(store, steady) })
  const reader = createRunReader({ clock, steady, modes, rows: runs, tasks, registry, whyWaits })
  const runner = createRunner({ clock, log, gate, tasks, runs, reader, servable })
  return { asking, runs, runner }
}
