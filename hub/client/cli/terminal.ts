/** Where the command writes: results on stdout, progress on stderr; one line kept up to date on a terminal, plain lines elsewhere. */
import { once } from 'node:events'
import { createInterface } from 'node:readline/promises'
import { styleText } from 'node:util'
import { usage } from '../problem.ts'
import { clauses, clean, jsonText, type Paint, type Style } from './text.ts'

export interface Terminal {
  /** Text that is already safe: built by the functions of text.ts. */
  out(text: string): void
  json(value: unknown): void
  /** Writes bytes as they are and waits for the reader; false once nobody reads any more (`| head`, a full disk). */
  bytes(part: Uint8Array | string): Promise<boolean>
  note(text: string): void
  /** What is wrong, in one line; on a terminal that is too narrow for it in several. */
  fault(text: string): void
  /** Progress: replaces the last one on a terminal; elsewhere a line whenever it changes. An empty text ends it. */
  live(text: string): void
  /** Whether `live` replaces its line. */
  readonly renews?: boolean
  /** Its width is undefined where results go to a file or a program. */
  paint: Paint
  /** Whether a person is at both ends, input and output. */
  readonly interactive: boolean
  /** Why results could not be written; undefined if all were. A closed pipe is no fault. */
  outputFault?(): string | undefined
  /** Asks once; without a person to ask, `--yes` is needed. @throws Problem usage */
  confirm(question: string, yes: boolean): Promise<boolean>
}

/** One end of a process: a terminal, a pipe or a file. */
type In = NodeJS.ReadableStream & { isTTY?: boolean }
type Out = NodeJS.WritableStream & { isTTY?: boolean; columns?: number }

export function createTerminal(stdin: In, stdout: Out, stderr: Out): Terminal {
  let shown = ''
  let fault: string | undefined
  let isGone = false
  // An output that fails must not end a stop that is under way. `| head` closes the pipe, which is no fault.
  stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    isGone = true
    if (code !== 'EPIPE') fault ??= code ?? message
  })
  stderr.on('error', () => undefined)
  const wipe = () => {
    if (shown !== '' && stderr.isTTY) stderr.write('\r\x1b[2K')
    shown = ''
  }
  const note = (text: string) => {
    wipe()
    stderr.write(`${clean(text)}\n`)
  }
  return {
    interactive: Boolean(stdin.isTTY && stderr.isTTY),
    renews: Boolean(stderr.isTTY),
    outputFault: () => fault,
    paint: Object.assign((style: Style, text: string) => styleText(style, text, { stream: stdout }), {
      width: stdout.isTTY ? stdout.columns : undefined,
    }),
    out(text) {
      wipe()
      stdout.write(`${text}\n`)
    },
    json(value) {
      wipe()
      stdout.write(`${jsonText(value)}\n`)
    },
    async bytes(part) {
      if (!isGone && !stdout.write(part)) await once(stdout, 'drain').catch(() => undefined)
      return !isGone
    },
    note,
    fault(text) {
      for (const line of stderr.isTTY ? clauses(text, stderr.columns ?? 80) : [text]) note(line)
    },
    live(text) {
      const line = clean(text)
      if (line === shown) return
      if (!stderr.isTTY) {
        if (line !== '') stderr.write(`${line}\n`)
        shown = line
        return
      }
      wipe()
      shown = [...line].slice(0, Math.max(20, (stderr.columns ?? 80) - 1)).join('')
      stderr.write(shown)
    },
    async confirm(question, yes) {
      if (yes) return true
      if (!stdin.isTTY || !stderr.isTTY) throw usage('confirmation needed, but this is not a terminal', 'add --yes')
      const asked = createInterface({ input: stdin, output: stderr })
      try {
        return /^y(es)?$/i.test((await asked.question(`${question} [y/N] `)).trim())
      } finally {
        asked.close()
      }
    },
  }
}
