/** The lease's own loop, with a clock that is moved by hand. */
import { describe, expect, test } from 'vitest'
import type { Clock } from '../../watchdog/base/clock.ts'
import type { Heard, Lease } from '../../watchdog/judge/lease.ts'
import type { HubLine } from '../../watchdog/observe/hub-line.ts'
import { keepLine, leaseDueInMs, startLeaseLoop } from '../../watchdog/watch/lease-loop.ts'

const INTERVAL_MS = 3000
const STUCK_MS = 58_000
const lease = { epoch: 1 } as Lease
const silent: Heard = { kind: 'silent', reason: 'x' }

/** Timers in their order, each turn of the loop let through. */
function handClock() {
  let bootMs = 1_000_000
  let timers: { atMs: number; fn: () => void }[] = []
  const turns = async () => {
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve()
  }
  const clock: Clock = {
    read: () => ({ wallMs: bootMs, bootMs, monotonicMs: bootMs, bootId: 'b' }),
    after(delayMs, fn) {
      const timer = { atMs: bootMs + delayMs, fn }
      timers.push(timer)
      return () => {
        timers = timers.filter((one) => one !== timer)
      }
    },
  }
  return {
    clock,
    waiting: () => timers.length,
    async move(ms: number) {
      const end = bootMs + ms
      for (await turns(); ; await turns()) {
        const next = [...timers].sort((a, b) => a.atMs - b.atMs)[0]
        if (next === undefined || next.atMs > end) break
        timers = timers.filter((one) => one !== next)
        bootMs = Math.max(bootMs, next.atMs)
        next.fn()
      }
      bootMs = end
    },
    nowMs: () => bootMs,
  }
}

function scene(answer: (lease: Lease) => Promise<Heard> = async () => silent) {
  const hand = handClock()
  const sent: number[] = []
  const line: HubLine = {
    lease(one) {
      sent.push(hand.nowMs())
      return answer(one)
    },
    shutdown: async () => null,
  }
  const kept = keepLine(line, hand.clock)
  const renewals: number[] = []
  /** When a round last ended or a container was worked on; always a moment ago, unless a test says otherwise. */
  const work = { lastMs: undefined as number | undefined }
  const end = startLeaseLoop(
    { intervalMs: INTERVAL_MS, stuckMs: STUCK_MS },
    {
      clock: hand.clock,
      sentAtMs: kept.sentAtMs,
      quietMs: () => (work.lastMs === undefined ? 0 : hand.nowMs() - work.lastMs),
      async renew() {
        renewals.push(hand.nowMs())
        await kept.lease(lease)
      },
    },
  )
  return { ...hand, sent, kept, renewals, work, end }
}

describe('fault A11: the lease has a loop of its own', () => {
  test('fault A11: while a round waits for the engine leases go on, none further from the last than two intervals [watch-8]', async () => {
    const { move, kept, sent, end } = scene()
    await kept.lease(lease)
    // No round for a minute: the engine stalls, or containers are being removed.
    await move(60_000)
    const gaps = sent.slice(1).map((atMs, at) => atMs - (sent[at] ?? 0))
    expect(gaps.length).toBeGreaterThan(10)
    expect(Math.max(...gaps)).toBeLessThanOrEqual(2 * INTERVAL_MS)
    end()
  })

  test('a round that stands still for ever sends no lease: they end once it is stuck, and begin again with work [watch-9]', async () => {
    const { move, sent, work, nowMs, waiting, end } = scene()
    const began = nowMs()
    work.lastMs = began
    await move(60_000 * 60)
    expect(sent.length).toBeGreaterThan(10)
    expect(Math.max(...sent) - began).toBeLessThanOrEqual(STUCK_MS)
    const before = sent.length
    // Containers are being removed: each of them is heard.
    for (let act = 0; act < 20; act += 1) {
      work.lastMs = nowMs()
      await move(10_000)
    }
    expect(sent.length - before).toBeGreaterThan(30)
    expect(waiting()).toBe(1)
    end()
  })

  test('while rounds come in time it sends none of its own', async () => {
    const { move, kept, renewals, end } = scene()
    for (let round = 0; round < 50; round += 1) {
      await kept.lease(lease)
      await move(INTERVAL_MS)
    }
    expect(renewals).toEqual([])
    end()
  })

  test('one that has ended leaves no timer behind', async () => {
    const { move, end, waiting, renewals } = scene()
    await move(100)
    end()
    await move(60_000)
    expect([waiting(), renewals]).toEqual([0, []])
  })

  test('leases go out one after the other, so that the hub never sees an older one after a newer', async () => {
    const open: (() => void)[] = []
    const { kept, sent, end } = scene(() => new Promise((resolve) => open.push(() => resolve(silent))))
    end()
    const both = [kept.lease(lease), kept.lease(lease)]
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve()
    expect(sent).toHaveLength(1)
    open[0]?.()
    await both[0]
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve()
    expect(sent).toHaveLength(2)
    open[1]?.()
    await both[1]
  })

  test.each([
    [0, 0, 4500],
    [0, 4499, 1],
    [0, 4500, 0],
    [0, 9000, 0],
  ])('sent at %i, at %i it is due in %i', (sentAt, now, due) =>
    expect(leaseDueInMs(sentAt, now, INTERVAL_MS)).toBe(due),
  )
})
