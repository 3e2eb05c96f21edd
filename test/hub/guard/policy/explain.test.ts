/** What would change an answer is found by trying: each try makes rules of its own, and a hub of hundreds of agents has as many. */
import { expect, test } from 'vitest'
import type { ActivePolicy } from '../../../../hub/guard/policy/bundle.ts'
import { type PolicyData, policyDataShape } from '../../../../hub/guard/policy/data.ts'
import type { Engine } from '../../../../hub/guard/policy/engine.ts'
import { explain } from '../../../../hub/guard/policy/explain.ts'

const AGENTS = 300
const row = { submit: true, ttlMs: 60_000 }
const data = policyDataShape.parse({
  agents: Object.fromEntries(Array.from({ length: AGENTS }, (_, at) => [`agent-${at}`, row])),
}) as PolicyData
const question = { operation: 'task.submit', resource: { agent: null, needs: ['reading'] } }

/** Rules that let the task through once an agent of this many has what it needs. */
function rules(allows: (on: PolicyData) => boolean) {
  const steps: string[] = []
  const engineOn = (on: PolicyData) =>
    ({ evaluate: () => ({ effect: allows(on) ? 'allow' : 'deny', reason: 'r', rule: 'tasks' }) }) as unknown as Engine
  const active = {
    revision: 'r-1',
    engine: engineOn(data),
    data,
    tryWith(on: PolicyData) {
      steps.push('try')
      return engineOn(on)
    },
  } as unknown as ActivePolicy
  const turn = async () => void steps.push('turn')
  return { active, steps, turn }
}
const has = (on: PolicyData, name: string) => on.agents[name]?.capabilities.includes('reading') === true

test('others have their turn before each try, however many agents there are', async () => {
  const { active, steps, turn } = rules((on) => has(on, 'agent-299'))
  const { changes } = await explain(active, question, turn)
  expect(changes).toEqual([
    { change: 'add reading to agents.agent-299.capabilities in policy/data.json', effect: 'allow' },
  ])
  expect(steps.filter((step) => step === 'try')).toHaveLength(AGENTS)
  expect(steps.every((step, at) => step === 'turn' || steps[at - 1] === 'turn')).toBe(true)
})

test('it tries no more once it has found as many as it shows', async () => {
  const { active, steps, turn } = rules((on) => on !== data)
  const { changes } = await explain(active, question, turn)
  expect(changes).toHaveLength(20)
  expect(steps.filter((step) => step === 'try')).toHaveLength(20)
})
