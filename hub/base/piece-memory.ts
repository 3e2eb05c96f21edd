/**
 * The memory of pieces that were read from a connection. V8 knows of it only as a number: after some 15 MiB of pieces it looks through its whole heap
 * for those that nobody holds. While one agent pulled a large body, that took a third of the hub's time and stopped everybody for tens of milliseconds
 * each. A piece that was given back costs none of it.
 */

/** Gives the memory of a whole piece back at once; its bytes, and every view of them, are gone. A piece that shares its memory is left alone. */
export function giveBack({ buffer, byteOffset, length }: Buffer): void {
  if (buffer instanceof ArrayBuffer && byteOffset === 0 && length === buffer.byteLength) buffer.transfer(0)
}
