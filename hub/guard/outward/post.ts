/** One POST outward, to pinned addresses in turn until one takes the connection, with a deadline over everything, no redirects and a bounded answer (T37). */
import { lookup } from 'node:dns/promises'
import type { IncomingMessage, RequestOptions } from 'node:http'
import { request as secured } from 'node:https'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { http } from '../../base/node-http.ts'
import { type Address, judgeTarget, type Resolve, type Rules, type Target } from './target.ts'

export const OUTWARD_MS = 5000
const ANSWER_BYTES_MAX = 64 * 1024

export interface Posting {
  url: string
  rules: Rules
  headers: Readonly<Record<string, string>>
  body: string
}
export interface OutwardAnswer {
  status: number
  text: string
}
/**
 * Resolves with any answer but a redirect. Throws `forbidden` if nothing may go there, `timed_out` if it failed or took too long; with the
 * fact `isCutShort` if it did so on a connection that was there, or at the deadline: less might have got through.
 */
export type PostOutward = (posting: Posting, signal: AbortSignal) => Promise<OutwardAnswer>

const cutShort = (why: string) => new HubError('timed_out', why, { facts: { isCutShort: true } })

/** The machine's own resolver. */
export const systemResolve: Resolve = async (host) =>
  (await lookup(host, { all: true, verbatim: true })) as { address: string; family: 4 | 6 }[]

export function createPostOutward(parts: { clock: Clock; resolve?: Resolve }): PostOutward {
  const { clock, resolve = systemResolve } = parts

  /** Tries the next address only if there was no connection: a message that was sent may have been taken. */
  async function inTurn({ url, addresses }: Target, headers: Posting['headers'], body: string, signal: AbortSignal) {
    for (const [at, address] of addresses.entries()) {
      const isLast = at === addresses.length - 1
      const waiting = new AbortController()
      const end = () => waiting.abort()
      signal.addEventListener('abort', end, { once: true })
      const timer = isLast ? undefined : clock.after(OUTWARD_MS / (addresses.length + 1), end)
      try {
        return await exchange(url, address, headers, body, waiting.signal, () => timer?.cancel())
      } catch (thrown) {
        if (!(thrown instanceof Unconnected) || isLast || signal.aborted)
          throw thrown instanceof Unconnected ? new HubError('timed_out', thrown.message) : thrown
      } finally {
        timer?.cancel()
        signal.removeEventListener('abort', end)
      }
    }
    throw new HubError('timed_out', 'its name has no address')
  }

  return async ({ url, rules, headers, body }, signal) => {
    const ending = new AbortController()
    const end = () => ending.abort()
    signal.addEventListener('abort', end, { once: true })
    const timer = clock.after(OUTWARD_MS, end)
    // A resolver cannot be interrupted, so it is abandoned when the time is up.
    const over = new Promise<never>((_, reject) =>
      ending.signal.addEventListener('abort', () => reject(cutShort('it took too long')), { once: true }),
    )
    try {
      const whole = judgeTarget(url, rules, resolve).then((target) => inTurn(target, headers, body, ending.signal))
      whole.catch(() => undefined)
      return await Promise.race([whole, over])
    } finally {
      timer.cancel()
      signal.removeEventListener('abort', end)
      over.catch(() => undefined)
    }
  }
}

/** Nobody there took the connection. */
class Unconnected extends Error {}

function exchange(
  url: URL,
  { address, family }: Address,
  headers: Readonly<Record<string, string>>,
  body: string,
  signal: AbortSignal,
  onConnected: () => void,
): Promise<OutwardAnswer> {
  // The name was already resolved and judged; a second lookup could point elsewhere.
  const pinned: RequestOptions['lookup'] = (_host, { all }, done) =>
    all ? done(null, [{ address, family }]) : done(null, address, family)
  return new Promise((resolve, reject) => {
    let isConnected = false
    /** As it was while the connection stood: one that is closed already has no address. */
    let reached: string | undefined
    const failed = (why: string) => reject(new HubError('timed_out', why))
    if (signal.aborted) return failed('it took too long')
    const sent = (url.protocol === 'https:' ? secured : http.request)(
      url,
      {
        method: 'POST',
        agent: false,
        lookup: pinned,
        signal,
        headers: { ...headers, 'content-length': String(Buffer.byteLength(body)), connection: 'close' },
      },
      (answer) => {
        // Another address than the one judged can only be a proxy or a fault of ours.
        if (reached !== address && url.hostname !== `[${reached}]`) {
          sent.destroy()
          return reject(new HubError('forbidden', 'the connection led to another address'))
        }
        const status = answer.statusCode ?? 0
        if (status >= 300 && status < 400) {
          sent.destroy()
          return failed(`it answered ${status}: redirects are not followed`)
        }
        collect(answer).then(
          (text) => resolve({ status, text }),
          (thrown: Error) => {
            sent.destroy()
            reject(cutShort(thrown.message))
          },
        )
      },
    )
    sent.on('socket', (socket) =>
      socket.once('connect', () => {
        isConnected = true
        reached = socket.remoteAddress
        onConnected()
      }),
    )
    sent.on('error', (thrown) => {
      const why = signal.aborted ? 'it took too long' : thrown.message
      if (isConnected) reject(cutShort(why))
      else reject(new Unconnected(why))
    })
    sent.end(body)
  })
}

async function collect(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > ANSWER_BYTES_MAX) throw new Error(`its answer is over ${ANSWER_BYTES_MAX} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
