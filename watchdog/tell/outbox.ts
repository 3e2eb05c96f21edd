/**
 * Messages that were raised and not delivered yet: one file of preallocated 4 KiB slots, one message each.
 * B1 a message is on disk before anybody says it was told: kill -9 between raising and delivering loses none. B2 nothing is allocated
 * after creation, so a full disk does not stop it; a write that fails keeps the message in memory, says so, and is tried again.
 * B3 bounded: `put` refuses a message that finds no slot. B4 damage costs only the damaged slots: a copy is kept, the rest is read.
 */
import { closeSync, copyFileSync, fstatSync, openSync } from 'node:fs'
import { decodeSlot, encodeSlot, readSlotBytes, SLOT_BYTES, writeSlotBytes } from '../base/slot.ts'
import { createFile } from '../base/whole-file.ts'

export const OUTBOX_SLOTS = 256
const MAGIC = 'HWO1'
const EMPTY = Buffer.alloc(SLOT_BYTES)

export interface Kept<T> {
  /** Rises with every message; the order of raising. */
  readonly seq: number
  readonly value: T
}

export interface Outbox<T> {
  list(): readonly Kept<T>[]
  /** False if every slot is taken. @throws if the message does not fit a slot. */
  put(value: T): boolean
  remove(seq: number): void
  /** Writes again what could not be written to disk. */
  flush(): void
  /** Why messages are only in memory; null if all are on disk. */
  fault(): string | null
  /** What opening found damaged; null if all was whole. */
  readonly damage: string | null
  close(): void
}

interface Held<T> extends Kept<T> {
  readonly slot: number
  readonly bytes: Buffer
  saved: boolean
}

/** Opens the file, or creates it. Never throws for a disk that is full or a file that is damaged. */
export function openOutbox<T>(file: string, wallMs: number): Outbox<T> {
  const held = new Map<number, Held<T>>()
  const taken = new Set<number>()
  /** Slots whose removal could not be written to disk. */
  const dirty = new Set<number>()
  let fd: number | null = null
  let fault: string | null = null
  let damage: string | null = null
  let last = 0

  function create(): void {
    try {
      createFile(file, Buffer.concat(Array.from({ length: OUTBOX_SLOTS }, () => EMPTY)))
      fd = openSync(file, 'r+')
    } catch (error) {
      fault = (error as Error).message
    }
  }

  function read(from: number): void {
    const broken: number[] = []
    for (let slot = 0; slot < OUTBOX_SLOTS; slot += 1) {
      const bytes = readSlotBytes(from, slot)
      if (bytes.equals(EMPTY)) continue
      const found = decodeSlot(MAGIC, bytes)
      if (found === null) {
        broken.push(slot)
        continue
      }
      last = Math.max(last, found.counter)
      taken.add(slot)
      held.set(found.counter, { seq: found.counter, value: JSON.parse(found.text) as T, slot, bytes, saved: true })
    }
    if (broken.length === 0 && fstatSync(from).size === OUTBOX_SLOTS * SLOT_BYTES) return
    const aside = `${file}.corrupt-${wallMs}`
    let copy = `a copy is kept in ${aside}`
    try {
      copyFileSync(file, aside)
    } catch (error) {
      copy = `no copy could be kept (${(error as Error).message})`
    }
    damage = `${broken.length} of ${OUTBOX_SLOTS} places for waiting messages were damaged, ${held.size} messages were read; ${copy}`
    for (const slot of broken) dirty.add(slot)
  }

  function flush(): void {
    if (fd === null) create()
    if (fd === null) return
    try {
      for (const slot of dirty) {
        writeSlotBytes(fd, slot, EMPTY)
        dirty.delete(slot)
      }
      for (const one of held.values()) {
        if (one.saved) continue
        writeSlotBytes(fd, one.slot, one.bytes)
        one.saved = true
      }
      fault = null
    } catch (error) {
      fault = (error as Error).message
    }
  }

  try {
    fd = openSync(file, 'r+')
    read(fd)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') create()
    else fault = (error as Error).message
  }
  flush()

  return {
    list: () => [...held.values()].sort((a, b) => a.seq - b.seq),
    put(value) {
      let slot = 0
      while (taken.has(slot)) slot += 1
      if (slot >= OUTBOX_SLOTS) return false
      const seq = last + 1
      const bytes = encodeSlot(MAGIC, seq, JSON.stringify(value))
      last = seq
      taken.add(slot)
      dirty.delete(slot)
      held.set(seq, { seq, value, slot, bytes, saved: false })
      flush()
      return true
    },
    remove(seq) {
      const one = held.get(seq)
      if (one === undefined) return
      held.delete(seq)
      taken.delete(one.slot)
      dirty.add(one.slot)
      flush()
    },
    flush,
    fault: () => fault,
    damage,
    close() {
      if (fd !== null) closeSync(fd)
      fd = null
    },
  }
}
