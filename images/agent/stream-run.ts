/**
 * A run of a CLI as its events tell it: what to show of it, and how it ended. Pure.
 *
 * 1. The last end that it tells counts. `ok` is not enough: a CLI whose own sandbox cannot work in ours fails each command and exits 0.
 * 2. A CLI that tells only ends of its steps has ended with its last one, where that wanted nothing more, no error followed, and it exits with 0.
 * 3. A call whose end was not seen, or was too long to be read, may have done something.
 */
import type { ResultFault } from '../../hub/protocol/result-faults.ts'
import type { StopReason } from '../../hub/protocol/stop-reasons.ts'
import type { Exit } from './child.ts'
import type { Seen, Usage } from './stream-events.ts'

/** What is shown of an event. `call` becomes the progress of the task; `trouble` is no sign of work. */
export interface Note {
  kind: 'word' | 'call' | 'trouble'
  text: string
}

export interface StreamValue {
  /** Its last words. */
  text: string
  /** The name that the CLI gave its conversation. */
  conversation?: string
  usage?: Usage
  calls: { done: number; failed: number }
  exitCode?: number
}

export type Verdict =
  | { kind: 'succeeded' }
  | { kind: 'failed'; why: string; code?: ResultFault }
  | { kind: 'crash'; why: string }

export interface StreamRun {
  take(seen: Seen): Note[]
  /** What was still open at the end of the output. */
  close(): Note[]
  /** A line that was too long to be read, by its beginning. */
  skip(head: string, bytes: number): Note
  hasEnded(): boolean
  /** `parted`: it was ended from here after it had told its end. */
  judge(exit: Exit, parted: boolean): Verdict
  value(exit: Exit): StreamValue
  /** Why its model stopped (S4-20); what told no end has failed. */
  reason(): StopReason
}

/** Of the words of a run so many characters are kept. */
const TEXT_CHARS_MAX = 1024 ** 2
const OPEN_CALLS_MAX = 4096
/** A line that was too long and began like this was the end of the run. */
const MEANT_END = /"type"\s*:\s*"(?:result|turn\.completed|turn\.failed)"/

const withReason = (text: string, why: string) => (why === '' ? text : `${text}: ${why}`)

const sumOf = (one: Usage | undefined, other: Usage): Usage => ({
  input: (one?.input ?? 0) + other.input,
  cached: (one?.cached ?? 0) + other.cached,
  output: (one?.output ?? 0) + other.output,
})
const usageOf = (usage: Usage | undefined) => (usage === undefined ? {} : { usage })

export function createStreamRun(): StreamRun {
  const open = new Set<string>()
  const calls = { done: 0, failed: 0 }
  let [conversation, trouble, words] = ['', '', '']
  let pieces: string | undefined
  let end: Extract<Seen, { kind: 'ended' }> | undefined
  let unread: number | undefined
  let counted: Usage | undefined
  /** Why the last step ended, where no other has to follow. */
  let last: StopReason | undefined

  const speak = (text: string): Note[] => {
    words = text
    return text.trim() === '' ? [] : [{ kind: 'word', text }]
  }
  function close(): Note[] {
    const text = pieces
    pieces = undefined
    return text === undefined ? [] : speak(text)
  }
  function returned({ id, ok, words: said }: Extract<Seen, { kind: 'returned' }>): Note[] {
    open.delete(id)
    calls[ok ? 'done' : 'failed'] += 1
    return ok ? [] : [{ kind: 'word', text: withReason('failed', said) }]
  }
  function carry(seen: Seen): Note[] {
    if (seen.kind === 'said') return speak(seen.text.slice(0, TEXT_CHARS_MAX).toWellFormed())
    if (seen.kind === 'returned') return returned(seen)
    if (seen.kind === 'called') {
      if (open.size < OPEN_CALLS_MAX) open.add(seen.id)
      return [{ kind: 'call', text: seen.words }]
    }
    if (seen.kind === 'trouble') {
      last = undefined
      trouble = seen.text
      return [{ kind: 'trouble', text: seen.text }]
    }
    if (seen.kind === 'conversation') conversation = seen.id
    if (seen.kind === 'ended') end = seen
    if (seen.kind === 'step') {
      last = seen.last
      counted = sumOf(counted, seen.usage)
    }
    return []
  }

  function judgeEnd(ok: boolean, why: string, exit: Exit, parted: boolean): Verdict {
    if (!ok) return { kind: 'failed', why: withReason('the program says that it failed', why) }
    if (exit.kind === 'exited' && exit.code !== 0 && !parted)
      return { kind: 'failed', why: `the program said that it succeeded, and ended with exit code ${exit.code}` }
    if (calls.done > 0 || open.size > 0) return { kind: 'succeeded' }
    if (calls.failed === 0 && (end?.text ?? words).trim() !== '') return { kind: 'succeeded' }
    const what = calls.failed > 0 ? `each of its ${calls.failed} calls of a tool failed` : 'it did and said nothing'
    return { kind: 'failed', code: 'nothing_done', why: `the program said that it succeeded, but ${what}` }
  }

  return {
    take(seen) {
      if (seen.kind !== 'said' || !seen.joins) return [...close(), ...carry(seen)]
      pieces = `${pieces ?? ''}${seen.text}`.slice(0, TEXT_CHARS_MAX)
      return []
    },
    close,
    skip(head, bytes) {
      if (MEANT_END.test(head)) unread = bytes
      return { kind: 'word', text: `a line of ${bytes} bytes is too long to be read: ${head}...` }
    },
    hasEnded: () => end !== undefined,
    judge(exit, parted) {
      if (exit.kind === 'not_started')
        return { kind: 'failed', code: 'not_started', why: `the program could not be started: ${exit.why}` }
      if (unread !== undefined)
        return {
          kind: 'failed',
          code: 'result_unreadable',
          why: `its result could not be read: it is a line of ${unread} bytes`,
        }
      if (end !== undefined) return judgeEnd(end.ok, end.error ?? '', exit, parted)
      if (last !== undefined && exit.kind === 'exited' && exit.code === 0) return judgeEnd(true, '', exit, parted)
      if (exit.kind === 'killed') return { kind: 'crash', why: `the program was ended by ${exit.signal}` }
      const how = `the program ended with exit code ${exit.code} and told no end of its work`
      return { kind: 'failed', why: withReason(how, trouble), ...(exit.code === 0 ? { code: 'nothing_done' } : {}) }
    },
    reason: () => end?.reason ?? last ?? 'error',
    value: (exit) => ({
      text: end?.text?.slice(0, TEXT_CHARS_MAX).toWellFormed() ?? words,
      ...(conversation === '' ? {} : { conversation }),
      ...usageOf(end?.usage ?? counted),
      calls: { ...calls },
      ...(exit.kind === 'exited' ? { exitCode: exit.code } : {}),
    }),
  }
}
