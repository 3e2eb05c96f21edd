import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createEngineWatch,
  type EngineHealth,
  judgeLook,
  UNSEEN,
} from '../../../../hub/guard/conditions/engine-health.ts'

const following = (looks: string, from: EngineHealth = UNSEEN) =>
  [...looks].reduce((health, look) => judgeLook(health, look === '+'), from)

describe('fault A11: the health of the engine by looks', () => {
  it.each([
    ['+', false],
    ['-', true],
    ['+-', false],
    ['+--', true],
    ['+-+-+-+-+-', false],
    ['+--+', true],
    ['+--+-+-+-', true],
    ['+--++', false],
    ['-+', true],
    ['-++', false],
  ])('after %s it is away: %s', (looks, isAway) => expect(following(looks).isAway).toBe(isAway))

  it('changes only after two looks in a row that say the other [cond-9]', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 40 }), (looks) => {
        let health = following('+')
        for (const [at, look] of looks.entries()) {
          const next = judgeLook(health, look)
          if (next.isAway !== health.isAway) {
            expect([look, looks[at - 1] ?? true]).toEqual([!next.isAway, !next.isAway])
          }
          health = next
        }
      }),
    )
  })

  it('raises and clears its condition, and says when another look is worth it', () => {
    const said: string[] = []
    const watch = createEngineWatch({
      modes: { raise: (name, why) => void said.push(`${name} ${why}`), clear: (name) => void said.push(`end ${name}`) },
    })
    watch.good()
    watch.bad('late')
    expect([watch.isUnsure(), watch.isAway(), said]).toEqual([true, false, ['end engine_unavailable']])
    watch.bad('late again')
    expect([watch.isUnsure(), watch.isAway(), said.at(-1)]).toEqual([false, true, 'engine_unavailable late again'])
    watch.good()
    expect([watch.isUnsure(), watch.isAway()]).toEqual([true, true])
    watch.good()
    expect([watch.isAway(), said.at(-1)]).toEqual([false, 'end engine_unavailable'])
  })
})
