/**
 * A program asks whether it may use a tool (docs/permissions.md), and gets a yes or a no with its reason.
 *
 * 1. Only the hub's own answer to exactly this question is a yes. Whatever comes meanwhile is no answer (fault F13): answers match by id.
 * 2. A question that is refused, not answered in time or lost is a no. A stop wins over a yes that comes with it or after it.
 * 3. A question that nobody waits for any more is taken back: a person is not asked for nothing.
 */
import { createHash } from 'node:crypto'
import { HubError, toHubError } from '../../base/errors.ts'
import type { Tier } from '../../protocol/approval.ts'
import { ARGUMENTS_SENT_BYTES_MAX } from '../../protocol/tools.ts'
import type { Body } from './contract.ts'

/** What a program is about to use. */
export interface Permit {
  /** Its name, as a person knows it. Beyond 128 characters it is cut. */
  tool: string
  /** read, search, think, edit, move, execute, delete, switch_mode, fetch or other; any other text counts as other. */
  kind: string
  /** What it is about to do, in a line. Beyond 300 characters it is cut. */
  title?: string
  /** What the tool is given. Of more than 32 KiB of JSON the hub gets the beginning, the length and the digest. */
  arguments?: unknown
  /** How much it can do; counts only where that is more than its kind implies. */
  tier?: Tier
}

export interface Permission {
  allowed: boolean
  /** Why, for the program and its log. */
  reason: string
}

export interface PermitOptions {
  timeoutMs?: number | undefined
  /** Called once the hub has accepted the question; the answer comes later. */
  onAccepted?: (() => void) | undefined
  /** Aborted once the answer would be of no use: the question is taken back, and the answer is a no. */
  signal?: AbortSignal | undefined
}

const TOOL_MAX = 128
const KIND_MAX = 64
const TITLE_MAX = 300
/** Of arguments that are too long. */
const BEGINNING_MAX = 8 * 1024

/** Cut at a number of characters, and never in the middle of one. */
const cut = (text: string, most: number): string => text.slice(0, most).toWellFormed()

/** As they are, or what stands for them where they are too long. @throws HubError `schema_invalid` for what cannot be written as JSON */
function boundedArguments(given: unknown): unknown {
  let text: string | undefined
  try {
    text = JSON.stringify(given)
  } catch (thrown) {
    throw new HubError('schema_invalid', `arguments: they cannot be written as JSON: ${(thrown as Error).message}`)
  }
  if (text === undefined) return undefined
  const bytes = Buffer.byteLength(text)
  if (bytes <= ARGUMENTS_SENT_BYTES_MAX) return given
  return { beginning: cut(text, BEGINNING_MAX), bytes, sha256: createHash('sha256').update(text).digest('hex') }
}

/** The body of the message that asks. @throws HubError `schema_invalid` */
function permitBody({ tool, kind, title, tier, arguments: given }: Permit): Body {
  const bounded = boundedArguments(given)
  return {
    ...{ tool: cut(String(tool), TOOL_MAX), kind: cut(String(kind), KIND_MAX) },
    ...(title === undefined ? {} : { title: cut(String(title), TITLE_MAX) }),
    ...(bounded === undefined ? {} : { arguments: bounded }),
    ...(tier === undefined ? {} : { tier }),
  }
}

const stopped = (signal: AbortSignal): HubError =>
  new HubError('cancelled', `the task is being stopped: ${(signal.reason as Error | undefined)?.message ?? 'now'}`)

/**
 * Asks by `exchange`, and takes the question back by `withdraw` where no answer is waited for any more: at once if the hub has it, else once it
 * has it.
 */
export function withdrawing(
  withdraw: () => void,
  told: (() => void) | undefined,
  exchange: (body: Body, onAccepted: () => void) => Promise<Body>,
): (body: Body) => Promise<Body> {
  return async (body) => {
    let [isAccepted, isOver] = [false, false]
    try {
      return await exchange(body, () => {
        isAccepted = true
        if (isOver) withdraw()
        told?.()
      })
    } catch (thrown) {
      isOver = true
      if (isAccepted) withdraw()
      throw thrown
    }
  }
}

/**
 * Asks, and answers what came of it. Never throws.
 * `exchange` sends the body and resolves with the body of its reply; `giveUp` makes it reject. `signal`: the task is to stop.
 * `withdrawn`: nobody waits for this answer any more.
 */
export async function askPermit(
  permit: Permit,
  {
    signal: stopping,
    withdrawn,
    exchange,
    giveUp,
  }: {
    signal: AbortSignal
    withdrawn?: AbortSignal | undefined
    exchange: (body: Body) => Promise<Body>
    giveUp: (why: HubError) => void
  },
): Promise<Permission> {
  const signal = withdrawn === undefined ? stopping : AbortSignal.any([stopping, withdrawn])
  const overOf = () => (stopping.aborted ? stopped(stopping) : new HubError('cancelled', 'the question was taken back'))
  const stop = () => giveUp(overOf())
  signal.addEventListener('abort', stop, { once: true })
  try {
    const body = permitBody(permit)
    if (signal.aborted) throw overOf()
    const { approved, text } = await exchange(body)
    if (signal.aborted) throw overOf()
    return { allowed: approved === true, reason: typeof text === 'string' ? text : '' }
  } catch (thrown) {
    const { code, message } = toHubError(thrown)
    return { allowed: false, reason: `${code}: ${message}` }
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
