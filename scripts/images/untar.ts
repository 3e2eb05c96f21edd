/** Reads archives as they come, piece by piece: an image that stands on another is made while that one is read. */

const BLOCK = 512
const HELD_MAX = 4 * 1024 ** 2

/** One member of an archive: its header blocks as they stood, and its content, to be read before the next member is asked for. */
export interface Member {
  path: string
  type: string
  bytes: number
  /** Its own header, and those that belong to it (long names). */
  heads: Buffer
  /** Without padding. */
  content: AsyncIterable<Buffer>
}

const textAt = (header: Buffer, start: number, end: number) => header.toString('utf8', start, end).replace(/\0.*$/s, '')

/** Throws if the archive breaks off. */
export async function* membersOf(stream: AsyncIterable<Buffer>): AsyncGenerator<Member> {
  const pieces = stream[Symbol.asyncIterator]()
  let held: Buffer = Buffer.alloc(0)
  /** Between 1 and `most` bytes; none at the end. */
  async function some(most: number): Promise<Buffer> {
    while (held.length === 0) {
      const { done, value } = await pieces.next()
      if (done) return held
      held = value
    }
    const piece = held.subarray(0, most)
    held = held.subarray(piece.length)
    return piece
  }
  async function exactly(count: number): Promise<Buffer> {
    const parts: Buffer[] = []
    for (let left = count; left > 0; ) {
      const piece = await some(left)
      if (piece.length === 0) throw new Error('the archive of the image breaks off')
      parts.push(piece)
      left -= piece.length
    }
    return Buffer.concat(parts)
  }
  const padded = (bytes: number) => Math.ceil(bytes / BLOCK) * BLOCK
  let before: Buffer[] = []
  try {
    for (;;) {
      const header = await exactly(BLOCK)
      if (header.every((byte) => byte === 0)) return
      const bytes = sizeOf(header)
      if (!Number.isSafeInteger(bytes) || bytes < 0) throw new Error('the archive of the image is damaged')
      const type = String.fromCharCode(header[156] ?? 0)
      // Of pax and GNU: what they say counts for the next member.
      if ('xgLK'.includes(type)) {
        if (bytes > HELD_MAX) throw new Error('the archive of the image has a header that is too long')
        before.push(header, await exactly(padded(bytes)))
        continue
      }
      let left = bytes
      async function* content(): AsyncGenerator<Buffer> {
        while (left > 0) {
          const piece = await some(left)
          if (piece.length === 0) throw new Error('the archive of the image breaks off')
          left -= piece.length
          yield piece
        }
      }
      const prefix = textAt(header, 345, 500)
      const name = textAt(header, 0, 100)
      const path = (header.toString('latin1', 257, 262) === 'ustar' && prefix !== '' ? `${prefix}/` : '') + name
      yield { path, type, bytes, heads: Buffer.concat([...before, header]), content: content() }
      before = []
      // What the reader of this member left.
      for await (const _ of content());
      await exactly(padded(bytes) - bytes)
    }
  } finally {
    // Whoever has seen enough closes it.
    await pieces.return?.()
  }
}

/** In octal, or as GNU writes sizes from 8 GiB on. */
function sizeOf(header: Buffer): number {
  if ((header[124] ?? 0) & 0x80) return Number(header.readBigUInt64BE(128))
  return Number.parseInt(textAt(header, 124, 136).trim() || '0', 8)
}

/** The content of the first file of an archive. */
export async function* contentOf(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const { type, content } of membersOf(stream)) {
    if (type !== '0' && type !== '\0') continue
    yield* content
    return
  }
  throw new Error('the archive holds no file')
}

export const paddingOf = (bytes: number): Buffer => Buffer.alloc((BLOCK - (bytes % BLOCK)) % BLOCK)
export const textOf = async (content: AsyncIterable<Buffer>): Promise<string> => {
  const pieces: Buffer[] = []
  for await (const piece of content) pieces.push(piece)
  return Buffer.concat(pieces).toString('utf8')
}
