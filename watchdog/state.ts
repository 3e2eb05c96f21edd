/**
 * The watchdog's memory: one file of two preallocated 4 KiB slots, written in place in turn (threats.md section 8).
 * S1 a slot is valid only with magic, length and SHA-256 over counter, length and payload; the valid one with the higher counter rules.
 * S2 a write goes to the slot that does not rule, is synced, and only then does its counter rule: a torn write costs that write alone.
 * S3 nothing is allocated after creation, so a full disk does not stop it. S4 a failed write is tried again in the same slot.
 */
import { closeSync, copyFileSync, existsSync, openSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Buffered } from './buffered.ts'
import type { Reading } from './clock.ts'
import { StartError } from './config-fields.ts'
import { NOTHING_TOLD, type NoticesTold } from './notices/plan.ts'
import { decodeSlot, encodeSlot, readSlotBytes, writeSlotBytes } from './slot.ts'
import { firstPresence, type Presence } from './timeline.ts'
import { createFile } from './whole-file.ts'
import type { Head } from './witness.ts'

export interface Announced {
  readonly kind: 'restart' | 'shutdown' | 'down'
  /** On the watchdog's own line; silence at most until then while the hub still answers. */
  readonly untilMs: number
  /** The hub has been seen away since. */
  readonly away: boolean
}

/** Everything was stopped by somebody who may not start it again (stops.ts). */
export interface Emergency {
  readonly by: 'contact' | 'emergency'
  /** At most 200 characters: the state has to fit its slot. */
  readonly reason: string
  /** On the watchdog's own line. */
  readonly sinceMs: number
}

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
  /** Older heads that were witnessed, oldest first (witness.ts). */
  readonly heads: readonly Head[]
  /** The last of the records that waited for a failing store: where it will stand, its hash, how many waited (buffered.ts). */
  readonly buffered: Buffered | null
  /** So many of them were never written; until the next strong heartbeat. 0: none. */
  readonly auditLost: number
  /** The state file was unreadable at a start; until the next strong heartbeat. */
  readonly lost: boolean
  /** Everything was stopped by the contact or with `--emergency`; until the operator resumes. */
  readonly emergency: Emergency | null
  /** Names the last stop that this process was told of or made; 0: none yet. */
  readonly stopId: number
  /** Open alerts by finding. */
  readonly alerts: Readonly<Record<string, { readonly level: number; readonly sinceMs: number }>>
  /** Rises with every round that told something: what is told twice after a crash has the same number, and is known by it. */
  readonly told: number
  /** What the backup contact was told of the present matter. */
  readonly contactTold: NoticesTold
}

/** Fields that a state written by an earlier version lacks; those of the presence come from `firstPresence`. */
const ADDED = {
  contactTold: NOTHING_TOLD,
  emergency: null,
  stopId: 0,
  heads: [],
  buffered: null,
  auditLost: 0,
} satisfies Partial<State>

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
    told: Math.floor(mark.wallMs / 1000),
  }
}

const MAGIC = 'HWD1'

const encode = (counter: number, state: State): Buffer => encodeSlot(MAGIC, counter, JSON.stringify(state))

function readSlot(fd: number, index: number): { counter: number; state: State } | null {
  const found = decodeSlot(MAGIC, readSlotBytes(fd, index))
  if (found === null) return null
  const written = JSON.parse(found.text) as State
  const presence = { ...firstPresence(), ...written.presence }
  return { counter: found.counter, state: { ...ADDED, ...written, told: written.told ?? written.epoch, presence } }
}

/** Creates the file with its first state in both slots. @throws StartError if there is one already: a first start happens once. */
export function initState(file: string, first: State): void {
  try {
    createFile(file, Buffer.concat([encode(1, first), encode(2, first)]))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    throw new StartError(`${file} exists already: this home is initialised; start the watchdog without --init`)
  }
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
    const home = path.dirname(path.dirname(file))
    // One word of advice, the right one: a home without a ledger was never started, one with it has lost its witness.
    if (!existsSync(path.join(home, 'ledger.json')))
      throw new StartError(`${file} is missing; run: hub init --home ${home}`)
    const mend = `node ${fileURLToPath(new URL('main.ts', import.meta.url))} --home ${home} --init`
    throw new StartError(
      `${file} is missing: what it knew of log and heartbeat is lost, and no backup holds it. Begin a new witness: ${mend}`,
    )
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
      writeSlotBytes(fd, next, encode(counter + 1, state))
      counter += 1
      next = 1 - next
    },
    close: () => closeSync(fd),
  }
}
