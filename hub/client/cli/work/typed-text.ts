/** A text of several lines on the command line: the text itself, or where it stands. */
import { closeSync, openSync, readSync } from 'node:fs'
import { type Problem, usage } from '../../problem.ts'

const tooLong = (bytesMax: number) => new Error(`it is longer than ${bytesMax} bytes`)
const textOf = (bytes: Uint8Array): string => new TextDecoder('utf-8', { fatal: true }).decode(bytes).trimEnd()
const unread = (what: string, where: string, thrown: unknown, ways: string): Problem =>
  usage(`${what}: ${where} cannot be read: ${(thrown as Error).message}`, `write the text itself, or ${ways}`)

/** A file to its end, and of one that is too long no more than shows it. */
function bytesOf(file: string, bytesMax: number): Buffer {
  const handle = openSync(file, 'r')
  try {
    const kept = Buffer.alloc(bytesMax + 1)
    let size = 0
    for (let read = -1; read !== 0 && size < kept.length; size += read)
      read = readSync(handle, kept, size, kept.length - size, null)
    if (size > bytesMax) throw tooLong(bytesMax)
    return kept.subarray(0, size)
  } finally {
    closeSync(handle)
  }
}

/** The text, or what the file after `@` holds, without the blanks at its end. `bytesMax` bounds the file. @throws Problem usage, naming `what` */
export function typedText(what: string, text: string, bytesMax: number, ways = '@FILE'): string {
  if (!text.startsWith('@')) return text
  const file = text.slice(1)
  try {
    return textOf(bytesOf(file, bytesMax))
  } catch (thrown) {
    throw unread(what, file, thrown, ways)
  }
}

async function piped(bytesMax: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of process.stdin as AsyncIterable<Buffer>) {
    size += part.length
    if (size > bytesMax) throw tooLong(bytesMax)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

/** The same, and `-` is the standard input. It is not empty, and the bound counts for what is written out, too. @throws Problem usage, naming `what` */
export async function typedOrPiped(what: string, text: string, bytesMax: number): Promise<string> {
  const ways = '@FILE, or - for stdin'
  const said =
    text === '-'
      ? await piped(bytesMax)
          .then(textOf)
          .catch((thrown: unknown) => {
            throw unread(what, 'stdin', thrown, ways)
          })
      : typedText(what, text, bytesMax, ways)
  if (Buffer.byteLength(said) > bytesMax) throw usage(`${what} is longer than ${bytesMax} bytes`, 'say less')
  if (said === '') throw usage(`${what} is empty`, `write the text itself, or ${ways}`)
  return said
}
