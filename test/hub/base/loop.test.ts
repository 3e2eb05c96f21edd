import { describe, expect, it } from 'vitest'
import { createLoop } from '../../../hub/base/loop.ts'
import { createFakeClock } from '../../support/fake-clock.ts'

function counted(everyMs: number, options: { failing?: () => boolean; work?: () => Promise<void> } = {}) {
  const clock = createFakeClock()
  const runsAt: number[] = []
  const faults: [string, number][] = []
  const well: string[] = []
  let inside = 0
  let insideMost = 0
  const beganAt = clock.monotonicMs()
  const loop = createLoop(
    {
      name: 'sweep',
      everyMs,
      backoffMaxMs: 5000,
      run: async () => {
        runsAt.push(clock.monotonicMs() - beganAt)
        inside += 1
        insideMost = Math.max(insideMost, inside)
        await options.work?.()
        inside -= 1
        if (options.failing?.()) throw new Error('broken')
      },
      onFault: (name, _thrown, inARow) => faults.push([name, inARow]),
      onWell: (name) => well.push(name),
    },
    clock,
  )
  return { clock, loop, runsAt, faults, well, most: () => insideMost }
}

describe('a loop', () => {
  it('runs at once and then every span, and knows its last success', async () => {
    const { clock, loop, runsAt, well } = counted(100)
    expect(loop.lastSuccessAt()).toBeUndefined()
    loop.start()
    loop.start()
    await clock.advance(350)
    expect(runsAt).toEqual([0, 100, 200, 300])
    expect(well, 'told of the first alone').toEqual(['sweep'])
    expect(loop.lastSuccessAt()).toBe(clock.monotonicMs() - 50)
    await loop.stop()
    await clock.advance(1000)
    expect(runsAt).toHaveLength(4)
  })

  it('waits twice as long after each fault in a row, up to its ceiling, and is quick again after a success', async () => {
    let broken = true
    const { clock, loop, runsAt, faults } = counted(1000, { failing: () => broken })
    loop.start()
    await clock.advance(16_100)
    expect(runsAt).toEqual([0, 2000, 6000, 11_000, 16_000])
    expect(faults.map(([, inARow]) => inARow)).toEqual([1, 2, 3, 4, 5])
    expect(loop.lastSuccessAt()).toBeUndefined()
    broken = false
    await clock.advance(6000)
    expect(runsAt.slice(5)).toEqual([21_000, 22_000])
    await loop.stop()
  })

  it('runs soon when nudged, exactly once more however often it is nudged during a run', async () => {
    let release = () => {}
    const { clock, loop, runsAt, most } = counted(1000, { work: () => new Promise((resolve) => (release = resolve)) })
    loop.start()
    await clock.advance(0)
    for (let times = 0; times < 5; times += 1) loop.nudge()
    release()
    await clock.advance(0)
    expect(runsAt).toHaveLength(2)
    release()
    await clock.advance(10)
    expect(runsAt).toHaveLength(2)
    loop.nudge()
    await clock.advance(0)
    expect(runsAt).toHaveLength(3)
    expect(most()).toBe(1)
    release()
    await loop.stop()
  })

  it('stops only when the present run has ended', async () => {
    let release = () => {}
    const { clock, loop } = counted(1000, { work: () => new Promise((resolve) => (release = resolve)) })
    loop.start()
    let stopped = false
    const stopping = loop.stop().then(() => {
      stopped = true
    })
    await clock.advance(5000)
    expect(stopped).toBe(false)
    release()
    await stopping
    expect(stopped).toBe(true)
  })

  it('never runs twice at once, also when started again before its last run has ended', async () => {
    const releases: (() => void)[] = []
    const { clock, loop, runsAt, most } = counted(100, { work: () => new Promise((resolve) => releases.push(resolve)) })
    loop.start()
    await clock.advance(0)
    const stopping = loop.stop()
    loop.start()
    await clock.advance(500)
    expect(runsAt).toHaveLength(1)
    releases.shift()?.()
    await stopping
    await clock.advance(0)
    expect(runsAt).toHaveLength(2)
    expect(most()).toBe(1)
    const ended = loop.stop()
    releases.shift()?.()
    await ended
  })
})
