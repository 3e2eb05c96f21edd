/** What is remembered of a session ends with it (E20). */
import { expect, it } from 'vitest'
import { HubError } from '../../../../hub/base/errors.ts'
import { createStanding } from '../../../../hub/edge/egress/standing.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'

it('a request that ends after its session leaves nothing behind [E20]', () => {
  const standing = createStanding(createFakeClock(), { most: () => 3, before: () => ({ inARow: 0, agoMs: 0 }) })
  const refusal = new HubError('policy_denied', 'no')
  const useUp = () => {
    for (let n = 0; n < 3; n += 1) {
      standing.answered('s', 'model', 401)
      standing.left('s')
    }
    standing.refused('s', 'GET /', refusal)
  }
  standing.begin('s')
  useUp()
  expect(standing.whyNot('s', 'model')).toBeDefined()
  expect(standing.refusedBefore('s', 'GET /')).toBe(refusal)
  standing.forget('s')
  useUp()
  expect(standing.whyNot('s', 'model')).toBeUndefined()
  expect(standing.refusedBefore('s', 'GET /')).toBeUndefined()
})

it('a session that left three answers in a row stays stopped, whatever still ends well; after two, one that ends well begins anew [E9]', () => {
  const standing = createStanding(createFakeClock(), { most: () => 3, before: () => ({ inARow: 0, agoMs: 0 }) })
  standing.begin('s')
  expect([standing.left('s'), standing.left('s')]).toEqual([false, false])
  standing.stayed('s')
  expect([standing.left('s'), standing.left('s'), standing.left('s')]).toEqual([false, false, true])
  standing.stayed('s')
  expect(standing.whyNot('s', 'model')?.why).toMatch(/3 answers in a row were left/)
})
