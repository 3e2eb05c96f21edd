/** The smallest program or library for Linux that says what the image assembly reads: machine, loader, what it needs. It cannot run. */

/** One loaded segment from byte 0, one with the loader's path, one with the dynamic entries. */
export function smallElf(says: {
  machine: number
  interpreter?: string
  needed?: readonly string[]
  folders?: string
}): Buffer {
  const { machine, interpreter, needed = [], folders } = says
  const segments = interpreter === undefined ? 2 : 3
  const bodyAt = 64 + segments * 56
  // Offset 0 of the names is the empty one.
  const texts = folders === undefined ? needed : [...needed, folders]
  const names = Buffer.from(`\0${texts.map((name) => `${name}\0`).join('')}`)
  const loader = Buffer.from(interpreter === undefined ? '' : `${interpreter}\0`)
  const dynamicAt = bodyAt + names.length + loader.length
  const dynamic = Buffer.alloc((texts.length + 2) * 16)
  let nameAt = 1
  texts.forEach((name, nth) => {
    dynamic.writeBigUInt64LE(nth < needed.length ? 1n : 29n, nth * 16)
    dynamic.writeBigUInt64LE(BigInt(nameAt), nth * 16 + 8)
    nameAt += name.length + 1
  })
  // Where it is loaded, not where it stands in the file: 0x1000 further on.
  dynamic.writeBigUInt64LE(5n, texts.length * 16)
  dynamic.writeBigUInt64LE(BigInt(0x1000 + bodyAt), texts.length * 16 + 8)
  const head = Buffer.alloc(bodyAt)
  head.write('\x7fELF\x02\x01\x01', 0, 'latin1')
  head.writeUInt16LE(3, 16)
  head.writeUInt16LE(machine, 18)
  head.writeBigUInt64LE(64n, 32)
  head.writeUInt16LE(56, 54)
  head.writeUInt16LE(segments, 56)
  const segment = (nth: number, type: number, offset: number, size: number) => {
    const at = 64 + nth * 56
    head.writeUInt32LE(type, at)
    head.writeBigUInt64LE(BigInt(offset), at + 8)
    head.writeBigUInt64LE(BigInt(0x1000 + offset), at + 16)
    head.writeBigUInt64LE(BigInt(size), at + 32)
  }
  segment(0, 1, 0, dynamicAt + dynamic.length)
  segment(1, 2, dynamicAt, dynamic.length)
  if (interpreter !== undefined) segment(2, 3, bodyAt + names.length, loader.length)
  return Buffer.concat([head, names, loader, dynamic])
}
