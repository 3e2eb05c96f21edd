/** Bodies of agents' requests, and of answers that are kept whole (E5, E12, E20): read whole within a limit, a time and a share of memory, or handed on piece by piece. */
import type { IncomingMessage } from 'node:http'
import type { Clock, Timer } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { nextTurn } from '../../base/turn.ts'

/** Of all bodies that are held whole at the same time. */
const HELD_BYTES_MAX = 256 * 1024 ** 2
const BLOCK_BYTES = 64 * 1024
const IDLE_MS = 30_000
const WHOLE_MS = 300_000

/** How much memory all bodies together hold. */
export interface Held {
  /** Answers false if there is no room for so many more. */
  take(bytes: number): boolean
  give(bytes: number): void
  readonly bytes: number
}

/** The memory that all bodies share. */
export interface Room {
  /** What one session holds of it: at most half, or `one` if that is more, so that no session takes the turn of all others. */
  of(session: string, one: number): Held
  readonly bytes: number
}

export function createHeld(most = HELD_BYTES_MAX): Room {
  let bytes = 0
  const bySession = new Map<string, number>()
  const add = (session: string, more: number): void => {
    const own = (bySession.get(session) ?? 0) + more
    bytes += more
    if (own === 0) bySession.delete(session)
    else bySession.set(session, own)
  }
  return {
    of: (session, one) => ({
      take(more) {
        const own = bySession.get(session) ?? 0
        if (bytes + more > most || own + more > Math.max(most / 2, one)) return false
        add(session, more)
        return true
      },
      give: (less) => add(session, -less),
      get bytes() {
        return bySession.get(session) ?? 0
      },
    }),
    get bytes() {
      return bytes
    },
  }
}

const announced = ({ headers }: IncomingMessage): number => Number(headers['content-length'] ?? 0)

const tooLarge = (most: number): HubError => new HubError('too_large', `the body is larger than ${most} bytes`)

/** Throws `too_large` for a body that says itself that it is larger. */
export function requireSize(request: IncomingMessage, most: number): void {
  if (announced(request) > most) throw tooLarge(most)
}

/** The body piece by piece, for what nobody here reads. Throws `too_large`. */
export async function* pieces(request: AsyncIterable<unknown>, most: number): AsyncIterable<Buffer> {
  let bytes = 0
  for await (const each of request) {
    const piece = each as Buffer
    bytes += piece.length
    if (bytes > most) throw tooLarge(most)
    yield piece
  }
}

/** The same pieces, each counted before it goes on. */
export async function* counting(body: AsyncIterable<Buffer>, count: (bytes: number) => void): AsyncIterable<Buffer> {
  for await (const piece of body) {
    count(piece.length)
    yield piece
  }
}

/**
 * Pieces that are kept, copied together. A piece may be one byte that was cut from a read of 64 KiB: kept as it came it would hold all of
 * that, and an object of its own (E20).
 */
export function createBlocks() {
  const full: Buffer[] = []
  let block = Buffer.alloc(0)
  let used = 0
  return {
    add(piece: Buffer): void {
      for (let from = 0; from < piece.length; ) {
        if (used === block.length) {
          if (used > 0) full.push(block)
          block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
          used = 0
        }
        const copied = piece.copy(block, used, from)
        used += copied
        from += copied
      }
    },
    whole: (): Buffer => Buffer.concat([...full, block.subarray(0, used)]),
  }
}

export const hasBody = (request: IncomingMessage): boolean =>
  request.headers['transfer-encoding'] !== undefined || announced(request) > 0

/**
 * Throws `schema_invalid` for a body that two parsers could end at different places, or that is not itself. Node refuses two lengths, and a length
 * beside chunks.
 */
export function requirePlainBody({ headers, method = '' }: IncomingMessage): void {
  const coding = headers['transfer-encoding']
  if (coding !== undefined && coding.trim().toLowerCase() !== 'chunked')
    throw new HubError('schema_invalid', 'transfer-encoding must be chunked or not there')
  if ((method === 'GET' || method === 'HEAD') && (coding !== undefined || (headers['content-length'] ?? '0') !== '0'))
    throw new HubError('schema_invalid', `a ${method} carries no body`)
}

export const noRoom = (): HubError =>
  new HubError('rate_limited', 'too many large bodies are under way', { facts: { retryAfterMs: 1000 } })

/** The whole body; the caller gives its bytes back to `held`. Throws `too_large`, `timed_out`, `rate_limited`, or `cancelled` where the agent left. */
export function readWhole(
  request: IncomingMessage,
  { most, held, clock }: { most: number; held: Held; clock: Clock },
): Promise<Buffer> {
  if (announced(request) > most) {
    request.resume()
    return Promise.reject(tooLarge(most))
  }
  return new Promise((resolve, reject) => {
    const blocks = createBlocks()
    const beganMs = clock.monotonicMs()
    let lastMs = beganMs
    let bytes = 0
    let timer: Timer | undefined
    const fail = (error: HubError) => {
      timer?.cancel()
      held.give(bytes)
      bytes = 0
      request.off('data', take)
      request.resume()
      reject(error)
    }
    const look = () => {
      const nowMs = clock.monotonicMs()
      if (nowMs - lastMs >= IDLE_MS || nowMs - beganMs >= WHOLE_MS)
        return fail(new HubError('timed_out', 'the body of the request did not come in time'))
      timer = clock.after(Math.min(lastMs + IDLE_MS, beganMs + WHOLE_MS) - nowMs, look)
    }
    timer = clock.after(IDLE_MS, look)
    function take(piece: Buffer): void {
      lastMs = clock.monotonicMs()
      if (bytes + piece.length > most) {
        fail(tooLarge(most))
        return
      }
      if (!held.take(piece.length)) {
        fail(noRoom())
        return
      }
      bytes += piece.length
      blocks.add(piece)
    }
    request.on('data', take)
    request.once('end', () => {
      timer?.cancel()
      if (request.complete) resolve(blocks.whole())
    })
    request.once('close', () => {
      if (!request.complete) fail(new HubError('cancelled', 'the program left before its request was whole'))
    })
    request.once('error', () => fail(new HubError('cancelled', 'the program left before its request was whole')))
  })
}

/** Does a long work of small steps, and lets others run between them. */
export async function inTurns<Result>(steps: Generator<undefined, Result>): Promise<Result> {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
    await nextTurn()
  }
}
