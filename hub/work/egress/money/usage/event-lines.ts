/**
 * Server-sent events that come in pieces: hands on the bytes of each event's `data`, and says when the event is over. Everything else of a
 * stream (names, ids, comments) is passed over. Pure; it keeps no more than the name of a field.
 */

export interface EventLines {
  push(bytes: Uint8Array): void
}

const [LF, CR, COLON, SPACE] = [10, 13, 58, 32]
const NEW_LINE = Uint8Array.of(LF)
/** `data`, and one more to tell it from a longer name. */
const NAME_MAX = 5

export function createEventLines(on: {
  data: (bytes: Uint8Array, from: number, to: number) => void
  /** An event with data is over. */
  over: () => void
}): EventLines {
  let part: 'name' | 'space' | 'data' | 'other' = 'name'
  let name = ''
  let isEmpty = true
  let lines = 0
  let afterCr = false

  function endLine(): void {
    // A field without a colon has no value; `data` alone is an empty line of data.
    if (part === 'name' && name === 'data') lines += 1
    if (isEmpty && lines > 0) {
      lines = 0
      on.over()
    }
    part = 'name'
    name = ''
    isEmpty = true
  }

  return {
    push(bytes) {
      let at = 0
      while (at < bytes.length) {
        const byte = bytes[at] ?? 0
        if (afterCr && byte === LF) {
          afterCr = false
          at += 1
          continue
        }
        afterCr = byte === CR
        if (byte === LF || byte === CR) {
          endLine()
          at += 1
          continue
        }
        isEmpty = false
        if (part === 'name') {
          if (byte !== COLON) {
            if (name.length < NAME_MAX) name += String.fromCharCode(byte)
          } else if (name === 'data') {
            if (lines > 0) on.data(NEW_LINE, 0, 1)
            lines += 1
            part = 'space'
          } else part = 'other'
          at += 1
          continue
        }
        if (part === 'space') {
          part = 'data'
          if (byte === SPACE) {
            at += 1
            continue
          }
        }
        let end = at
        while (end < bytes.length && bytes[end] !== LF && bytes[end] !== CR) end += 1
        if (part === 'data') on.data(bytes, at, end)
        at = end
      }
    },
  }
}
