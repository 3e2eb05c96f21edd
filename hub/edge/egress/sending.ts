/**
 * From an admitted request to the end of its answer, unbuffered and with back-pressure: the key, the exchange, what of the answer passes, and what is said when there is none (E11, E14).
 *
 * S1. An answer 401 or 403 reaches the agent with a body of the hub: services repeat parts of keys in theirs.
 * S2. No redirect reaches the agent. One to the second host of a registry is followed once, without the key.
 * S3. An encoding that was not asked for is no answer: a secret could hide in it, or a bomb.
 * S5. An archive of a registry that is kept here is given out from here, masked as any other answer; one that comes whole is kept (work/egress/archives.ts).
 * S4. When the agent leaves a metered answer, it is read on for 5 s, so that its cost can be measured; eight such at once.
 */
import type { ServerResponse } from 'node:http'
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import { giveBack } from '../../base/piece-memory.ts'
import { nextTurn } from '../../base/turn.ts'
import type { Exchange, Limits, Outward, OutwardAnswer } from '../../guard/outward/exchange.ts'
import type { Upstream } from '../../protocol/egress/upstreams.ts'
import type { ArchiveKeeper, Archives, FoundArchive } from '../../work/egress/archives.ts'
import type { JudgedHead } from '../../work/egress/wire/judged.ts'
import { archivesNamed, isKeepable, isRegistryPage, refusalFor } from '../../work/egress/wire.ts'
import { AHEAD_BYTES_MAX, drained, headerOf, readFirst, respond, safeHeaders, scanned } from './answers.ts'
import { fromArchive } from './archive-answer.ts'
import { inTurns, type Room } from './bodies.ts'
import type { UpstreamKeys } from './keys.ts'
import { createLeakPatterns, createLeakScan, type LeakPatterns, type LeakScan } from './leak-scan.ts'
import { createPages } from './pages.ts'
import type { CallEnd, EgressExchange, UsageReader } from './ports.ts'
import type { ArchiveEnd } from './records.ts'

const MIB = 1024 ** 2
const READ_ON_MS = 5000
const READ_ON_MAX = 8
const ERROR_BYTES_MAX = 64 * 1024

/** Before there is an answer there is nothing to mask. */
const NO_SCAN = createLeakScan(createLeakPatterns([]))

export interface Outgoing extends EgressExchange {
  upstream: Upstream
  head: JudgedHead
  body: Outward['body']
  /** The answer comes piece by piece. */
  streams: boolean
  /** For a metered call: who reads its usage. */
  usage: ((contentType: string | undefined) => UsageReader) | undefined
}

export interface SentEnd {
  /** Of the upstream; 0 if it did not answer. */
  status: number
  /** Why it did not come to its end; undefined if it did. */
  error: HubError | undefined
  /** The agent left before the end. */
  left: boolean
  bytesIn: number
  /** Names of the secrets that were in the answer, and how often. */
  leaked: ReadonlySet<string>
  leaks: number
  call: CallEnd
  archive?: ArchiveEnd
}

export type Sending = (outgoing: Outgoing) => Promise<SentEnd>

function limitsFor({ local, kind }: Pick<Upstream, 'local' | 'kind'>, streams: boolean): Limits {
  const isModel = kind === 'anthropic' || kind === 'openai' || kind === 'google'
  return {
    connectMs: 10_000,
    firstByteMs: local ? 1_800_000 : streams ? 60_000 : 600_000,
    idleMs: 120_000,
    totalMs: 1_800_000,
    bytesMax: isModel ? 256 * MIB : 4096 * MIB,
  }
}

/** Follows the end of the agent and of its session; aborts the exchange when nothing more is to be had from it. */
function createLeaving(outgoing: Outgoing, clock: Clock, reading: { on: number }) {
  const { response, ended, usage } = outgoing
  const ending = new AbortController()
  let left = false
  let holds = false
  let timer: { cancel(): void } | undefined
  const over = () => ending.abort()
  const gone = () => {
    if (response.writableFinished) return
    left = true
    if (usage === undefined || reading.on >= READ_ON_MAX) return over()
    reading.on += 1
    holds = true
    timer = clock.after(READ_ON_MS, over)
  }
  ended.addEventListener('abort', over, { once: true })
  if (ended.aborted) over()
  if (response.destroyed) gone()
  else response.once('close', gone)
  return {
    signal: ending.signal,
    get left() {
      return left
    },
    stop() {
      timer?.cancel()
      if (holds) reading.on -= 1
      ended.removeEventListener('abort', over)
      response.off('close', gone)
    },
  }
}

export function createSending(parts: {
  clock: Clock
  exchange: Exchange
  keys: UpstreamKeys
  patterns: () => LeakPatterns
  archives: Archives
  held: Room
}): Sending {
  const { clock, exchange, keys, patterns, archives } = parts
  const reading = { on: 0 }
  const pages = createPages(parts)

  async function open(outgoing: Outgoing, signal: AbortSignal): Promise<OutwardAnswer> {
    const { upstream, head, body, streams } = outgoing
    const isSecond = head.host === 'files' && upstream.files !== undefined
    const key = isSecond ? undefined : await keys.headerFor(upstream)
    const asked: Outward = {
      url: new URL(isSecond ? (upstream.files ?? upstream.url) : upstream.url),
      method: head.method,
      target: head.query === '' ? head.path : `${head.path}?${head.query}`,
      headers: [...head.headers, ...(key === undefined ? [] : [key]), ['accept-encoding', 'identity']],
      local: upstream.local,
      body,
      limits: limitsFor(upstream, streams),
    }
    const answer = await exchange.open(asked, signal)
    const second = secondOf(upstream, head, answer)
    if (second === undefined) return answer
    answer.cut()
    return exchange.open(
      {
        ...asked,
        url: second,
        target: `${second.pathname}${second.search}`,
        headers: [...head.headers, ['accept-encoding', 'identity']],
      },
      signal,
    )
  }

  return async (outgoing) => {
    const { upstream, response, usage } = outgoing
    const leaving = createLeaving(outgoing, clock, reading)
    let scan = NO_SCAN
    let status = 0
    let bytesIn = 0
    let reader: UsageReader | undefined
    let archive: ArchiveEnd | undefined
    let found: FoundArchive | undefined
    let keeper: ArchiveKeeper | undefined
    const end = (call: CallEnd, error?: HubError): SentEnd => ({
      ...{ status, error, left: leaving.left, bytesIn, leaked: scan.found, leaks: scan.count, call },
      ...(archive === undefined ? {} : { archive }),
    })
    try {
      const isArchive = isKeepable(upstream, outgoing.head)
      found = isArchive ? await archives.find(upstream, outgoing.head, leaving.signal) : undefined
      if (found !== undefined) archive = 'found'
      const answer = found === undefined ? await open(outgoing, leaving.signal) : fromArchive(found, leaving.signal)
      status = answer.status
      // Not before: the key became known when it was read for this request.
      scan = createLeakScan(patterns())
      const odd = whyNoAnswer(answer)
      if (odd !== undefined) {
        answer.cut()
        throw new HubError('upstream_failed', odd, { facts: { sent: true } })
      }
      if (status === 401 || status === 403) {
        // What a metered call was answered is for the account: how often in a row, and whether a quota is used up.
        const said = usage === undefined ? undefined : await readFirst(answer, ERROR_BYTES_MAX, true)
        answer.cut()
        const text = `the upstream ${upstream.name} refused the key of this hub (${status}); its words are not passed on`
        const { headers, body } = refusalFor(upstream.kind, 'upstream_failed', text)
        respond(outgoing, status, headers, body)
        if (said === undefined) return end({ kind: 'failed_before' })
        bytesIn = said.length
        return end({ kind: 'failed_before', answer: { status, rawHeaders: answer.rawHeaders, body: said } })
      }
      // Its reasons are looked at before it passes: it may say that a quota is used up.
      if (status >= 400 && usage !== undefined) {
        const body = await readFirst(answer, ERROR_BYTES_MAX, true)
        bytesIn = body.length
        const safe = scanned(Buffer.from(body), scan)
        respond(outgoing, status, safeHeaders(answer, scan), safe)
        return end({ kind: 'failed_before', answer: { status, rawHeaders: answer.rawHeaders, body } })
      }
      if (status === 200 && isRegistryPage(upstream, outgoing.head)) {
        const type = headerOf(answer.rawHeaders, 'content-type') ?? ''
        await pages(outgoing, answer, scan, {
          came(bytes) {
            bytesIn = bytes
          },
          async whole(page) {
            archives.named(upstream, await inTurns(archivesNamed(upstream, outgoing.head, type, page)))
          },
        })
        return end({ kind: 'failed_before' })
      }
      keeper =
        isArchive && found === undefined && status === 200 ? await archives.keeper(upstream, outgoing.head) : undefined
      reader = status < 300 ? usage?.(headerOf(answer.rawHeaders, 'content-type')) : undefined
      await passAnswer({
        ...{ response, answer, status, scan },
        headers: safeHeaders(answer, scan),
        onPiece(piece) {
          bytesIn += piece.length
          reader?.take(piece)
          keeper?.take(piece)
        },
        // A reader of usage may keep a part.
        givesBack: reader === undefined,
      })
      if (scan.count > 0) await found?.drop()
      const how = await keeper?.end(scan.count === 0)
      keeper = undefined
      if (how === 'kept' || how === 'differs') archive = how
      return end(reader === undefined ? { kind: 'failed_before' } : { kind: 'answered', outcome: reader.end() })
    } catch (thrown) {
      const error = toHubError(thrown)
      const wasSent = status > 0 || error.facts.sent === true
      if (status < 400 && !response.headersSent && !response.destroyed) fail(outgoing, error)
      return end({ kind: wasSent && status < 400 ? 'lost' : 'failed_before' }, error)
    } finally {
      leaving.stop()
      await keeper?.end(false)
      await found?.close()
    }
  }
}

/** Where one redirect may lead: to the second host of a registry, for what only reads (S2). */
function secondOf({ files, kind }: Upstream, { method, host }: JudgedHead, answer: OutwardAnswer): URL | undefined {
  if (files === undefined || (kind !== 'npm' && kind !== 'pypi') || host === 'files') return undefined
  if (answer.status < 301 || answer.status > 308 || (method !== 'GET' && method !== 'HEAD')) return undefined
  const location = headerOf(answer.rawHeaders, 'location') ?? ''
  if (!URL.canParse(location)) return undefined
  const found = new URL(location)
  const isPlain = found.username === '' && found.password === '' && found.hash === ''
  return isPlain && found.origin === new URL(files).origin ? found : undefined
}

/** Why this is no answer that may pass; undefined if it is one. */
function whyNoAnswer({ status, rawHeaders }: OutwardAnswer): string | undefined {
  if (status >= 300 && status < 400 && status !== 304) return `it answered ${status}: redirects are not followed`
  const coding = headerOf(rawHeaders, 'content-encoding')?.trim().toLowerCase() ?? 'identity'
  return coding === 'identity' || coding === '' ? undefined : 'it sent an encoding that was not asked for'
}

/** Nothing came of it: said in the shape of the kind, with a status after which a client may try again. */
function fail(outgoing: Outgoing, error: HubError): void {
  const { kind, name } = outgoing.upstream
  const isFinal = error.code === 'forbidden' || error.code === 'config_invalid'
  const text = `upstream ${name}: ${error.code === 'internal' ? 'a fault of the hub' : error.message}`
  const shaped = refusalFor(kind, isFinal ? error.code : 'upstream_failed', text)
  const headers = isFinal ? shaped.headers : shaped.headers.filter(([each]) => each !== 'x-should-retry')
  respond(outgoing, isFinal ? shaped.status : 502, headers, shaped.body)
}

interface Passing {
  response: ServerResponse
  answer: OutwardAnswer
  status: number
  headers: readonly (readonly [string, string])[]
  scan: LeakScan
  /** Sees each piece as it came. */
  onPiece: (piece: Buffer) => void
  /** Nobody needs a piece once it was sent. */
  givesBack: boolean
}

/**
 * Sends the head with what of the body comes in the same turn of the event loop: a small answer is one write and not three, each of which costs the hub
 * a fifth of a millisecond and its reader another look. At the end of the turn the head goes in any case. The socket is corked and not the
 * response, which would put the end of a chunked body before its chunks.
 */
function flushTogether(response: ServerResponse): void {
  const { socket } = response
  socket?.cork()
  response.flushHeaders()
  nextTurn().then(() => socket?.uncork())
}

/**
 * Passes the answer on to its end. After the agent has left, it reads on until the exchange is ended by its signal, so that the usage at the end
 * can be seen. Throws what the exchange throws; the connection of the agent is then broken off, so that half an answer never looks whole.
 */
async function passAnswer({ response, answer, status, headers, scan, onPiece, givesBack }: Passing): Promise<void> {
  const length = headerOf(answer.rawHeaders, 'content-length')
  const isGone = () => response.destroyed || response.socket === null
  try {
    if (!isGone()) {
      // A mask is as long as what it hides, so the length holds.
      const framed = length === undefined ? headers : [...headers, ['content-length', length] as const]
      response.writeHead(status, framed.flat())
      flushTogether(response)
    }
    await answer.read((piece) => {
      onPiece(piece)
      if (isGone()) return undefined
      for (const out of scan.pass(piece))
        response.write(out, givesBack ? () => giveBack(Buffer.from(out.buffer)) : undefined)
      // So many may wait for one reader: a stop after each piece would cost a large body most of its speed.
      return response.writableLength < AHEAD_BYTES_MAX ? undefined : drained(response)
    })
    if (!isGone()) response.end(scan.rest())
  } catch (thrown) {
    response.destroy()
    throw thrown
  }
}
