/** Whether sessions may start on this engine (sandbox.md section 2): a canary session is run now, and what it finds has a row each. */
import type { RuntimeGate } from '../work/dispatch/runtime.ts'
import type { Check } from './doctor.ts'

const WAY = 'create, compare, start, join, out of memory, stop, remove'

export const createRuntimeCheck =
  (runtime: Pick<RuntimeGate, 'fault' | 'text' | 'prove'>) => async (): Promise<Check[]> => {
    const { state, report } = await runtime.prove()
    const fault = runtime.fault()
    const rows: Check[] = [
      {
        name: 'runtime',
        ok: fault === undefined,
        detail: fault ?? runtime.text(),
        mend: 'mend the engine, or set engine.runtime: runc',
      },
    ]
    if (state === 'waiting' || report === undefined)
      return [
        ...rows,
        {
          name: 'canary',
          ok: null,
          detail:
            'not tried yet: it needs a hub in mode normal, an engine that answers and an agent that may be started, with an image',
          mend: 'hub status, then hub doctor',
        },
      ]
    const { tookMs, findings } = report
    const found = findings.map(({ id, words, mend, blocks }): Check => {
      return { name: `engine ${id}`, ok: blocks ? false : null, detail: words, mend }
    })
    const detail =
      state === 'passed' ? `passed in ${tookMs} ms: ${WAY}` : `failed after ${tookMs} ms; nothing is dispatched`
    return [...rows, { name: 'canary', ok: state === 'passed', detail, mend: 'mend the rows below' }, ...found]
  }
