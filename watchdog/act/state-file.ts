/**
 * The watchdog's memory on disk: one file of two preallocated 4 KiB slots, written in place in turn (docs/threats.md 7).
 * S1 a slot is valid only with magic, length and SHA-256 over counter, length and payload; of valid slots the higher counter counts.
 * S2 a write goes to the other slot and is synced; only then does its counter count: a torn write loses only that write.
 * S3 nothing is allocated after creation, so a full disk does not stop it. S4 a failed write is tried again in the same slot.
 */
import { closeSync, copyFileSync, existsSync, openSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { StartError } from '../base/home.ts'
import { decodeSlot, encodeSlot, readSlotBytes, writeSlotBytes } from '../base/slot.ts'
import { createFile } from '../base/whole-file.ts'
import { type State, stateOf } from '../judge/state.ts'

const MAGIC = 'HWD1'

const encode = (counter: number, state: State): Buffer => encodeSlot(MAGIC, counter, JSON.stringify(state))

function readSlot(fd: number, index: number): { counter: number; state: State } | null {
  const found = decodeSlot(MAGIC, readSlotBytes(fd, index))
  if (found === null) return null
  return { counter: found.counter, state: stateOf(found.text) }
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
  /** The state at opening; null if neither slot could be read (a copy was put aside). */
  readonly found: State | null
  readonly quarantined: string | null
  /** Writes and syncs; throws if the disk refused it, and then the older state still counts. */
  save(state: State): void
  close(): void
}

/** Opens the state of an initialised home. @throws StartError if it is missing: a lost state must be visible, never silently replaced. */
export function openState(file: string, wallMs: number): StateFile {
  let fd: number
  try {
    fd = openSync(file, 'r+')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw new StartError(`${file} cannot be opened (${(error as Error).message}); fix its mode or owner`)
    }
    const home = path.dirname(path.dirname(file))
    // Only the advice that fits: a home without a ledger was never started, one with a ledger has lost its witness.
    if (!existsSync(path.join(home, 'ledger.json')))
      throw new StartError(`${file} is missing; run: hub init --home ${home}`)
    const again = `node ${fileURLToPath(new URL('../main.ts', import.meta.url))} --home ${home} --init`
    throw new StartError(
      `${file} is missing. What it knew of the audit log and the heartbeat is lost, and no backup has it. To begin again without it run: ${again}`,
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
