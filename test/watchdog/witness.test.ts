/** The witness in whole rounds: what it was shown is on its disk before anybody hears that it was taken (T100, X14). */
import { afterEach, expect, test } from 'vitest'
import { watchScene } from '../support/watch-scene.ts'
import { makeAnswer, makeCheckpoint } from '../support/watchdog-home.ts'

const homes: { remove(): void }[] = []
afterEach(() => {
  for (const home of homes.splice(0)) home.remove()
})
const head = (letter: string) => letter.repeat(64)

function scene() {
  const at = watchScene()
  homes.push(at)
  const one = makeCheckpoint(at.checkpointKey, 10, head('a'), null)
  const two = makeCheckpoint(at.checkpointKey, 20, head('b'), one)
  const shows = (auditSize: number, auditHead: string, checkpoints: readonly (typeof one)[]) => {
    at.hub.answer = () => ({ kind: 'answer', answer: makeAnswer({ auditSize, auditHead, checkpoints }) })
  }
  return { at, one, two, shows }
}

test('X14: what was witnessed is remembered before it is answered, and a watchdog killed right after knows a log that was cut [watch-51]', async () => {
  const { at, one, two, shows } = scene()
  const first = at.start()
  expect(first.watch.witness({ auditSize: 20, auditHead: head('b'), checkpoints: [one, two] })).toBe('accepted')
  // Killed: nothing is closed, no round ended.
  const second = at.start()
  expect(second.watch.status().witness).toEqual({ size: 20, head: head('b') })
  shows(10, head('a'), [])
  await second.watch.round()
  expect(second.watch.status().conditions).toEqual(['witness_mismatch'])
  expect(at.told()).toContain('raised witness_mismatch 1')
  for (const { file } of [first, second]) file.close()
})

test('X14: where the disk does not take it, nothing is called witnessed', () => {
  const { at, one } = scene()
  const { watch, file } = at.start()
  at.disk.full = true
  expect(() => watch.witness({ auditSize: 10, auditHead: head('a'), checkpoints: [one] })).toThrow(/no space/)
  at.disk.full = false
  file.close()
  const again = at.start()
  expect(again.watch.status().witness).toBeNull()
  again.file.close()
})

test('T100: cut by one, by ten or whole, the log that comes back is a mismatch beside the witness [audit-23]', async () => {
  for (const left of [19, 10, 0]) {
    const { at, one, two, shows } = scene()
    const { watch, file } = at.start()
    shows(20, head('b'), [one, two])
    await watch.round()
    expect(watch.status().conditions).toEqual([])
    shows(left, left === 0 ? head('0') : head('c'), [])
    await watch.round()
    expect(watch.status().conditions, `${left} records`).toEqual(['witness_mismatch'])
    file.close()
  }
})
