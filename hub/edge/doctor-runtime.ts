/** Whether sessions may start under the configured runtime (sandbox.md section 2). */
import type { RuntimeGate } from '../work/dispatch/runtime.ts'
import type { Check } from './doctor.ts'

export const createRuntimeCheck = (runtime: Pick<RuntimeGate, 'fault' | 'text'>) => async (): Promise<Check[]> => {
  const fault = runtime.fault()
  return [
    {
      name: 'runtime',
      ok: fault === undefined,
      detail: fault ?? runtime.text(),
      mend: 'mend the engine, or set engine.runtime: runc',
    },
  ]
}
