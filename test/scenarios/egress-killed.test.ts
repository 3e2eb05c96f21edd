/** kill -9 of a real process of the hub in a metered call: settled once, at the reserve or at what was measured, and never for nothing [E9]. */
import { expect, test } from 'vitest'
import { KILL_POINTS, killRound } from '../support/kill-rounds.ts'

test.each(KILL_POINTS)(
  'killed %s, the account says after the next two starts what the call cost [E9]',
  async (point) => {
    expect(await killRound(point)).toBeUndefined()
  },
)
