import fc from 'fast-check'
import { expect, it } from 'vitest'
import { HubError } from '../../../../hub/base/errors.ts'
import {
  BOX_BYTES_MAX,
  createMailboxes,
  MAIL_BYTES_MAX,
  type Place,
  SENDER_BYTES_MAX,
  senderBytesMax,
} from '../../../../hub/work/messages/mailboxes.ts'

type Step = { do: 'put'; body: number } | { do: 'take' } | { do: 'pass'; back: number }
const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('put' as const), body: fc.nat() }),
    fc.record({ do: fc.constant('take' as const) }),
    fc.record({ do: fc.constant('pass' as const), back: fc.nat({ max: 3 }) }),
  ),
  { maxLength: 200 },
)

it('a mailbox keeps order, loses nothing that was not passed, and never holds more than its limit (T66)', () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 20 }), (script: Step[], limit) => {
      const boxes = createMailboxes({ epoch: 3, limit })
      boxes.open('s')
      const model: { number: number; body: number }[] = []
      let next = 3 * 2 ** 32 + 1
      let held = 0
      for (const step of script) {
        if (step.do === 'put') {
          const put = () =>
            boxes.reserve('s', 'a', { kind: 'message', id: 'x', sentAtMs: 0, body: { n: step.body } }).put()
          if (model.length < limit) {
            put()
            model.push({ number: next, body: step.body })
            next += 1
          } else {
            expect(put).toThrow(HubError)
          }
        } else {
          const after = step.do === 'take' ? held : held - step.back
          const got = boxes.take('s', after)
          while (model[0] !== undefined && model[0].number <= after) model.shift()
          expect(got.map(({ text }) => JSON.parse(text)).map(({ number, body }) => ({ number, body: body.n }))).toEqual(
            model.slice(0, 64),
          )
          held = got.at(-1)?.number ?? held
        }
        expect(boxes.depth('s')).toBe(model.length)
      }
    }),
  )
})

const mail = (chars: number, letter = 'x') => ({
  kind: 'message' as const,
  id: 'x',
  sentAtMs: 0,
  body: { text: letter.repeat(chars) },
})
const KIB_60 = 60 * 1024
/** Sends until it is refused; answers how many went and what the refusal said. */
function fill(boxes: ReturnType<typeof createMailboxes>, to: string, from: string): { sent: number; said: string } {
  for (let sent = 0; ; sent += 1) {
    try {
      boxes.reserve(to, from, mail(KIB_60)).put()
    } catch (thrown) {
      expect((thrown as HubError).code).toBe('mailbox_full')
      return { sent, said: (thrown as HubError).message }
    }
  }
}

it('fault F6: waiting mail is bounded in bytes of one sender, of one mailbox and of all, and each refusal says which', () => {
  const boxes = createMailboxes({ epoch: 1, sessions: 256 })
  const wide = createMailboxes({ epoch: 1 })
  for (const name of ['a', 'b', 'c']) wide.open(name)
  expect(fill(wide, 'a', 'one')).toMatchObject({ said: expect.stringContaining('your mail') })
  expect(wide.bytes()).toBeLessThanOrEqual(SENDER_BYTES_MAX)
  // Another mailbox is no way round it, and other senders feel nothing.
  expect(fill(wide, 'b', 'one').sent).toBe(0)
  expect(fill(wide, 'a', 'two').sent).toBeGreaterThan(60)
  expect(fill(wide, 'a', 'three').said).toContain('the unread mail of session a')
  expect(wide.bytes()).toBeLessThanOrEqual(BOX_BYTES_MAX)
  // The hub's own words come all the same.
  wide.put('a', mail(KIB_60))

  const names = Array.from({ length: 200 }, (_, nth) => `s${nth}`)
  for (const name of names) boxes.open(name)
  const said = names.map((name, nth) => fill(boxes, name, `from-${nth}`).said)
  expect(said.at(-1)).toContain('all mail')
  expect(boxes.bytes()).toBeLessThanOrEqual(MAIL_BYTES_MAX)
  for (const name of names) boxes.close(name)
  expect(boxes.bytes()).toBe(0)
})

it('fault F6: those who may work at once cannot take the room of another sender', () => {
  for (const sessions of [1, 12, 24, 64])
    expect(senderBytesMax(sessions) * sessions).toBeLessThanOrEqual(MAIL_BYTES_MAX)
})

it('fault F6: a text with wide characters counts two bytes for each, and bytes come back whichever way mail goes', () => {
  const boxes = createMailboxes({ epoch: 1 })
  boxes.open('s')
  boxes.reserve('s', 'a', mail(1000)).put()
  const plain = boxes.bytes()
  boxes.reserve('s', 'a', mail(1000, '\u2603')).put()
  expect(boxes.bytes() - plain).toBeGreaterThan(2000)
  const taken = boxes.take('s', 0)
  boxes.pass('s', taken[0]?.number ?? 0)
  expect(boxes.bytes()).toBeGreaterThan(2000)
  const places: Place[] = [1, 2, 3].map(() => boxes.reserve('s', 'a', mail(1000)))
  places[0]?.letGo()
  boxes.close('s')
  // Kept before it closed.
  places[1]?.put()
  places[2]?.letGo()
  expect(boxes.bytes()).toBe(0)
})
