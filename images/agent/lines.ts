/**
 * Bytes to lines. Pure: how the bytes were cut into chunks never changes what comes out, and never more than one line is kept.
 * A line longer than the limit comes out as its length and its beginning; what follows it is read as usual.
 */

/** One line without its line feed, or the beginning of one that was too long. */
export interface Line {
  bytes: Buffer
  /** Bytes of the whole line, where it was longer than the limit. */
  tooLong?: number
  /** All of such a line, where the splitter keeps that much. */
  whole?: Buffer
}

export interface LineSplitter {
  push(chunk: Buffer): Line[]
  /** What came after the last line feed. */
  end(): Line[]
}

export const LINE_BYTES_MAX = 64 * 1024
/** How much of a line that was too long is kept, to show what it was. */
const HEAD_BYTES = 200
const LINE_FEED = 10

/** `wholeMax`: up to here a line that is too long for an operation is kept whole beside its beginning. */
export function createLineSplitter(bytesMax = LINE_BYTES_MAX, wholeMax = 0): LineSplitter {
  let parts: Buffer[] = []
  let length = 0

  function keep(bytes: Buffer): void {
    const room = Math.max(bytesMax, wholeMax) - length
    // A copy: a slice would keep the whole chunk alive.
    if (room > 0 && bytes.length > 0) parts.push(Buffer.from(bytes.subarray(0, room)))
    length += bytes.length
  }
  function take(): Line {
    const bytes = Buffer.concat(parts)
    const long = {
      bytes: bytes.subarray(0, HEAD_BYTES),
      tooLong: length,
      ...(length <= wholeMax ? { whole: bytes } : {}),
    }
    const line = length > bytesMax ? long : { bytes }
    parts = []
    length = 0
    return line
  }
  return {
    push(chunk) {
      const lines: Line[] = []
      let start = 0
      for (let at = chunk.indexOf(LINE_FEED); at !== -1; at = chunk.indexOf(LINE_FEED, start)) {
        keep(chunk.subarray(start, at))
        lines.push(take())
        start = at + 1
      }
      keep(chunk.subarray(start))
      return lines
    },
    end: () => (length === 0 ? [] : [take()]),
  }
}

/** An object as one line. JSON escapes line feeds, so there is exactly one, at the end. */
export const lineOf = (value: object): string => `${JSON.stringify(value)}\n`
