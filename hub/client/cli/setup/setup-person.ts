/**
 * Reads a person's answers line by line, from a terminal or a pipe. Lines that come early wait for the next questions, so several pasted lines
 * answer several questions. A secret is never shown: only the answer to the open question is echoed, and no line goes into a history.
 */
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { Problem } from '../../problem.ts'
import type { Ask } from './setup-answers.ts'

export interface Person {
  ask: Ask
  /** Whether any line has come. */
  readonly hasAnswered: boolean
  close(): void
}
type Screen = NodeJS.WritableStream & { columns?: number }

const ended = (): Problem =>
  new Problem('interrupted', 'fault', 'setup was ended; answers so far are kept', '`hub setup` continues')

/** `isTerminal`: a person is at both ends, so this module decides what is shown. */
export function createPerson(input: NodeJS.ReadableStream, screen: Screen, isTerminal: boolean): Person {
  let isShown = false
  let isOver = false
  let hasAnswered = false
  const lines: string[] = []
  let waiting: ((line: string | undefined) => void) | undefined
  const echo = new Writable({
    write(piece, _, done) {
      if (isShown) screen.write(piece)
      done()
    },
  })
  Object.defineProperty(echo, 'columns', { get: () => screen.columns })
  const reader = createInterface({
    ...{ input, terminal: isTerminal, historySize: 0, crlfDelay: Number.POSITIVE_INFINITY },
    ...(isTerminal ? { output: echo } : {}),
  })
  const hand = (line: string | undefined) => {
    const take = waiting
    waiting = undefined
    take?.(line)
  }
  reader.on('line', (line) => {
    // At once, because the rest of the same chunk may be a secret.
    isShown = false
    hasAnswered = true
    if (waiting === undefined) lines.push(line)
    else hand(line)
  })
  reader.on('SIGINT', () => {
    lines.length = 0
    reader.close()
  })
  reader.on('close', () => {
    isOver = true
    hand(undefined)
  })

  const next = (prompt: string, isSecret: boolean): Promise<string | undefined> | string | undefined => {
    const ready = lines.shift()
    if (ready !== undefined || isOver || isSecret || !isTerminal) screen.write(prompt)
    if (ready !== undefined) return ready
    if (isOver) return undefined
    if (isTerminal && !isSecret) {
      isShown = true
      reader.setPrompt(prompt)
      // `true` keeps what was typed ahead.
      reader.prompt(true)
    }
    return new Promise((resolve) => {
      waiting = resolve
    })
  }
  return {
    get hasAnswered() {
      return hasAnswered
    },
    async ask(question, standing, isSecret = false) {
      const wasWaiting = lines.length > 0
      const said = await next(`${question}${standing === undefined ? '' : ` [${standing}]`}: `, isSecret)
      // An answer that was not echoed has not ended its line on the screen.
      if (said === undefined || wasWaiting || isSecret || !isTerminal) screen.write('\n')
      if (said === undefined) throw ended()
      const answer = said.trim()
      if (isSecret) return answer
      return answer === '-' ? '' : answer === '' ? (standing ?? '') : answer
    },
    close: () => reader.close(),
  }
}
