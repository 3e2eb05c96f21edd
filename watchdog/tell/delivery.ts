/**
 * Carries messages from the outbox to their channels, each by itself (docs/safety.md 7, T98).
 * V1 a channel sends one message at a time, with a deadline: one that hangs or fails delays no round, no stop and no other channel.
 * V2 after a failure the channel rests, 5 s and four times as long each time, up to 5 min; a success ends that. Critical messages go
 * first, then in order; one that failed 5 times goes to the end, so that a message that a receiver refuses does not block the others.
 * V3 a message leaves the outbox only after the other side took it, so delivery is at least once; one that is too old is given up, loudly.
 */

import type { Clock } from '../base/clock.ts'
import type { Letter, Post } from './channels/letter.ts'
import { type Kept, OUTBOX_SLOTS, type Outbox } from './outbox.ts'

export interface Parcel {
  /** Key of its channel. */
  readonly to: string
  readonly severity: 'warning' | 'critical'
  /** When it was raised: on the watchdog's own line, and by the wall clock for people. */
  readonly lineMs: number
  readonly wallMs: number
}

export interface Route {
  readonly key: string
  readonly post: Post
}

export interface ChannelState {
  readonly key: string
  readonly label: string
  readonly kind: string
  readonly waiting: number
  /** Failures in a row. */
  readonly failures: number
  readonly reason: string | null
  /** Wall instant of the last letter that was taken since this start. */
  readonly lastOkAtMs: number | null
  /** Since this start. */
  readonly givenUp: number
  /** Of those, the ones after which the channel took nothing. */
  readonly lost: number
}

export interface Delivery<T extends Parcel> {
  /** Puts a parcel into the outbox. A channel whose share of places is full loses its oldest, warnings first, and says so. */
  add(parcel: T): void
  /** Takes back messages that wait for the end of quiet hours and were never tried; returns them. */
  takeBack(fits: (parcel: T) => boolean): readonly T[]
  /** Gives up messages that are too old, then starts deliveries that are due. Never waits, never throws. */
  turn(lineMs: number): void
  states(): readonly ChannelState[]
  /** What is in the outbox. */
  waiting(): readonly T[]
  /** Resolves when nothing is under way; for tests. */
  settled(): Promise<void>
}

const FIRST_REST_MS = 5_000
const REST_MS_MAX = 300_000
const TRIES_IN_FRONT = 5
/** Timers and the boot clock round differently. */
const SLACK_MS = 50
const GIVE_UP_MS = { warning: 24 * 3_600_000, critical: 72 * 3_600_000 } as const

interface Line {
  readonly route: Route
  job: Promise<void> | null
  failures: number
  restUntilBootMs: number
  reason: string | null
  lastOkAtMs: number | null
  givenUp: number
  lost: number
  /** Line instant of the last loss. */
  lostAtMs: number
}

/** The delivery over `routes`. `waits`: whether a parcel waits for the end of its reader's quiet hours. */
export function createDelivery<T extends Parcel>(
  routes: readonly Route[],
  parts: {
    clock: Clock
    outbox: Outbox<T>
    render: (parcel: T, post: Post) => Letter
    waits: (parcel: T, post: Post, wallMs: number) => boolean
  },
): Delivery<T> {
  const { clock, outbox } = parts
  const tries = new Map<number, number>()
  const lines = routes.map(
    (route): Line => ({
      route,
      job: null,
      failures: 0,
      restUntilBootMs: Number.NEGATIVE_INFINITY,
      reason: null,
      lastOkAtMs: null,
      givenUp: 0,
      lost: 0,
      lostAtMs: 0,
    }),
  )
  let turnedAtMs = 0
  const underWay = new Map<string, number>()
  const share = Math.floor(OUTBOX_SLOTS / Math.max(1, routes.length))
  const drop = (seq: number): void => {
    outbox.remove(seq)
    tries.delete(seq)
  }
  function lose(line: Line, lineMs: number): void {
    line.givenUp += 1
    line.lost += 1
    line.lostAtMs = lineMs
  }
  const rank = ({ seq, value }: Kept<T>) =>
    ((tries.get(seq) ?? 0) < TRIES_IN_FRONT ? 0 : 2) + (value.severity === 'critical' ? 0 : 1)

  function nextOf(line: Line): Kept<T> | undefined {
    const { wallMs } = clock.read()
    return outbox
      .list()
      .filter(({ value }) => value.to === line.route.key && !parts.waits(value, line.route.post, wallMs))
      .sort((a, b) => rank(a) - rank(b) || a.seq - b.seq)[0]
  }

  /** The channel's own promise, or a rejection at its deadline: a channel that ignores its deadline is left behind (V1). */
  function within(post: Post, letter: Letter): Promise<void> {
    return new Promise((resolve, reject) => {
      const deadlineMs = post.deadlineMs + 1_000
      const cancel = clock.after(deadlineMs, () => reject(new Error(`it took longer than ${deadlineMs} ms`)))
      post.deliver(letter).then(resolve, reject).finally(cancel)
    })
  }

  async function carry(line: Line, one: Kept<T>): Promise<void> {
    try {
      await within(line.route.post, parts.render(one.value, line.route.post))
      drop(one.seq)
      Object.assign(line, { failures: 0, reason: null, lastOkAtMs: clock.read().wallMs })
      // A round has seen the loss by then: no quick success hides one.
      if (turnedAtMs > line.lostAtMs) line.lost = 0
    } catch (error) {
      tries.set(one.seq, (tries.get(one.seq) ?? 0) + 1)
      line.failures += 1
      line.reason = (error as Error).message.slice(0, 200)
      const restMs = Math.min(REST_MS_MAX, FIRST_REST_MS * 4 ** Math.min(line.failures - 1, 8))
      line.restUntilBootMs = clock.read().bootMs + restMs
      clock.after(restMs, () => start(line))
    }
  }

  function start(line: Line): void {
    if (line.job !== null) return
    if (line.failures > 0 && clock.read().bootMs + SLACK_MS < line.restUntilBootMs) return
    const one = nextOf(line)
    if (one === undefined) return
    underWay.set(line.route.key, one.seq)
    line.job = carry(line, one).finally(() => {
      line.job = null
      underWay.delete(line.route.key)
      start(line)
    })
  }

  function giveUp(lineMs: number): void {
    for (const { seq, value } of outbox.list()) {
      const line = lines.find((each) => each.route.key === value.to)
      if (line !== undefined && lineMs - value.lineMs <= GIVE_UP_MS[value.severity]) continue
      drop(seq)
      if (line !== undefined) lose(line, lineMs)
    }
  }

  function add(parcel: T): void {
    const line = lines.find((each) => each.route.key === parcel.to)
    if (line === undefined) return
    const own = outbox.list().filter(({ value }) => value.to === parcel.to)
    if (own.length >= share) {
      const oldest = own.find(({ value }) => value.severity === 'warning') ?? own[0]
      if (oldest !== undefined) drop(oldest.seq)
      lose(line, parcel.lineMs)
    }
    if (!outbox.put(parcel)) lose(line, parcel.lineMs)
  }

  return {
    add,
    takeBack(fits) {
      const { wallMs } = clock.read()
      const taken = outbox.list().filter(({ seq, value }) => {
        const line = lines.find((each) => each.route.key === value.to)
        return line !== undefined && fits(value) && !tries.has(seq) && underWay.get(value.to) !== seq
          ? parts.waits(value, line.route.post, wallMs)
          : false
      })
      for (const { seq } of taken) drop(seq)
      return taken.map(({ value }) => value)
    },
    waiting: () => outbox.list().map(({ value }) => value),
    turn(lineMs) {
      turnedAtMs = lineMs
      outbox.flush()
      giveUp(lineMs)
      for (const line of lines) start(line)
    },
    states: () =>
      lines.map(({ route, failures, reason, lastOkAtMs, givenUp, lost }) => ({
        key: route.key,
        label: route.post.label,
        kind: route.post.kind,
        waiting: outbox.list().filter(({ value }) => value.to === route.key).length,
        failures,
        reason,
        lastOkAtMs,
        givenUp,
        lost,
      })),
    async settled() {
      for (let job = lines.find((line) => line.job)?.job; job; job = lines.find((line) => line.job)?.job) await job
    },
  }
}
