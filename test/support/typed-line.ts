/** A line as a person types it: in a shell, at a terminal of its own (`script` of util-linux), where each question is answered once it is asked. */
import { spawn } from 'node:child_process'
import { stripVTControlCharacters } from 'node:util'

export interface Typed {
  code: number | null
  /** Whatever the terminal showed. */
  shown: string
}

/** Guards against a question that nobody answers: nothing here is silent for so long. */
const SILENT_MS_MAX = 120_000

/** `answers`: the beginning of a question, and what is typed once it stands there; each once. Throws if the line ends with a question left. */
export function typeLine(
  line: string,
  options: { env: Record<string, string | undefined>; cwd: string; answers?: Readonly<Record<string, string>> },
): Promise<Typed> {
  const { env, cwd, answers = {} } = options
  const child = spawn('script', ['-qefc', `stty cols 120; ${line}`, '/dev/null'], {
    env: { ...env, SHELL: '/bin/bash', TERM: 'dumb' },
    cwd,
  })
  const left = new Map(Object.entries(answers))
  let shown = ''
  let read = 0
  const silence = setTimeout(() => child.kill('SIGKILL'), SILENT_MS_MAX)
  child.stdout.on('data', (piece: Buffer) => {
    silence.refresh()
    shown += stripVTControlCharacters(piece.toString())
    for (const [question, answer] of left) {
      const at = shown.indexOf(question, read)
      if (at < 0) continue
      read = at + question.length
      left.delete(question)
      // The input stays open: its end would be the end of the terminal.
      child.stdin.write(`${answer}\n`)
    }
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(silence)
      if (signal !== null) reject(new Error(`${line}: ${signal} after ${shown}`))
      else if (left.size > 0) reject(new Error(`${line}: nobody asked ${[...left.keys()].join(', ')}: ${shown}`))
      else resolve({ code, shown })
    })
  })
}
