import { expect, test } from 'vitest'
import { createBrake, FLOODED_FRAMES_MAX, REST_MS } from '../../../hub/edge/brake.ts'
import { createFakeClock } from '../../support/fake-clock.ts'

function started() {
  const clock = createFakeClock()
  const peer = {
    reads: true,
    pause() {
      peer.reads = false
    },
    resume() {
      peer.reads = true
    },
  }
  const brake = createBrake(peer, clock)
  const flood = (frames: number) => {
    for (let nth = 0; nth < frames; nth += 1) brake.flooded()
  }
  return { clock, peer, brake, flood }
}

test('T65: so many frames over the quota, and the line rests; what came in before makes the rest no longer', async () => {
  const { clock, peer, flood } = started()
  flood(FLOODED_FRAMES_MAX - 1)
  expect(peer.reads).toBe(true)
  flood(1)
  expect(peer.reads).toBe(false)
  await clock.advance(REST_MS - 1)
  flood(500)
  expect(peer.reads).toBe(false)
  await clock.advance(1)
  expect(peer.reads).toBe(true)
  flood(FLOODED_FRAMES_MAX - 1)
  expect(peer.reads).toBe(true)
  flood(1)
  expect(peer.reads).toBe(false)
})

test('T65: the end of one hold does not end the other, whichever ends first', async () => {
  const { clock, peer, brake, flood } = started()
  brake.pause()
  flood(FLOODED_FRAMES_MAX)
  brake.resume()
  expect([peer.reads, brake.isPaused]).toEqual([false, false])
  brake.pause()
  await clock.advance(REST_MS)
  expect([peer.reads, brake.isPaused]).toEqual([false, true])
  brake.resume()
  expect(peer.reads).toBe(true)
})

test('nothing resumes a line that has ended', async () => {
  const { clock, peer, brake, flood } = started()
  flood(FLOODED_FRAMES_MAX)
  brake.stop()
  await clock.advance(REST_MS)
  expect(peer.reads).toBe(false)
})
