/**
 * Turns: prompts that a person gives to a session while it lives, one after the other (docs/protocol.md 10).
 *
 * N1. One turn at a time. The next prompt is taken once the turn before has ended; who asks for the next one ends the one before.
 * N2. A turn that was cancelled ends at the hub at once. Its text up to then stands; what its program still says of it is added until it leaves it.
 * N3. Text is sent in pieces a few times a second, in order, at most once. Nothing a program says makes this throw.
 */
import { HubError, toHubError } from '../../base/errors.ts'
import type { StopReason } from '../../protocol/stop-reasons.ts'
import type {
  FrameBody,
  PROMPT_TYPE,
  PromptBody,
  TURN_CANCELLED_TYPE,
  TurnBody,
  TurnCancelledBody,
  TurnUsage,
} from '../../protocol/turn.ts'
import type { Body } from './contract.ts'
import type { TaskHandler } from './task-run.ts'

export type { TurnUsage } from '../../protocol/turn.ts'

/** One prompt, and how to answer it. */
export interface Turn {
  readonly id: string
  /** Counts the turns of this session from 1. */
  readonly number: number
  readonly prompt: string
  /** Resolves once the turn has ended. */
  readonly ended: Promise<void>
  /** Aborted when this turn alone is cancelled, and when the session is to end. */
  readonly signal: AbortSignal
  /** Adds to what the turn says. */
  text(part: string): void
  /** Says that a tool is called. */
  tool(call: { name: string; text?: string }): void
  /** Tokens so far, of the whole session. */
  usage(usage: TurnUsage): void
  /** Ends the turn; a second call does nothing. Resolves once the hub has it. Without a reason: `end_turn`, or `cancelled` if it was. */
  done(stopReason?: StopReason, error?: string): Promise<void>
}

export interface Turns extends AsyncIterable<Turn> {
  /** The next prompt, begun; undefined once the session is to end. Ends the turn before as `end_turn` if it goes on. */
  next(): Promise<Turn | undefined>
}

/** What a turn does with its prompt. What it returns, if it is a text, is added to the turn; a throw ends it as `error`. */
export type PromptHandler = (turn: Turn, signal: AbortSignal) => unknown

/** Their module loads others that no image needs. */
const PROMPT: typeof PROMPT_TYPE = 'turn.prompt'
const CANCELLED: typeof TURN_CANCELLED_TYPE = 'turn.cancelled'
const FLUSH_EVERY_MS = 250
/** Of one frame, in characters: at most 32 KiB as UTF-8. */
const PIECE_CHARS = 8 * 1024
/** Text that waits to be sent, in characters; what comes beyond is left out. */
const UNSENT_CHARS_MAX = 512 * 1024
const UNSENT_CALLS_MAX = 64
const TOOL_NAME_CHARS = 200
const TOOL_TEXT_CHARS = 1000
const ERROR_CHARS_MAX = 4000

/** The beginning of a text, cut between code points. */
function head(text: string, chars: number): string {
  const cut = text.slice(0, chars)
  return /[\ud800-\udbff]$/.test(cut) && cut.length < text.length ? cut.slice(0, -1) : cut
}

export function createTurns(parts: {
  /** Says it to the hub. `patient`: again until it is there. */
  post: (kind: 'turn' | 'frame', body: Body, options: { patient: boolean }) => Promise<unknown>
  /** Does it; where a person has to agree first, waits for the answer and does it again. Throws `approval_refused` after a no. */
  agreed: <Result>(act: () => Promise<Result>) => Promise<Result>
  /** The session is to end. */
  signal: AbortSignal
  warn: (text: string) => void
}) {
  const { post, agreed, signal, warn } = parts
  const waiting: PromptBody[] = []
  let current: { turn: Turn; cancel: () => void } | undefined
  let wake = () => {}
  signal.addEventListener('abort', () => wake(), { once: true })

  /** Undefined: the hub has ended this turn already. */
  async function say(body: TurnBody): Promise<true | undefined> {
    const tell = () => post('turn', body, { patient: true })
    try {
      if (body.state === 'ended') await tell()
      // After a no the hub is asked once more: it ends the turn by the name of that refusal.
      else
        await agreed(tell).catch((thrown) =>
          toHubError(thrown).code === 'approval_refused' ? tell() : Promise.reject(thrown),
        )
      return true
    } catch (thrown) {
      const { code, message } = toHubError(thrown)
      if (code !== 'already_resolved' && !signal.aborted) warn(`a turn was not told to the hub: ${message}`)
      return undefined
    }
  }

  function open({ turn: id, number, prompt }: PromptBody): Turn {
    const abort = new AbortController()
    const cancel = () => abort.abort(new HubError('cancelled', 'the turn was cancelled'))
    let text = ''
    let left = 0
    const calls: NonNullable<FrameBody['tool']>[] = []
    let used: TurnUsage | undefined
    let timer: NodeJS.Timeout | undefined
    let sending = Promise.resolve()
    let ending: Promise<void> | undefined
    let over = () => {}
    const ended = new Promise<void>((resolve) => {
      over = resolve
    })

    const frame = (body: Omit<FrameBody, 'turn'>) => {
      sending = sending
        .then(() => post('frame', { turn: id, ...body }, { patient: false }))
        .then(
          () => {},
          () => {},
        )
    }
    function flush(): Promise<void> {
      clearTimeout(timer)
      timer = undefined
      while (text !== '') {
        const piece = head(text, PIECE_CHARS)
        text = text.slice(piece.length)
        left += piece.length
        frame({ text: piece })
        void sending.then(() => {
          left -= piece.length
        })
      }
      for (const tool of calls.splice(0)) frame({ tool })
      if (used !== undefined) frame({ usage: used })
      used = undefined
      return sending
    }
    const soon = () => {
      timer ??= setTimeout(() => void flush(), FLUSH_EVERY_MS).unref()
    }
    const turn: Turn = {
      ...{ id, number, prompt, ended },
      signal: AbortSignal.any([abort.signal, signal]),
      text(part) {
        if (ending !== undefined) return
        // What was called comes before what is said about it.
        if (calls.length > 0) void flush()
        text += head(String(part).toWellFormed(), Math.max(0, UNSENT_CHARS_MAX - left - text.length))
        if (text !== '') soon()
      },
      tool({ name, text: about }) {
        if (ending !== undefined || calls.length >= UNSENT_CALLS_MAX) return
        if (text !== '') void flush()
        const said = about === undefined ? {} : { text: head(String(about).toWellFormed(), TOOL_TEXT_CHARS) }
        calls.push({ name: head(String(name).toWellFormed(), TOOL_NAME_CHARS) || 'tool', ...said })
        soon()
      },
      usage({ input, cached, output }) {
        if (ending !== undefined) return
        used = { input, cached: cached ?? 0, output }
        soon()
      },
      done(stopReason, error) {
        ending ??= (async () => {
          const usage = used
          used = undefined
          await flush()
          const reason = stopReason ?? (turn.signal.aborted ? 'cancelled' : 'end_turn')
          await say({
            ...{ turn: id, state: 'ended', stopReason: reason },
            ...(usage === undefined ? {} : { usage }),
            ...(error === undefined ? {} : { error: head(error.toWellFormed(), ERROR_CHARS_MAX) }),
          })
          if (current?.turn === turn) current = undefined
          over()
        })()
        return ending
      },
    }
    current = { turn, cancel }
    return turn
  }

  async function take(): Promise<Turn | undefined> {
    for (;;) {
      await current?.turn.done()
      while (waiting.length === 0 && !signal.aborted)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      const prompt = signal.aborted ? undefined : waiting.shift()
      if (prompt === undefined) return undefined
      const turn = open(prompt)
      if (await say({ turn: prompt.turn, state: 'running' })) return turn
      current = undefined
    }
  }

  let last: Promise<unknown> = Promise.resolve()
  function next(): Promise<Turn | undefined> {
    const taken = last.then(take)
    last = taken
    return taken
  }

  /** Gives each prompt to the handler until the session is to end. Answers how many there were. */
  async function serve(handler: PromptHandler): Promise<{ turns: number }> {
    let turns = 0
    for (let turn = await next(); turn !== undefined; turn = await next()) {
      turns += 1
      try {
        const said = await handler(turn, turn.signal)
        if (typeof said === 'string') turn.text(said)
        await turn.done()
      } catch (thrown) {
        const error = thrown instanceof Error ? thrown.message : String(thrown)
        await (turn.signal.aborted ? turn.done('cancelled') : turn.done('error', error))
      }
    }
    return { turns }
  }

  return {
    turns: {
      next,
      async *[Symbol.asyncIterator]() {
        for (let turn = await next(); turn !== undefined; turn = await next()) yield turn
      },
    } satisfies Turns,
    /** Takes a delivery of the hub; false if it is none of a turn. */
    hear(type: string | undefined, body: Body): boolean {
      if (type === PROMPT) {
        waiting.push(body as unknown as PromptBody)
        wake()
      } else if (type === CANCELLED) {
        const { turn } = body as unknown as TurnCancelledBody
        const at = waiting.findIndex((prompt) => prompt.turn === turn)
        if (at !== -1) waiting.splice(at, 1)
        if (current?.turn.id === turn) current.cancel()
      } else return false
      return true
    },
    /** The handler of the task, with prompts handled beside it; without one, prompts are all there is to do. */
    beside(handler: TaskHandler | undefined, onPrompt: PromptHandler | undefined): TaskHandler | undefined {
      if (onPrompt === undefined) return handler
      if (handler === undefined) return () => serve(onPrompt)
      return (task, stopped) => {
        void serve(onPrompt)
        return handler(task, stopped)
      }
    },
  }
}
