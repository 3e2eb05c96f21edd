/** A program for Linux on x86-64 of some hundred bytes that says one line and ends with 0; or one whose loader stands at a path, as it does in an image of musl. */

/** write(1, text), exit(0); the text stands behind it. */
const codeOf = (text: string): Buffer => {
  const head = Buffer.from('b801000000bf01000000488d3510000000ba000000000f05b83c00000031ff0f05', 'hex')
  head.writeUInt32LE(Buffer.byteLength(text), 18)
  return Buffer.concat([head, Buffer.from(text)])
}

/** With `loader` the kernel starts what is at that path in its place. Position-independent, so both fit into one address space. */
export function tinyProgram({ says = '', loader }: { says?: string; loader?: string }): Buffer {
  const segments = loader === undefined ? 1 : 2
  const bodyAt = 64 + segments * 56
  const body = loader === undefined ? codeOf(says) : Buffer.from(`${loader}\0`)
  const head = Buffer.alloc(bodyAt)
  head.write('\x7fELF\x02\x01\x01', 0, 'latin1')
  head.writeUInt16LE(3, 16)
  head.writeUInt16LE(62, 18)
  head.writeUInt32LE(1, 20)
  head.writeBigUInt64LE(BigInt(bodyAt), 24)
  head.writeBigUInt64LE(64n, 32)
  head.writeUInt16LE(64, 52)
  head.writeUInt16LE(56, 54)
  head.writeUInt16LE(segments, 56)
  const segment = (nth: number, type: number, at: number, bytes: number) => {
    const start = 64 + nth * 56
    head.writeUInt32LE(type, start)
    head.writeUInt32LE(5, start + 4)
    for (const field of [8, 16, 24]) head.writeBigUInt64LE(BigInt(at), start + field)
    for (const field of [32, 40]) head.writeBigUInt64LE(BigInt(bytes), start + field)
    head.writeBigUInt64LE(4096n, start + 48)
  }
  // The loader's path stands before what is loaded, as the kernel wants it.
  if (loader !== undefined) segment(0, 3, bodyAt, body.length)
  segment(segments - 1, 1, 0, bodyAt + body.length)
  return Buffer.concat([head, body])
}
