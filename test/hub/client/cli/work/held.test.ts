/** `hub task release --all`, `hub task cancel --held`: one word for all that wait for it. */
import { expect, test } from 'vitest'
import { commandHome } from '../../../../support/command-home.ts'
import { refusal, taskView } from '../../../../support/fake-hub.ts'

const idOf = (at: number) => `018f0000-0000-7000-8000-00000000000${at}`

const at = commandHome(() => {
  const held = (at: number, isHeld = true) => taskView({ id: idOf(at), state: 'queued', held: isHeld })
  at.hub.on('GET /v1/tasks', ({ query }) => ({
    body:
      query.get('cursor') === null
        ? { tasks: query.get('held') === 'true' ? [held(5)] : [held(5), held(4, false)], next: 'c2' }
        : { tasks: [held(3), held(2)], next: null },
  }))
  for (const verb of ['release', 'cancel'])
    at.hub.on(`POST /v1/tasks/:id/${verb}`, ({ path }) =>
      path.includes(idOf(3)) ? refusal('already_resolved', 'it was moved meanwhile') : { body: {} },
    )
})

test.each([
  ['release', '--all'],
  ['cancel', '--held'],
])(
  'task %s %s moves every held task of every page, oldest first, passes over what was moved meanwhile, and asks before [away-17]',
  async (verb, flag) => {
    expect((await at.run(['task', verb, flag])).code).toBe(2)
    const done = await at.run(['task', verb, flag, '--yes'])
    expect(done.code).toBe(0)
    const moved = at.posted()
    expect(moved).toEqual([2, 3, 5].map((at) => `/v1/tasks/${idOf(at)}/${verb}`))
    expect(done.stdout.trim().split('\n')).toHaveLength(2)
  },
)

test.each([[[]], [[idOf(2), '--all']]])('task release %j is no order: one, or all', async (words) => {
  const { code, stderr } = await at.run(['task', 'release', ...words])
  expect([code, at.hub.asked]).toEqual([2, []])
  expect(stderr).toContain('--all')
})
