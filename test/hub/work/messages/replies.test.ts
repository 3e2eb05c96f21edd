import { expect, it } from 'vitest'
import { createReplies } from '../../../../hub/work/messages/replies.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'

it('a reply that came while the hub stood still is in time, and one that came later is not (T75)', async () => {
  const clock = createFakeClock()
  let heldBackMs = 0
  const replies = createReplies(clock, () => heldBackMs)
  const ask = (id: string) => replies.expect({ id, requester: 'a', responder: 'b', timeoutMs: 10_000 })
  for (const id of ['one', 'two', 'three']) ask(id)
  await clock.advance(35_000)
  heldBackMs = 30_000
  expect(replies.expire()).toBe(0)
  expect(replies.settle('one', 'b').requester).toBe('a')
  heldBackMs = 0
  expect(() => replies.settle('two', 'b')).toThrow('no request with that id')
  expect(replies.expire()).toBe(1)
})
