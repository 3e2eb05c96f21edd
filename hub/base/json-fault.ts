/** Where a text stops being JSON, and what is wrong there, for people: JSON.parse names no place for most faults. */

export interface JsonFault {
  offset: number
  what: string
}

const DEPTH_MAX = 64

/** The first fault of the text, or undefined if it is JSON (RFC 8259). Pure; deeper than 64 counts as a fault. */
export function findJsonFault(text: string): JsonFault | undefined {
  let at = 0
  const fail = (what: string, offset = at): never => {
    throw new Found({ offset, what })
  }
  const rest = () => text.slice(at)
  const skip = () => {
    at += /^[ \t\r\n]*/.exec(rest())?.[0].length ?? 0
  }
  const shown = () =>
    at >= text.length ? 'the end of the file' : JSON.stringify(String.fromCodePoint(text.codePointAt(at) ?? 0))

  function string(): void {
    const start = at
    at += 1
    for (;;) {
      const sign = text[at]
      if (sign === undefined || sign === '\n') fail('a text that is not closed: a " is missing at its end', start)
      if (sign === '"') break
      if (sign === '\\' && !/^\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/.test(text.slice(at, at + 6)))
        fail('a backslash that means nothing; write \\\\ for one')
      if ((sign ?? '') < ' ') fail('a control character in a text')
      at += sign === '\\' ? 2 : 1
    }
    at += 1
  }

  function listOf(close: string, what: string, entry: () => void): void {
    at += 1
    skip()
    if (text[at] === close) {
      at += 1
      return
    }
    for (;;) {
      skip()
      if (text[at] === close) fail(`a comma before ${close}; take it out`)
      entry()
      skip()
      if (text[at] === close) break
      if (text[at] !== ',') fail(`${shown()} where a comma or the ${close} of ${what} belongs`)
      at += 1
    }
    at += 1
  }

  function value(depth: number): void {
    if (depth > DEPTH_MAX) fail('nested too deeply')
    skip()
    const sign = text[at]
    if (sign === '{')
      listOf('}', 'the object', () => {
        if (text[at] === "'") fail('a key must be in double quotes')
        if (text[at] !== '"') fail(`${shown()} where a key in double quotes belongs`)
        string()
        skip()
        if (text[at] !== ':') fail(`${shown()} where a colon belongs`)
        at += 1
        value(depth + 1)
      })
    else if (sign === '[') listOf(']', 'the list', () => value(depth + 1))
    else if (sign === '"') string()
    else {
      const found = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.+-])/.exec(rest())
      if (found !== null) at += found[0].length
      else if (/^(?:\/\/|\/\*|#)/.test(rest())) fail('JSON has no comments; take it out')
      else fail(`${shown()} where a value belongs`)
    }
  }

  try {
    value(0)
    skip()
    if (at < text.length) fail(`${shown()} after the end`)
    return undefined
  } catch (thrown) {
    if (thrown instanceof Found) return thrown.fault
    throw thrown
  }
}

class Found extends Error {
  readonly fault: JsonFault
  constructor(fault: JsonFault) {
    super(fault.what)
    this.fault = fault
  }
}

/** One-based line and column of an offset. */
export function placeOf(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset)
  const line = before.split('\n').length
  return { line, column: offset - before.lastIndexOf('\n') }
}
