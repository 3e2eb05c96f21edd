/** What a message costs at the gate while nobody keeps traces, against a gate that was never handed a tracer: alternating runs (S0-11). */
import { createSystemClock } from '../../hub/base/clock.ts'
import { silentLog } from '../../hub/base/telemetry.ts'
import type { Principal } from '../../hub/guard/principal.ts'
import { openTracing } from '../../hub/observe/tracing.ts'
import { costMs } from '../support/fastest.ts'
import type { GuardHome } from '../support/guard-home.ts'

const ROUNDS = 30
const MESSAGES = 4096

const sender: Principal = Object.freeze({
  ...{ kind: 'agent', id: 'survey-lead', agent: 'survey-lead', session: 's1', generation: 1 },
  authority: Object.freeze({
    ...{ capabilities: [], message: ['survey-reader'], delegate: [], topics: [], secrets: [], egress: [] },
    ...{ ttlMs: 1000, depthLeft: 1, tasksLeft: 1 },
  }),
})

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN

/** Processor time of one message in microseconds, both ways. */
export async function benchTracingOff(home: GuardHome): Promise<{ offUs: number; noneUs: number }> {
  const parts = { clock: createSystemClock(), instance: 'bench', version: '0', log: silentLog() }
  const tracer = (await openTracing({ sample: 1 }, parts))?.tracer
  const ways = [
    { gate: home.gateWith({}), times: [] as number[] },
    { gate: home.gateWith({ tracer }), times: [] as number[] },
  ]
  const facts = { kind: 'request', type: 'bench.work', to: { agent: 'survey-reader' }, relation: 'none' }
  for (let round = 0; round < ROUNDS; round += 1)
    for (const { gate, times } of round % 2 === 0 ? ways : [...ways].reverse()) {
      const spent = await costMs(() =>
        gate.group(() => {
          for (let n = 0; n < MESSAGES; n += 1)
            gate.admit(
              { principal: sender, operation: 'message.send', resource: 'agent:survey-reader', facts },
              () => undefined,
            )
        }),
      )
      times.push((spent * 1000) / MESSAGES)
    }
  const [none, off] = ways.map(({ times }) => median(times))
  return { offUs: off ?? Number.NaN, noneUs: none ?? Number.NaN }
}
