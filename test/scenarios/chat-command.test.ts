/** A chat by the commands of its operator, on a whole hub (docs/chat.md). */
import { expect, test } from 'vitest'
import { hub } from '../support/command-here.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'

test('S4-5: a chat is spoken to, waited for, interrupted, read and closed by its task', async () => {
  await using h = await createHarness({
    agents: { solo: { script: puppet, card: { mode: 'chat' } } },
    startWallMs: Date.now(),
  })
  const [solo] = await h.bring('solo')
  const task = solo.joined?.task.task ?? ''
  const waiting = hub(h, 'session', 'say', task, 'one', '--wait')
  const mail = await h.pumped(solo.next(({ type }) => type === 'turn.prompt'))
  const { turn } = mail.body as { turn: string }
  await h.pumped(solo.say({ kind: 'turn', body: { turn, state: 'running' } }))
  await h.pumped(solo.say({ kind: 'frame', body: { turn, text: 'I say one\n' } }))
  await h.pumped(solo.say({ kind: 'turn', body: { turn, state: 'ended', stopReason: 'end_turn' } }))
  expect(await waiting).toMatchObject({ code: 0, out: 'I say one\n' })
  const reads = () => h.audit().filter(({ action }) => action === 'session.turns_read').length
  expect(reads()).toBe(1)

  await hub(h, 'session', 'say', solo.session.slice(-6), 'two')
  const again = await hub(h, 'session', 'say', task, 'three', '--interrupt')
  expect([again.out, again.err]).toEqual([`${solo.session} turn 3 waiting\n`, 'turn 2 cancelled\n'])
  const acts = h
    .audit()
    .flatMap(({ action, outcome }) =>
      /^session\.(prompted|interrupted)$/.test(action) ? [`${action} ${outcome}`] : [],
    )
  expect(acts).toEqual(['session.prompted ok', 'session.prompted ok', 'session.interrupted ok', 'session.prompted ok'])

  expect((await hub(h, 'task', 'show', task)).out).toMatch(
    /^1 +done +one +I say one\n2 +cancelled +two *\n3 +waiting +three$/m,
  )
  expect(reads()).toBe(1)
  expect((await hub(h, 'session', 'turns', task, '1')).out).toMatch(/> one\n\nI say one\n/)
  expect(reads()).toBe(2)

  expect((await hub(h, 'session', 'close', task)).out).toBe(`${solo.session} told that nothing more comes\n`)
  const late = await hub(h, 'session', 'say', task, 'four')
  expect([late.code, late.err]).toEqual([3, expect.stringMatching(/was closed\nnext: `hub session turns /)])
})
