import { expect, it } from 'vitest'
import { createNotifier } from '../../../hub/base/notify.ts'

function scene(enabled = true) {
  const said: string[] = []
  const open: ((failed: boolean) => void)[] = []
  const notifier = createNotifier({ enabled }, (words, done) => {
    said.push(words.join(' '))
    open.push(done)
  })
  return { said, open, notifier }
}

it('says nothing where no service manager listens', () => {
  const { said, notifier } = scene(false)
  notifier.say(['READY=1'], true)
  expect(said).toEqual([])
})

it('says one word at a time: what comes while the last is under way is passed over, unless it is urgent', () => {
  const { said, open, notifier } = scene()
  notifier.say(['WATCHDOG=1'])
  notifier.say(['WATCHDOG=1'])
  notifier.say(['STOPPING=1'], true)
  expect(said).toEqual(['WATCHDOG=1', 'STOPPING=1'])
  for (const done of open.splice(0)) done(false)
  notifier.say(['WATCHDOG=1'])
  expect(said).toHaveLength(3)
})

it('counts what could not be said and goes on', () => {
  const { open, notifier } = scene()
  notifier.say(['WATCHDOG=1'])
  open[0]?.(true)
  notifier.say(['WATCHDOG=1'])
  expect([notifier.failures(), open.length]).toEqual([1, 2])
})
