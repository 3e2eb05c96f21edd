import { expect, test } from 'vitest'
import { createNotifier } from '../../watchdog/base/notify.ts'
import { createSteerableClock } from '../support/watchdog-home.ts'

test('the service manager hears ready, alive at most every 20 s and never two at a time, and stopping; a failure is counted [watch-20]', () => {
  const clock = createSteerableClock()
  const said: string[] = []
  const open: ((failed: boolean) => void)[] = []
  const notifier = createNotifier({ enabled: true }, clock, (words, done) => {
    said.push(words.join(' '))
    open.push(done)
  })
  notifier.ready()
  notifier.alive()
  expect(said, 'the first is still being said').toEqual(['READY=1'])
  open.shift()?.(false)
  notifier.alive()
  open.shift()?.(true)
  clock.move(19_000)
  notifier.alive()
  expect(said).toEqual(['READY=1', 'WATCHDOG=1'])
  clock.move(1000)
  notifier.alive()
  notifier.stopping()
  expect(said).toEqual(['READY=1', 'WATCHDOG=1', 'WATCHDOG=1', 'STOPPING=1'])
  expect(notifier.failures()).toBe(1)
  createNotifier({ enabled: false }, clock, () => expect.unreachable()).ready()
})
