/**
 * `<home>/stop-wishes`: what was to be stopped while the store could not be written, so that it stays stopped (I6).
 *
 * W1. The file has its blocks from the beginning; it is written in place and synced, one slot for each wish. So a wish is kept even with a
 *     full disk, a limit on file sizes or a failing database, and a crash right after does not lose it.
 * W2. Each slot has a checksum and a number that only rises. The database keeps the number up to which wishes were carried out, in the
 *     transaction that did so: none is carried out twice, however a slot is cleared.
 * W3. The last slot says that not every wish found room, or that a slot is damaged: then everything is held. It also counts the stops
 *     whose records were lost that way.
 */
import { closeSync, constants, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { sha256Hex } from '../../base/canonical.ts'
import { type OperationName, operationOf, PRINCIPAL_KINDS } from '../../protocol/operations.ts'
import type { Principal } from '../principal.ts'

export const WISH_BYTES = 1024
export const WISHES_MAX = 127
const FILE_BYTES = WISH_BYTES * (WISHES_MAX + 1)
const CHECK_LENGTH = 64
/** Longer reasons are cut: they must not cost a wish its place. */
const REASON_MAX = 100
const EMPTY = Buffer.alloc(WISH_BYTES)

export interface StopWish {
  readonly serial: number
  readonly atMs: number
  readonly principal: Pick<Principal, 'kind' | 'id'>
  readonly operation: OperationName
  readonly resource: string
  /** The request, as the operation's handler takes it. */
  readonly request: unknown
  readonly payloadHash?: string
}

/** Where a wish waits: `file` survives a restart, `memory` does not; `all_held`: it has no place of its own, and everything is held instead. */
export type Kept = 'file' | 'memory' | 'all_held'

export interface StopWishes {
  /** On disk when it returns, if the disk takes it. The same wish again takes no second slot; then it is not `isNew`. */
  keep(wish: Omit<StopWish, 'serial'>): { kept: Kept; serial: number; isNew: boolean }
  /** Withdraws a wish that was refused for its own sake. */
  drop(serial: number): void
  /** What waits, in the order in which it was wished. */
  waiting(): readonly StopWish[]
  /** Whether there was no room for every wish, or a slot cannot be read. */
  readonly allHeld: boolean
  /** How many stops were accepted whose records did not survive the last restart. */
  readonly lostRecords: number
  /** The number to record with what was carried out. */
  lastSerial(): number
  /** What waited is carried out and committed. */
  clear(): void
  close(): void
}

/** The bytes of one slot: checksum, then JSON, then zeros; undefined if it does not fit. */
export function encodeSlot(value: object): Buffer | undefined {
  const text = JSON.stringify(value)
  const slot = Buffer.alloc(WISH_BYTES)
  const body = Buffer.from(`${sha256Hex(text)}${text}`)
  if (body.length > WISH_BYTES) return undefined
  body.copy(slot)
  return slot
}

/** What a slot says; undefined if it is empty, `damaged` if it cannot be understood. */
function decodeSlot(slot: Buffer): Record<string, unknown> | 'damaged' | undefined {
  if (slot.every((byte) => byte === 0)) return undefined
  const text = slot.toString('utf8').replace(/\0+$/, '')
  const body = text.slice(CHECK_LENGTH)
  if (sha256Hex(body) !== text.slice(0, CHECK_LENGTH)) return 'damaged'
  return JSON.parse(body) as Record<string, unknown>
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/** A slot that holds no valid wish, such as one of a newer hub, counts as damaged: then everything is held (W3). */
function isWish(value: object): value is StopWish {
  const { serial, atMs, principal, operation, resource, payloadHash } = value as Record<keyof StopWish, unknown>
  return (
    Number.isSafeInteger(serial) &&
    Number.isFinite(atMs) &&
    isRecord(principal) &&
    PRINCIPAL_KINDS.some((kind) => kind === principal.kind) &&
    typeof principal.id === 'string' &&
    typeof operation === 'string' &&
    operationOf(operation) !== undefined &&
    typeof resource === 'string' &&
    (payloadHash === undefined || typeof payloadHash === 'string')
  )
}

/** What a wish is about. Another reason does not make it another wish. */
const aimOf = ({ operation, resource, request }: Omit<StopWish, 'serial'>): string =>
  JSON.stringify([operation, resource, { ...(request as object), reason: undefined }])

function shortened<Wish extends { request: unknown }>(wish: Wish): Wish {
  const { reason } = (wish.request ?? {}) as { reason?: unknown }
  if (typeof reason !== 'string' || reason.length <= REASON_MAX) return wish
  return { ...wish, request: { ...(wish.request as object), reason: reason.slice(0, REASON_MAX) } }
}

/** The file, grown to its full size; undefined if that fails, and then wishes wait in memory. */
function openSlots(home: string): number | undefined {
  let fd: number | undefined
  try {
    fd = openSync(join(home, 'stop-wishes'), constants.O_RDWR | constants.O_CREAT, 0o600)
    const { size } = fstatSync(fd)
    if (size < FILE_BYTES) {
      // Its content is kept: an earlier start may have been cut short here.
      writeSync(fd, Buffer.alloc(FILE_BYTES - size), 0, FILE_BYTES - size, size)
      fdatasyncSync(fd)
    }
    return fd
  } catch {
    if (fd !== undefined) closeSync(fd)
    return undefined
  }
}

/** Makes the file that holds no wish; one that is there is left as it is. */
export function makeStopWishes(home: string): void {
  const fd = openSlots(home)
  if (fd !== undefined) closeSync(fd)
}

/** Reads what has waited since before the start. `doneUpTo`: everything up to this number was carried out. */
export function createStopWishes(parts: { home: string; doneUpTo: number }): StopWishes {
  const fd = openSlots(parts.home)
  const wishes: { wish: StopWish; slot: number | undefined }[] = []
  let allHeld = false
  let lost = 0
  let lostBefore = 0
  let serial = parts.doneUpTo
  if (fd !== undefined) read(fd)

  function read(file: number): void {
    for (let slot = 0; slot <= WISHES_MAX; slot += 1) {
      const bytes = Buffer.alloc(WISH_BYTES)
      readSync(file, bytes, 0, WISH_BYTES, slot * WISH_BYTES)
      const found = decodeSlot(bytes)
      if (found === undefined) continue
      if (found === 'damaged') allHeld = true
      else if (slot === WISHES_MAX) readNote(found)
      else if (!isWish(found)) allHeld = true
      else if (found.serial <= parts.doneUpTo) write(slot, EMPTY)
      else wishes.push({ wish: found, slot })
    }
    wishes.sort((a, b) => a.wish.serial - b.wish.serial)
    serial = Math.max(serial, wishes.at(-1)?.wish.serial ?? 0)
  }

  function readNote(found: Record<string, unknown>): void {
    const noted = Number(found.serial)
    if (noted <= parts.doneUpTo) return void write(WISHES_MAX, EMPTY)
    allHeld ||= found.allHeld === true
    lostBefore = Number(found.lost ?? 0)
    serial = Math.max(serial, noted)
  }

  /** Answers whether the bytes are on the disk. */
  function write(slot: number, bytes: Buffer): boolean {
    if (fd === undefined) return false
    try {
      writeSync(fd, bytes, 0, WISH_BYTES, slot * WISH_BYTES)
      fdatasyncSync(fd)
      return true
    } catch {
      return false
    }
  }
  const note = (): boolean => write(WISHES_MAX, encodeSlot({ serial, allHeld, lost: lost + lostBefore }) ?? EMPTY)

  function freeSlot(): number | undefined {
    const taken = new Set(wishes.map(({ slot }) => slot))
    for (let slot = 0; slot < WISHES_MAX; slot += 1) if (!taken.has(slot)) return slot
    return undefined
  }

  return {
    keep(wanted) {
      const aim = aimOf(wanted)
      const known = wishes.find(({ wish }) => aimOf(wish) === aim)
      if (known !== undefined) {
        lost += 1
        note()
        return { kept: known.slot === undefined ? 'memory' : 'file', serial: known.wish.serial, isNew: false }
      }
      serial += 1
      const wish = shortened({ ...wanted, serial })
      const slot = freeSlot()
      const bytes = encodeSlot(wish)
      if (slot === undefined || bytes === undefined) {
        allHeld = true
        lost += 1
        return { kept: note() ? 'all_held' : 'memory', serial, isNew: false }
      }
      const isKept = write(slot, bytes)
      wishes.push({ wish, slot: isKept ? slot : undefined })
      return { kept: isKept ? 'file' : 'memory', serial, isNew: true }
    },
    drop(gone) {
      const at = wishes.findIndex(({ wish }) => wish.serial === gone)
      const [dropped] = at === -1 ? [] : wishes.splice(at, 1)
      if (dropped?.slot !== undefined) write(dropped.slot, EMPTY)
    },
    waiting: () => wishes.map(({ wish }) => wish),
    get allHeld() {
      return allHeld
    },
    get lostRecords() {
      return lostBefore
    },
    lastSerial: () => serial,
    clear() {
      for (const { slot } of wishes.splice(0)) if (slot !== undefined) write(slot, EMPTY)
      if (allHeld || lost + lostBefore > 0) for (let slot = 0; slot <= WISHES_MAX; slot += 1) write(slot, EMPTY)
      allHeld = false
      lost = 0
      lostBefore = 0
    },
    close() {
      if (fd !== undefined) closeSync(fd)
    },
  }
}
