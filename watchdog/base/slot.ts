/**
 * One slot of a file that is written in place: magic, counter, length, SHA-256 over counter, length and payload, then the payload.
 * A torn or foreign slot can be told from a whole one. Overwriting allocates nothing, so a full disk does not matter.
 */
import { createHash } from 'node:crypto'
import { fsyncSync, readSync, writeSync } from 'node:fs'

export const SLOT_BYTES = 4096
const HEAD_BYTES = 48
/** The largest payload. */
export const PAYLOAD_BYTES_MAX = SLOT_BYTES - HEAD_BYTES

const digest = (counterAndLength: Buffer, payload: Buffer): Buffer =>
  createHash('sha256').update(counterAndLength).update(payload).digest()

/** A whole slot. @throws if the text does not fit. */
export function encodeSlot(magic: string, counter: number, text: string): Buffer {
  const payload = Buffer.from(text, 'utf8')
  if (payload.length > PAYLOAD_BYTES_MAX) throw new Error(`${payload.length} bytes are too many for a slot`)
  const slot = Buffer.alloc(SLOT_BYTES)
  slot.write(magic, 'latin1')
  slot.writeBigUInt64BE(BigInt(counter), 4)
  slot.writeUInt32BE(payload.length, 12)
  payload.copy(slot, HEAD_BYTES)
  digest(slot.subarray(4, 16), payload).copy(slot, 16)
  return slot
}

/** Counter and text of a slot; null if it is not whole. */
export function decodeSlot(magic: string, slot: Buffer): { counter: number; text: string } | null {
  if (slot.length !== SLOT_BYTES || slot.toString('latin1', 0, 4) !== magic) return null
  const length = slot.readUInt32BE(12)
  if (length > PAYLOAD_BYTES_MAX) return null
  const payload = slot.subarray(HEAD_BYTES, HEAD_BYTES + length)
  if (!digest(slot.subarray(4, 16), payload).equals(slot.subarray(16, HEAD_BYTES))) return null
  return { counter: Number(slot.readBigUInt64BE(4)), text: payload.toString('utf8') }
}

/** The bytes of one slot, fewer at the end of a file that was cut. */
export function readSlotBytes(fd: number, index: number): Buffer {
  const slot = Buffer.alloc(SLOT_BYTES)
  return slot.subarray(0, readSync(fd, slot, 0, SLOT_BYTES, index * SLOT_BYTES))
}

/** Overwrites one slot and syncs it. @throws if the disk did not write it whole. */
export function writeSlotBytes(fd: number, index: number, slot: Buffer): void {
  if (writeSync(fd, slot, 0, SLOT_BYTES, index * SLOT_BYTES) !== SLOT_BYTES) throw new Error('it was not written whole')
  fsyncSync(fd)
}
