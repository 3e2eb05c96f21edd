/**
 * The watchdog's word that the operator is there (docs/safety.md 2). Without a lease younger than three intervals nothing is dispatched.
 *
 * L1. A lease is authenticated by the shared key over its raw bytes; epoch and counter only rise, across restarts too (T92).
 * L2. Its age is measured on this process's own boot clock: only spans pass between processes (T76).
 * L3. What a lease demands is persisted and obeyed until a newer lease; missing leases only ever make the hub stricter (I5).
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { parseStrictJson } from '../../base/strict-json.ts'
import { parseShape } from '../../protocol/parse.ts'
import type { Meta } from '../../store/meta.ts'
import { isTexts, readText } from '../../store/reading.ts'
import type { ConditionName, Modes } from '../modes.ts'

const DEMANDED = ['heartbeat_missed', 'unattended_stop', 'witness_mismatch', 'away', 'emergency_stop'] as const
/** Sticky on this side too: a lease that no longer names them does not end them, only the operator does. */
const KEPT: ReadonlySet<string> = new Set(['witness_mismatch', 'emergency_stop'])
const INTERVALS_MAX = 3

const leaseShape = z.strictObject({
  version: z.literal(1),
  instance: z.string().max(64),
  epoch: z.int().positive(),
  counter: z.int().positive(),
  bootId: z.string().max(64),
  intervalMs: z.int().positive().max(600_000),
  heartbeatAgeMs: z.int().nonnegative(),
  deadlineInMs: z.int(),
  demand: z.enum(['normal', 'safe']),
  conditions: z.array(z.string().max(64)).max(16),
  /** Size of the newest checkpoint the watchdog holds: it is sent the ones after that. */
  witnessSize: z.int().nonnegative().default(0),
  /** The head it saw there; '' is none. */
  witnessHead: z.string().max(64).default(''),
  /** Records whose hash it asks for: some that it has seen, and some that waited for a failing store. */
  ask: z.array(z.int().positive()).max(8).default([]),
  /** What is left of a planned absence. */
  awayInMs: z.int().nonnegative().nullable().default(null),
  /** Names the last stop of everything that the watchdog knows of; 0 is none. */
  stopId: z.int().nonnegative().default(0),
})
export type LeaseWord = z.output<typeof leaseShape>

const stopShape = z.looseObject({
  version: z.literal(1),
  instance: z.string().max(64),
  epoch: z.int().positive(),
  counter: z.int().positive(),
  by: z.enum(['operator', 'contact', 'emergency', 'unattended']).default('operator'),
  reason: z.string().max(500).default(''),
})

interface Position {
  epoch: number
  counter: number
}

export interface LeaseState {
  remainingMs: number
  heartbeatAgeMs: number
  deadlineInMs: number
}

export interface Lease {
  /** Takes one lease; throws `unauthenticated` for a wrong MAC, another instance, or one that is not newer. */
  accept(body: Buffer, mac: string): LeaseWord
  /** Checks a shutdown asked for by the watchdog by the same rules; throws `unauthenticated`. */
  acceptStop(body: Buffer, mac: string): { by: 'operator' | 'contact' | 'emergency' | 'unattended'; reason: string }
  /** A stop that this hub missed: nothing is dispatched until its tasks are held (`stopHeld`). */
  unheldStop(): number | undefined
  /** Every unfinished task is held for that stop; inside the transaction that held them. */
  stopHeld(stopId: number): void
  /** The operator ended `emergency_stop` at the watchdog too: a lease that was under way meanwhile no longer brings it back. */
  resumed(stopId: number): void
  /** What is left of the lease now, or undefined before the first. */
  state(): LeaseState | undefined
  /** Since the last lease was taken, boot ms; undefined before the first. */
  ageMs(): number | undefined
  /** Size of the newest checkpoint the watchdog said it holds; 0 before the first lease. */
  witnessSize(): number
  /** The machine slept: what the last lease said is over; a deadline that passed meanwhile is safe mode before any message (T73). */
  slept(): void
  /** Raises `lease_lapsed` when the last lease is too old; called by a loop. */
  tick(): void
}

/** A word that the shared key did not sign: that is no accident. */
export class ForgedWord extends HubError {
  constructor() {
    super('unauthenticated', '', { reason: "the watchdog's word has a wrong MAC" })
  }
}

/** HMAC-SHA256, hex, over a label line and the raw bytes. */
export const macOf = (key: Buffer, label: string, body: Buffer | string): string =>
  createHmac('sha256', key).update(`${label}\n`).update(body).digest('hex')

/** Constant-time check of a hex MAC; any other shape is wrong. */
export function macMatches(key: Buffer, label: string, body: Buffer, mac: string): boolean {
  if (!/^[0-9a-f]{64}$/.test(mac)) return false
  return timingSafeEqual(Buffer.from(macOf(key, label, body), 'hex'), Buffer.from(mac, 'hex'))
}

export function createLease(parts: {
  key: Buffer
  instance: string
  modes: Modes
  meta: Meta
  clock: Clock
  /** Looks whether the machine slept, before a lease is taken, so that a fresh one is not thrown away as old. */
  look?: () => void
}): Lease {
  const { key, instance, modes, meta, clock, look = () => undefined } = parts
  let last: { word: LeaseWord; atBootMs: number } | undefined
  const [lastEpoch = 0, lastCounter = 0] = (meta.get('lease_position') ?? '0 0').split(' ').map(Number)
  let position = { epoch: lastEpoch, counter: lastCounter }
  let unheld: number | undefined
  let resumedStop: number | undefined

  // A demand that cannot be read may have been strict; the first lease says what holds.
  obey(readText<readonly string[]>(meta.get('lease_demand') ?? '[]', isTexts, ['heartbeat_missed']), null)
  modes.raise('lease_pending', 'the hub has just started; the watchdog has not spoken yet')

  function obey(conditions: readonly string[], awayInMs: number | null): void {
    for (const name of DEMANDED) {
      if (conditions.includes(name))
        modes.raise(name, name === 'away' ? awayReason(awayInMs) : 'demanded by the watchdog')
      else if (!KEPT.has(name)) modes.clear(name)
    }
  }

  /** Only the span crosses (T76); the instant is this process's own. To the minute, so that it reads the same in each lease. */
  function awayReason(inMs: number | null): string {
    return inMs === null
      ? 'planned absence'
      : `planned absence until ${new Date(clock.wallMs() + inMs).toISOString().slice(0, 16)}Z`
  }

  /** MAC over the raw bytes, instance, and a position that only rises. */
  function verified<Word extends Position & { instance: string }>(
    shape: z.ZodType<Word>,
    label: string,
    body: Buffer,
    mac: string,
  ): Word {
    const refused = (reason: string) => new HubError('unauthenticated', '', { reason })
    if (!macMatches(key, label, body, mac)) throw new ForgedWord()
    const word: Word = parseShape(shape, parseStrictJson(body, 4), 'watchdog')
    if (word.instance !== instance) throw refused("the watchdog's word is for another instance")
    const newer = word.epoch > position.epoch || (word.epoch === position.epoch && word.counter > position.counter)
    if (!newer)
      throw refused(`the watchdog's word is not newer than epoch ${position.epoch}, counter ${position.counter}`)
    return word
  }

  /** Persisted before it takes effect. A failed write refuses nothing: a store that cannot be written has its own condition. */
  function keep(key: 'lease_position' | 'lease_demand', value: string): void {
    try {
      meta.set(key, value)
    } catch (thrown) {
      if (!(thrown instanceof HubError) || thrown.code !== 'store_unavailable') throw thrown
    }
  }

  function moveTo({ epoch, counter }: Position): void {
    keep('lease_position', `${epoch} ${counter}`)
    position = { epoch, counter }
  }

  return {
    acceptStop(body, mac) {
      const word = verified(stopShape, 'hub-shutdown-v1', body, mac)
      moveTo(word)
      return { by: word.by, reason: word.reason }
    },
    unheldStop: () => unheld,
    stopHeld(stopId) {
      meta.set('stop_held', String(stopId))
      modes.clear('lease_pending')
      unheld = undefined
    },
    resumed(stopId) {
      resumedStop = stopId
      modes.clear('emergency_stop')
    },
    accept(body, mac) {
      look()
      const word = verified(leaseShape, 'hub-lease-v1', body, mac)
      const known: readonly string[] = DEMANDED
      const isEnded = (name: string) => name === 'emergency_stop' && word.stopId === resumedStop
      const standing = word.conditions.filter((name) => !isEnded(name))
      const conditions = standing.filter((name): name is ConditionName => known.includes(name))
      moveTo(word)
      keep('lease_demand', JSON.stringify(conditions))
      last = { word, atBootMs: clock.bootMs() }
      obey(conditions, word.awayInMs)
      const isSafe = word.demand === 'safe' && (standing.length > 0 || word.conditions.length === 0)
      if (isSafe && conditions.length === 0) modes.raise('lease_lapsed', 'the watchdog demands safe mode')
      else modes.clear('lease_lapsed')
      if (word.stopId === 0 || String(word.stopId) === meta.get('stop_held')) {
        unheld = undefined
        modes.clear('lease_pending')
      } else {
        unheld = word.stopId
        modes.raise('lease_pending', 'everything was stopped; its tasks are held first')
      }
      return word
    },
    state() {
      if (last === undefined) return undefined
      const ageMs = clock.bootMs() - last.atBootMs
      const { intervalMs, heartbeatAgeMs, deadlineInMs } = last.word
      return {
        remainingMs: intervalMs * INTERVALS_MAX - ageMs,
        heartbeatAgeMs: heartbeatAgeMs + ageMs,
        deadlineInMs: deadlineInMs - ageMs,
      }
    },
    ageMs: () => (last === undefined ? undefined : clock.bootMs() - last.atBootMs),
    witnessSize: () => last?.word.witnessSize ?? 0,
    slept() {
      if (last === undefined) return
      const { deadlineInMs } = last.word
      const passed = clock.bootMs() - last.atBootMs >= deadlineInMs
      last = undefined
      modes.raise('lease_pending', 'the machine slept; the watchdog has not spoken since')
      // The next lease of the watchdog confirms this or ends it.
      if (passed) modes.raise('heartbeat_missed', 'the deadline passed while the machine slept')
    },
    tick() {
      const ageMs = last === undefined ? 0 : clock.bootMs() - last.atBootMs
      if (last !== undefined && ageMs > last.word.intervalMs * INTERVALS_MAX) {
        modes.raise('lease_lapsed', `no lease of the watchdog for ${Math.round(ageMs / 1000)} s`)
      }
    },
  }
}
