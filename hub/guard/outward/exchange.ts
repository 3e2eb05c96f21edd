/**
 * One HTTP exchange with an upstream, streamed both ways (E2, E11). What is sent was written anew by the caller; nothing is copied from an agent.
 *
 * X1. HTTP/1.1 over a connection of dial.ts. Redirects are not followed, an upgrade is refused, trailers are dropped, nothing is decompressed.
 * X2. Every wait has its end: until there is a connection, until the first byte once the request is out, between two pieces, and over all. A
 *     reader that does not take a piece counts like an upstream that sends none, but the error says whose fault it was.
 * X3. A connection may be used again (pool.ts). Where the upstream closed it meanwhile, GET and HEAD are sent once more; nothing else is sent twice.
 * X4. An answer is read piece by piece, and the next is asked for only when the last was taken. At most `bytesMax` are read. The memory of a piece is
 *     the reader's alone.
 */
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Clock, Timer } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { http } from '../../base/node-http.ts'
import { giveBack } from '../../base/piece-memory.ts'
import { createDial, type Dial, type DialParts } from './dial.ts'
import { createPool, type Dialling, type Pool } from './pool.ts'

const HEAD_BYTES_MAX = 64 * 1024
/** Servers close a connection to a reader that takes nothing for some time; that is no fault of theirs. */
const HELD_UP_MS = 5000

export interface Limits {
  connectMs: number
  /** From the end of the request to the head of the answer. */
  firstByteMs: number
  /** Between two pieces, in either direction. */
  idleMs: number
  totalMs: number
  /** Of the answer's body. */
  bytesMax: number
}

export interface Outward {
  url: URL
  method: string
  /** Path and query, as they are sent. */
  target: string
  /** All of them, but for `host`, `connection` and those that say how long the body is. */
  headers: readonly (readonly [string, string])[]
  local: boolean
  /** Pieces of a known length all together, or as many as come, asked for as fast as the upstream takes them. */
  body: readonly Buffer[] | AsyncIterable<Buffer> | undefined
  limits: Limits
}

/**
 * Who ended an exchange, in `facts.by` of its error; `facts.sent` says whether the upstream may have got the request. `limit`: one of the hub's own,
 * of bytes or of time in all. `reader`: also where an upstream broke off after its reader had let it wait. `body`: the upstream answered before it
 * had the whole body, wanted no more of it and closed, which whoever sends the body can make it do.
 */
export type EndedBy = 'upstream' | 'limit' | 'reader' | 'body' | 'caller'

export interface OutwardAnswer {
  status: number
  rawHeaders: readonly string[]
  /**
   * Hands out each piece; the next comes when the promise of `take` has settled. Resolves at the end. Throws `upstream_failed` where the
   * upstream broke off or was too slow or too long, `timed_out` where the reader was too slow, `cancelled` where the signal ended it.
   */
  read(take: (piece: Buffer) => Promise<void> | undefined): Promise<void>
  /** Closes the connection, if the answer is not whole yet. */
  cut(): void
}

export interface Exchange {
  /** Resolves with the head of any answer. Throws as `read` does, and `forbidden` where nothing may go. */
  open(asked: Outward, signal: AbortSignal): Promise<OutwardAnswer>
  /** For CONNECT: a bare connection to a judged address. */
  dial: Dial
  /** Closes what rests. */
  close(): void
}

const CODES = {
  upstream: 'upstream_failed',
  limit: 'upstream_failed',
  reader: 'timed_out',
  body: 'upstream_failed',
  caller: 'cancelled',
} as const
const ended = (by: EndedBy, why: string, sent: boolean): HubError =>
  new HubError(CODES[by], why, { facts: { by, sent } })

export function createExchange(parts: DialParts): Exchange {
  const { clock } = parts
  const dial = createDial(parts)
  const pools = new Map<string, Pool>()

  function poolOf(url: URL, local: boolean): Pool {
    const key = `${url.protocol}//${url.host} ${local}`
    const known = pools.get(key)
    if (known !== undefined) return known
    const made = createPool(dial, url, local, clock)
    pools.set(key, made)
    return made
  }

  return {
    async open(asked, signal) {
      if (signal.aborted) throw ended('caller', 'it was ended before it began', false)
      const pool = poolOf(asked.url, asked.local)
      const mayRepeat = (asked.method === 'GET' || asked.method === 'HEAD') && asked.body === undefined
      try {
        return await exchangeOnce(asked, pool, clock, signal)
      } catch (thrown) {
        if (!mayRepeat || !(thrown instanceof HubError) || thrown.facts.stale !== true) throw thrown
        pool.drop()
        return await exchangeOnce(asked, pool, clock, signal)
      }
    },
    dial,
    close() {
      for (const pool of pools.values()) pool.close()
      pools.clear()
    },
  }
}

/** The one timer of an exchange: which wait it is in, and when that has lasted too long (X2). */
function createWatch(limits: Limits, clock: Clock, onEnd: (by: EndedBy, why: string) => void) {
  const beganMs = clock.monotonicMs()
  let lastMs = beganMs
  let waitsFor: 'connection' | 'body' | 'head' | 'piece' | 'reader' = 'connection'
  let timer: Timer | undefined
  let dueMs = 0
  let wasHeldUp = false
  const limitOf = () => {
    if (waitsFor === 'connection') return limits.connectMs
    return waitsFor === 'head' ? limits.firstByteMs : limits.idleMs
  }
  function look(): void {
    const nowMs = clock.monotonicMs()
    const left = limitOf() - (nowMs - lastMs)
    const leftInAll = limits.totalMs - (nowMs - beganMs)
    if (leftInAll <= 0) {
      onEnd('limit', `it took longer than ${limits.totalMs / 1000} s in all`)
      return
    }
    if (left > 0) {
      dueMs = nowMs + Math.min(left, leftInAll)
      timer = clock.after(dueMs - nowMs, look)
      return
    }
    const seconds = limitOf() / 1000
    if (waitsFor === 'reader') onEnd('reader', `the answer was not read for ${seconds} s`)
    else if (waitsFor === 'body') onEnd('reader', `the body of the request did not go on for ${seconds} s`)
    else onEnd('upstream', `the upstream sent nothing for ${seconds} s`)
  }
  look()
  return {
    /** Its reader let the upstream wait so long that it may have closed the connection for that. */
    get wasHeldUp() {
      return wasHeldUp || (waitsFor === 'reader' && clock.monotonicMs() - lastMs >= HELD_UP_MS)
    },
    /** What is waited for from now on. */
    now(what: typeof waitsFor) {
      const nowMs = clock.monotonicMs()
      wasHeldUp ||= waitsFor === 'reader' && nowMs - lastMs >= HELD_UP_MS
      waitsFor = what
      lastMs = nowMs
      if (lastMs + limitOf() >= dueMs) return
      timer?.cancel()
      look()
    },
    stop: () => timer?.cancel(),
  }
}

type Watch = ReturnType<typeof createWatch>

const isWhole = (body: Outward['body']): body is readonly Buffer[] => Array.isArray(body)

function headersOf({ url, headers, body }: Outward): string[] {
  const lines = ['host', url.host, ...headers.flat(), 'connection', 'keep-alive']
  if (body === undefined) return lines
  if (!isWhole(body)) return [...lines, 'transfer-encoding', 'chunked']
  return [...lines, 'content-length', String(body.reduce((sum, { length }) => sum + length, 0))]
}

function exchangeOnce(asked: Outward, pool: Pool, clock: Clock, signal: AbortSignal): Promise<OutwardAnswer> {
  pool.tidy()
  const dialling = new AbortController()
  return new Promise((resolve, reject) => {
    let answer: IncomingMessage | undefined
    let error: HubError | undefined
    let sent = false
    const request: ClientRequest = http.request({
      agent: pool.agent,
      method: asked.method,
      path: asked.target,
      headers: headersOf(asked),
      maxHeaderSize: HEAD_BYTES_MAX,
      ...({ dialling: { signal: dialling.signal, connectMs: asked.limits.connectMs } } satisfies Dialling),
    })
    request.maxHeadersCount = 0
    const end = (by: EndedBy, why: string) => {
      error ??= ended(by, why, sent)
      close()
    }
    const isBodyOut = () => request.writableFinished
    const stopped = () => end('caller', 'it was ended')
    const watch = createWatch(asked.limits, clock, end)
    /** After this nothing of the exchange is left but what `read` still tells. */
    function close(): void {
      watch.stop()
      signal.removeEventListener('abort', stopped)
      dialling.abort()
      request.destroy()
      answer?.destroy()
      if (error !== undefined) reject(error)
    }
    signal.addEventListener('abort', stopped, { once: true })

    request.once('socket', (socket) => {
      // Behind the listener of Node's parser, which has copied what it hands on: what it was read into is needed by nobody.
      socket.on('data', giveBack)
      request.once('close', () => socket.off('data', giveBack))
      if (asked.method === 'HEAD') pool.useUp(socket)
      sent = true
      watch.now(isWhole(asked.body) ? 'piece' : 'body')
    })
    request.on('error', (thrown: NodeJS.ErrnoException) => {
      if (answer !== undefined && error === undefined) return brokeOff(watch, isBodyOut(), wordsOf(thrown), end)
      if (thrown instanceof HubError) error ??= thrown
      const isStale = request.reusedSocket && thrown.code === 'ECONNRESET'
      error ??= new HubError('upstream_failed', wordsOf(thrown), { facts: { by: 'upstream', sent, stale: isStale } })
      close()
    })
    request.once('upgrade', (_answer, socket) => {
      socket.destroy()
      end('upstream', 'the upstream changed the protocol without being asked')
    })
    request.once('response', (came) => {
      answer = came
      came.on('error', () => undefined)
      watch.now('piece')
      const status = came.statusCode ?? 0
      if (status === 204 || status === 304) pool.useUp(came.socket)
      if (status < 200 || status > 599) return end('upstream', `the upstream answered with the status ${status}`)
      const over = () => {
        watch.stop()
        signal.removeEventListener('abort', stopped)
        // An upstream may answer before it got all of the body. What the agent still sends is then no part of anything.
        if (!isBodyOut()) request.destroy()
      }
      resolve({
        status,
        rawHeaders: came.rawHeaders,
        read: (take) =>
          readAnswer(came, { take, watch, over, isBodyOut, bytesMax: asked.limits.bytesMax, why: () => error, end }),
        cut: () => end('caller', 'it was cut'),
      })
    })
    send(request, asked.body, watch, () => answer === undefined).catch((thrown) => {
      error ??= thrown instanceof HubError ? thrown : ended('reader', 'the body of the request broke off', sent)
      close()
    })
  })
}

/** What the system or the parser says, in a few words. */
function wordsOf({ code = '', message }: NodeJS.ErrnoException): string {
  if (code === 'HPE_HEADER_OVERFLOW') return `the head of its answer is over ${HEAD_BYTES_MAX} bytes`
  if (code.startsWith('HPE_')) return `the upstream does not speak HTTP (${code})`
  if (code === 'ECONNRESET') return 'the upstream closed the connection'
  return code === '' ? message : code
}

async function send(
  request: ClientRequest,
  body: Outward['body'],
  watch: Watch,
  isUnanswered: () => boolean,
): Promise<void> {
  if (body !== undefined) {
    for await (const piece of body) {
      if (request.destroyed) return
      if (!isWhole(body)) watch.now('body')
      if (!request.write(piece)) {
        watch.now('piece')
        await new Promise<void>((resolve) => {
          const on = () => {
            request.off('drain', on)
            request.off('close', on)
            resolve()
          }
          request.on('drain', on)
          request.on('close', on)
        })
        if (!isWhole(body)) watch.now('body')
      }
    }
  }
  if (request.destroyed) return
  request.once('finish', () => isUnanswered() && watch.now('head'))
  request.end()
}

const BROKEN = 'the upstream broke off its answer'

/** Nobody here ended it, so the upstream did; but it need not have wanted to. */
function brokeOff({ wasHeldUp }: Watch, isBodyOut: boolean, why: string, end: Reading['end']): void {
  if (!isBodyOut) end('body', 'the upstream answered before it had the whole body, and closed the connection')
  else if (wasHeldUp) end('reader', 'the upstream closed the connection after its answer had not been read for a while')
  else end('upstream', why)
}

interface Reading {
  take: (piece: Buffer) => Promise<void> | undefined
  watch: Watch
  over: () => void
  /** Whether the whole body of the request went out. */
  isBodyOut: () => boolean
  bytesMax: number
  /** Why the exchange was ended, once it was. */
  why: () => HubError | undefined
  end: (by: EndedBy, why: string) => void
}

function readAnswer(answer: IncomingMessage, reading: Reading): Promise<void> {
  const { take, watch, over, isBodyOut, bytesMax, why, end } = reading
  return new Promise((resolve, reject) => {
    let bytes = 0
    let isWhole = false
    let waiting: Promise<void> | undefined
    const fail = () => reject(why() ?? ended('upstream', BROKEN, true))
    const broken = () => {
      brokeOff(watch, isBodyOut(), BROKEN, end)
      fail()
    }
    const done = () => {
      if (!isWhole || waiting !== undefined) return
      over()
      resolve()
    }
    answer.on('data', (piece: Buffer) => {
      bytes += piece.length
      if (bytes > bytesMax) return end('limit', `its answer is over ${bytesMax} bytes`)
      waiting = take(piece)
      if (waiting === undefined) return watch.now('piece')
      watch.now('reader')
      answer.pause()
      waiting.then(
        () => {
          waiting = undefined
          watch.now('piece')
          answer.resume()
          done()
        },
        (thrown: Error) => {
          end('caller', thrown.message)
          reject(thrown)
        },
      )
    })
    answer.once('end', () => {
      isWhole = answer.complete
      done()
    })
    answer.once('error', broken)
    answer.once('close', () => {
      if (!isWhole) broken()
    })
    if (answer.destroyed) fail()
  })
}
