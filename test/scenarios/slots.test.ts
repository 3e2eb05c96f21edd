import { expect, test } from 'vitest'
import { OPERATOR } from '../../hub/guard/principal.ts'
import type { SubmitRequest } from '../../hub/protocol/submit.ts'
import { createHarness, forever, type Harness, worker } from '../support/hub-harness.ts'

/** Delegates `fan` children to the next level and waits for all of them; begins when it is told to. */
const lead = (child: string, fan: number, begin: Promise<void> = Promise.resolve()) =>
  worker(async (agent) => {
    await begin
    const ids = []
    for (let nth = 0; nth < fan; nth += 1) ids.push(await agent.delegate({ agent: child }))
    let leaves = 0
    for (const id of ids) leaves += Number((await agent.outcome(id)).value)
    return leaves
  })

const mostAtOnce = (h: Harness) => {
  let now = 0
  let most = 0
  for (const call of h.engine.calls) {
    if (call.startsWith('create ')) now += 1
    if (call.startsWith('remove ')) now -= 1
    most = Math.max(most, now)
  }
  return most
}

test('S0-16: twelve leads with two levels of children under a cap of twelve all finish, with never more than twelve sessions', async () => {
  // All leads that may start have started before the first child is asked for: the worst order there is.
  let begin: () => void = () => undefined
  const begun = new Promise<void>((resolve) => {
    begin = resolve
  })
  await using h = await createHarness({
    agents: {
      lead: { script: lead('middle', 1, begun), card: { may: { delegate: ['middle', 'leaf'] } } },
      middle: { script: lead('leaf', 2), card: { may: { delegate: ['leaf'] } } },
      leaf: { script: worker(() => 1) },
    },
    // The cap is the shipped default (S0-16); three of its places are for children.
    config: { limits: { delegationDepth: 3 } },
  })
  const ids: string[] = []
  let most = 0
  h.engine.onStart = ((start) => (container) => {
    most = Math.max(most, h.hub.work.tasks.sessionsOpen().length)
    return start(container)
  })(h.engine.onStart)
  for (let nth = 0; nth < 12; nth += 1) ids.push(await h.submit('lead'))
  await h.working(9)
  await h.clock.advance(3000)
  expect(h.started).toHaveLength(9)
  begin()
  await h.until(() => ids.every((id) => h.task(id).state === 'succeeded'), 'all twelve leads succeed')
  expect(ids.map((id) => h.task(id).outcome?.value)).toEqual(ids.map(() => 2))
  expect(h.started.length).toBe(12 + 12 + 24)
  expect(most).toBeLessThanOrEqual(12)
  expect(most).toBeGreaterThan(9)
  expect(mostAtOnce(h)).toBeLessThanOrEqual(12)
  await h.quiet()
})

test('a chain as deep as the limit finishes when the cap is the smallest that is allowed', async () => {
  const names = ['d0', 'd1', 'd2', 'd3']
  await using h = await createHarness({
    agents: Object.fromEntries(
      names.map((name, depth) => {
        const below = names.slice(depth + 1)
        const [child] = below
        return [
          name,
          {
            script: child === undefined ? worker(() => 1) : lead(child, 1),
            card: { may: { delegate: below }, limits: { sessions: 1 } },
          },
        ]
      }),
    ),
    config: { limits: { sessions: 4, delegationDepth: 3 } },
  })
  const ids = [await h.submit('d0'), await h.submit('d0'), await h.submit('d0')]
  await h.ended(...ids)
  expect(ids.map((id) => h.task(id).state)).toEqual(['succeeded', 'succeeded', 'succeeded'])
})

test('S0-16: of twenty tasks never more than twelve run, the others wait in the order of their priority and are all done', async () => {
  let most = 0
  await using h = await createHarness({
    agents: {
      slow: {
        script: worker(async () => {
          most = Math.max(most, h.engine.containers.size)
          await h.clock.sleep(20_000)
          most = Math.max(most, h.engine.containers.size)
        }),
      },
    },
  })
  const ids: string[] = []
  // The less urgent first, so that the order of arrival is not the order of start.
  for (let at = 0; at < 20; at += 1) ids.push(await h.submit('slow', { at }, { priority: at < 10 ? 1 : 8 }))
  await h.ended(...ids)
  expect(ids.map((id) => h.task(id).state)).toEqual(Array(20).fill('succeeded'))
  expect(most).toBeLessThanOrEqual(12)
  // As they were started: who joins first is a matter of the machine.
  const started = h.events('hub.task.running.v1').map(({ data }) => ids.indexOf(String(data.task)))
  const waitedFor = started.slice(12)
  expect(waitedFor).toHaveLength(8)
  // What had to wait went by priority: the urgent ones before the others that waited with them.
  const firstPatient = waitedFor.findIndex((at) => at < 10)
  expect(waitedFor.slice(firstPatient).every((at) => at < 10)).toBe(true)
})

test('fault D11: three hundred queued tasks of a busy agent hide no task of another, nor one that names no agent', async () => {
  await using h = await createHarness({
    agents: {
      busy: { script: worker(forever), card: { limits: { sessions: 1 }, capabilities: ['dig'] } },
      echo: { script: worker(() => 'done'), card: { capabilities: ['say'] } },
    },
  })
  const { gate } = h.hub.guard
  const wish = { needs: [], params: {}, priority: 9, hold: false }
  const { asking } = h.hub.work
  const put = (more: Partial<SubmitRequest>) => {
    const request = { ...wish, ...more }
    const facts = asking.submitFacts(OPERATOR, request)
    return gate.admit({ principal: OPERATOR, operation: 'task.submit', resource: 'agent:busy', facts }, (grant) =>
      asking.submit(grant, request, undefined),
    )
  }
  for (let nth = 0; nth < 300; nth += 1) put(nth % 2 === 0 ? { agent: 'busy' } : { needs: ['dig'] })
  // The same wish in other words is no queue of its own.
  for (let nth = 0; nth < 40; nth += 1) expect(put({ needs: Array(1 + (nth % 16)).fill('dig') }).needs).toEqual(['dig'])
  const ids = [await h.submit('echo', {}, { priority: 0 })]
  const { body } = await h.operator('POST', '/v1/tasks', { needs: ['say'], priority: 0 })
  ids.push((body.task as { id: string }).id)
  await h.ended(...ids)
  expect(h.hub.work.tasks.countByState()).toEqual({ queued: 339, running: 1 })
})
