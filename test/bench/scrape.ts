/** What one text of the metrics costs: a whole hub in this process, with a session and waiting mail for each of many agents (S0-12). */
import { createEgressMeters } from '../../hub/edge/egress/records.ts'
import { createMetrics } from '../../hub/observe/metrics.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'

export const AGENTS = 250
const TEXTS = 200
const MADE_FOR_MS = 1000

/** The median in milliseconds. */
export async function benchScrape(): Promise<number> {
  const names = Array.from({ length: AGENTS }, (_, at) => `agent-${at}`)
  const messages = { sends: { say: null }, receives: { say: null } }
  /** In a ring: each writes to the next. */
  const next = (at: number) => names[(at + 1) % AGENTS] ?? ''
  const agents = Object.fromEntries(
    names.map((name, at) => [
      name,
      { script: puppet, card: { messages, may: { message: [next(at)] }, limits: { sessions: 1 } } },
    ]),
  )
  // Places are kept for children at each level, and nobody here gives a sign of life.
  const limits = { sessions: 255, sessionsPerAgent: 1, delegationDepth: 1 }
  const config = { limits, health: { interval: '1h' } }
  await using h = await createHarness({ agents, config })
  for (const name of names) await h.submit(name)
  await h.working(AGENTS)
  for (const agent of h.started)
    await h.pumped(agent.say({ kind: 'request', to: `agent:${next(names.indexOf(agent.agent))}`, type: 'say' }), 50)
  let now = 0
  const clock = { ...h.clock, monotonicMs: () => now }
  const text = createMetrics({ version: '0', clock, guard: h.hub.guard, work: h.hub.work, egress: createEgressMeters })
  const times: number[] = []
  for (let n = 0; n < TEXTS; n += 1) {
    now += MADE_FOR_MS
    const from = performance.now()
    const { body } = await text()
    times.push(performance.now() - from)
    const shown = body.match(/^hub_mailbox_depth\{.* 1$/gm)?.length ?? 0
    if (shown !== AGENTS) throw new Error(`${shown} mailboxes with mail are shown, not ${AGENTS}`)
  }
  return times.sort((a, b) => a - b)[TEXTS >> 1] ?? Number.NaN
}
