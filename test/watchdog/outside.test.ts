/** When the outside is pinged, and what is said of the watchdog's own files where they fail (T98). */
import { afterEach, expect, test } from 'vitest'
import { failingFindings } from '../../watchdog/tell/alerts.ts'
import { watchScene } from '../support/watch-scene.ts'

const homes: { remove(): void }[] = []
afterEach(() => {
  for (const home of homes.splice(0)) home.remove()
})

test('a round that was judged and is on disk pings; one whose state the disk did not take, or that broke off, does not and says so [watch-12, watch-56]', async () => {
  const at = watchScene()
  homes.push(at)
  const dies = { now: false }
  const { watch, file } = at.start(dies)
  const round = async () => {
    at.clock.move(30_000)
    await watch.round()
    return at.judged.well
  }
  expect([await round(), await round()]).toEqual([1, 2])
  at.disk.full = true
  expect([await round(), await round()]).toEqual([2, 2])
  expect(at.told().at(-1)).toBe('raised state_failing 1')
  at.disk.full = false
  expect(await round()).toBe(3)
  dies.now = true
  expect(await round(), 'it broke off').toBe(3)
  dies.now = false
  expect([await round(), at.told().at(-1)]).toEqual([4, 'resolved state_failing 1'])
  file.close()
})

test('an outbox that cannot be written, or was damaged, is a finding [watch-16]', () => {
  const found = (over: object) =>
    failingFindings([], { outboxFault: null, outboxDamage: null, contact: 'Carl', noticesWait: false, ...over })
  expect(found({})).toEqual([])
  expect(found({ outboxFault: 'ENOSPC' })).toEqual([['outbox_failing', expect.stringContaining('ENOSPC')]])
  expect(found({ outboxDamage: '2 places were damaged' })).toEqual([
    ['outbox_damaged', expect.stringContaining('2 places were damaged')],
  ])
})
