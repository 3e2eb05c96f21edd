import fc from 'fast-check'
import { expect, it } from 'vitest'
import { HubError } from '../../../../hub/base/errors.ts'
import { createMailboxes } from '../../../../hub/work/messages/mailboxes.ts'

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
          const put = () => {
            boxes.reserve('s')
            boxes.putReserved('s', { kind: 'message', id: 'x', sentAtMs: 0, body: { n: step.body } })
          }
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
          expect(got.map(({ number, body }) => ({ number, body: body.n }))).toEqual(model.slice(0, 64))
          held = got.at(-1)?.number ?? held
        }
        expect(boxes.depth('s')).toBe(model.length)
      }
    }),
  )
})
