import { expect, test } from 'vitest'
import { createFrameGroups } from '../../../../hub/edge/agents/frames/groups.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'

const peer = (name: string) => ({
  name,
  isPaused: false,
  pauses: 0,
  pause() {
    this.isPaused = true
    this.pauses += 1
  },
  resume() {
    this.isPaused = false
  },
})
type Item = { peer: ReturnType<typeof peer>; nth: number; bytes?: number }

function started(fails = () => false, isStoreFailing = () => false) {
  const handled: Item[] = []
  const groups: number[] = []
  const said: string[] = []
  const made = createFrameGroups<Item>({
    gate: {
      group(work) {
        work()
        if (fails()) throw new Error('the disk is full')
      },
      isStoreFailing,
      unstored: (work) => work(),
    },
    clock: createFakeClock(),
    peerOf: (item) => item.peer,
    bytesOf: (item) => item.bytes ?? 1,
    handle(item, durable) {
      handled.push(item)
      said.push(`${item.nth} ${durable}`)
    },
    undone: (group) => void said.push(`undone ${group.length}`),
    sockets: () => [],
    committed(group, durable) {
      groups.push(group.length)
      said.push(`committed ${durable}`)
    },
    failed: (group) => void groups.push(-group.length),
  })
  return { made, handled, groups, said }
}
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

test('a peer of whom a whole group waits is not read from until all of it has gone; others are, and nothing is lost (T65)', async () => {
  const { made, handled, groups } = started()
  const [flooder, normal] = [peer('flooder'), peer('normal')]
  for (let nth = 0; nth < 255; nth += 1) made.add({ peer: flooder, nth })
  expect(flooder.isPaused).toBe(false)
  // What had been read already still comes in.
  for (let nth = 255; nth < 400; nth += 1) made.add({ peer: flooder, nth })
  made.add({ peer: normal, nth: 0 })
  expect([flooder.isPaused, flooder.pauses, normal.isPaused]).toEqual([true, 1, false])
  await turn()
  expect([flooder.isPaused, groups]).toEqual([true, [256]])
  // They take turns: the last to come is the second to be served.
  expect(handled.findIndex((item) => item.peer === normal)).toBe(1)
  await turn()
  expect([flooder.isPaused, groups]).toEqual([false, [256, 145]])
  expect(handled.filter((item) => item.peer === flooder).map(({ nth }) => nth)).toEqual([...Array(400).keys()])
  expect(normal.pauses).toBe(0)
})

test('a group that could not be committed lets its peer go on too', async () => {
  const { made, groups } = started(() => true)
  const flooder = peer('flooder')
  for (let nth = 0; nth < 256; nth += 1) made.add({ peer: flooder, nth })
  expect(flooder.isPaused).toBe(true)
  await turn()
  expect([flooder.isPaused, groups]).toEqual([false, [-256]])
})

test('when the store fails under a group, the same frames go beside it in the same turn; the next groups do not try it (S1-18)', async () => {
  let failing = false
  const { made, groups, said } = started(
    () => {
      failing = true
      return true
    },
    () => failing,
  )
  const one = peer('one')
  for (const nth of [1, 2]) made.add({ peer: one, nth })
  await turn()
  made.add({ peer: one, nth: 3 })
  await turn()
  expect(groups).toEqual([2, 1])
  expect(said).toEqual([
    ...['1 true', '2 true', 'undone 2', '1 false', '2 false', 'committed false'],
    ...['3 false', 'committed false'],
  ])
})

test('fault F6: a peer whose large frames wait is not read from once they hold 1 MiB, and is again when they have gone', async () => {
  const { made, handled } = started()
  const [large, small] = [peer('large'), peer('small')]
  for (let nth = 0; nth < 20; nth += 1) made.add({ peer: large, nth, bytes: 64 * 1024 })
  for (let nth = 0; nth < 20; nth += 1) made.add({ peer: small, nth, bytes: 300 })
  expect([large.isPaused, small.isPaused]).toEqual([true, false])
  while (handled.length < 40) await turn()
  expect([large.isPaused, large.pauses]).toEqual([false, 1])
  made.add({ peer: large, nth: 20, bytes: 64 * 1024 })
  expect(large.isPaused).toBe(false)
})
