/**
 * The watchdog's memory: one file of two preallocated 4 KiB slots, written in place in turn (threats.md section 8).
 * S1 a slot is valid only with magic, length and SHA-256 over counter, length and payload; the valid one with the higher counter rules.
 * S2 a write goes to the slot that does not rule, is synced, and only then does its counter rule: a torn write costs that write alone.
 * S3 nothing is allocated after creation, so a full disk does not stop it. S4 a failed write is tried again in the same slot.
 */
import { createHash } from 'node:crypto'
import { closeSync, copyFileSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs'
import path from 'node:path'
import type { Reading } from './clock.ts'
import { StartError } from './config-fields.ts'
import { firstPresence, type Presence } from './timeline.ts'

export interface Announced {
  readonly kind: 'restart' | 'shutdown' | 'down'
  /** On the watchdog's own line; silence at most until then while the hub still answers. */
  readonly untilMs: number
  /** The hub has been seen away since. */
  readonly away: boolean
}

/** Said once, and never resolved. */
export type NoticeId = 'operator_checked_in'

export interface State {
  readonly version: 1
  readonly instance: string
  /** Rises at each start: the fence against an older watchdog (T91). */
  readonly epoch: number
  /** The watchdog's own line of time: only elapsed spans are added, so it never steps (section 7). */
  readonly lineMs: number
  readonly mark: Reading
  readonly wallHighMs: number
  readonly presence: Presence
  readonly announced: Announced | null
  readonly throughput: { readonly dispatched: number; readonly sinceMs: number } | null
  readonly witness: { readonly size: number; readonly head: string; readonly digest: string } | null
  readonly mismatchSinceMs: number | null
  /** The state file was unreadable at a start; until the next strong heartbeat. */
  readonly lost: boolean
  /** Open alerts by finding. */
  readonly alerts: Readonly<Record<string, { readonly level: number; readonly sinceMs: number }>>
  /** To be told once with the next round. */
  readonly notices: readonly NoticeId[]
}

/** Fields that a state written by an earlier version lacks; those of the presence come from `firstPresence`. */
const ADDED = { notices: [] } satisfies Partial<State>

/** The state of a new home: begins with a strong heartbeat now. */
export function firstState(mark: Reading, instance: string): State {
  return {
    version: 1,
    instance,
    // Above every earlier epoch of this home, should its state have been lost: a start takes more than a second.
    epoch: Math.floor(mark.wallMs / 1000),
    lineMs: 0,
    mark,
    wallHighMs: mark.wallMs,
    presence: firstPresence(),
    announced: null,
    throughput: null,
    witness: null,
    mismatchSinceMs: null,
    lost: false,
    ...ADDED,
    alerts: {},
  }
}

export const SLOT_BYTES = 4096
const MAGIC = Buffer.from('HWD1')
const HEAD_BYTES = 48

const digest = (counterAndLength: Buffer, payload: Buffer): Buffer =>
  createHash('sha256').update(counterAndLength).update(payload).digest()

function encode(counter: number, state: State): Buffer {
  const payload = Buffer.from(JSON.stringify(state), 'utf8')
  if (payload.length > SLOT_BYTES - HEAD_BYTES)
    throw new Error(`the state has ${payload.length} bytes, too many for a slot`)
  const slot = Buffer.alloc(SLOT_BYTES)
  MAGIC.copy(slot)
  slot.writeBigUInt64BE(BigInt(counter), 4)
  slot.writeUInt32BE(payload.length, 12)
  payload.copy(slot, HEAD_BYTES)
  digest(slot.subarray(4, 16), payload).copy(slot, 16)
  return slot
}

function decode(slot: Buffer): { counter: number; state: State } | null {
  if (slot.length !== SLOT_BYTES || !slot.subarray(0, 4).equals(MAGIC)) return null
  const length = slot.readUInt32BE(12)
  if (length > SLOT_BYTES - HEAD_BYTES) return null
  const payload = slot.subarray(HEAD_BYTES, HEAD_BYTES + length)
  if (!digest(slot.subarray(4, 16), payload).equals(slot.subarray(16, HEAD_BYTES))) return null
  const written = JSON.parse(payload.toString('utf8')) as State
  const state = { ...ADDED, ...written, presence: { ...firstPresence(), ...written.presence } }
  return { counter: Number(slot.readBigUInt64BE(4)), state }
}

function readSlot(fd: number, index: number): ReturnType<typeof decode> {
  const slot = Buffer.alloc(SLOT_BYTES)
  const bytes = readSync(fd, slot, 0, SLOT_BYTES, index * SLOT_BYTES)
  return decode(slot.subarray(0, bytes))
}

function writeSlot(fd: number, index: number, slot: Buffer): void {
  const bytes = writeSync(fd, slot, 0, SLOT_BYTES, index * SLOT_BYTES)
  if (bytes !== SLOT_BYTES) throw new Error('the state was not written whole')
  fsyncSync(fd)
}

/** Creates the file with its first state in both slots. @throws StartError if there is one already: a first start happens once. */
export function initState(file: string, first: State): void {
  let fd: number
  try {
    fd = openSync(file, 'wx', 0o600)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    throw new StartError(`${file} exists already: this home is initialised; start the watchdog without --init`)
  }
  try {
    writeSlot(fd, 0, encode(1, first))
    writeSlot(fd, 1, encode(2, first))
  } finally {
    closeSync(fd)
  }
  const folder = openSync(path.dirname(file), 'r')
  fsyncSync(folder)
  closeSync(folder)
}

export interface StateFile {
  /** What ruled at opening; null if neither slot could be read (a copy was put aside). */
  readonly found: State | null
  readonly quarantined: string | null
  /** Writes and syncs; throws if the disk did not take it, and then the older state still rules. */
  save(state: State): void
  close(): void
}

/** Opens the state of an initialised home. @throws StartError where it is missing: lost state must be visible, never silently new. */
export function openState(file: string, wallMs: number): StateFile {
  let fd: number
  try {
    fd = openSync(file, 'r+')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw new StartError(`${file} cannot be opened (${(error as Error).message}); repair its mode or owner`)
    }
    throw new StartError(`${file} is missing. New home: run hub init. Lost: restore it, or accept the loss with --init`)
  }
  const slots = [readSlot(fd, 0), readSlot(fd, 1)] as const
  const ruling = (slots[0]?.counter ?? -1) >= (slots[1]?.counter ?? -1) ? 0 : 1
  const found = slots[ruling]
  let counter = found?.counter ?? 0
  let next = found === null ? 0 : 1 - ruling
  let quarantined: string | null = null
  if (found === null) {
    const aside = `${file}.corrupt-${wallMs}`
    try {
      copyFileSync(file, aside)
      quarantined = aside
    } catch {
      // A full disk must not keep the watchdog from starting safe; the alert then says that no copy could be kept.
    }
  }
  return {
    found: found?.state ?? null,
    quarantined,
    save(state) {
      writeSlot(fd, next, encode(counter + 1, state))
      counter += 1
      next = 1 - next
    },
    close: () => closeSync(fd),
  }
}
