/** Whether sessions may start on this engine (sandbox.md section 2): a canary session is run now, and what it finds has a row each. */
import type { RuntimeGate } from '../work/dispatch/runtime.ts'
import { holdersOf } from '../work/sandbox/host-accounts.ts'
import { rangeText } from '../work/sandbox/users.ts'
import type { Check } from './doctor.ts'

const WAY = 'create, compare, start, join, out of memory, stop, remove'

/** Whether the users of sessions belong to nobody on this machine (fault F14). */
export const createUsersCheck = (firstUser: number) => async (): Promise<Check[]> => {
  const holders = holdersOf(firstUser)
  return [
    {
      name: 'session users',
      ok: holders.length === 0,
      detail:
        holders.length === 0
          ? `${rangeText(firstUser)}, one for each session`
          : `held by ${holders.join(', ')}`.slice(0, 500),
      mend: `give these accounts other ids, or set engine.firstUser in hub.yaml, then node scripts/build-images.ts and hub restart`,
    },
  ]
}

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
