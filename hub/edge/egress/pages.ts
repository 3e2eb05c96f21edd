/** Pages of registries, written anew so that they lead back to their upstream. The memory of one counts until the agent has it (E20). */
import type { ServerResponse } from 'node:http'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { OutwardAnswer } from '../../guard/outward/exchange.ts'
import type { Upstream } from '../../protocol/egress/upstreams.ts'
import { isRefused, type Refused } from '../../work/egress/wire/judged.ts'
import { refusalFor, registryPage } from '../../work/egress/wire.ts'
import { AHEAD_BYTES_MAX, drained, headerOf, readFirst, respond, safeHeaders, scanned } from './answers.ts'
import { type Held, inTurns, noRoom, type Room } from './bodies.ts'
import type { LeakScan } from './leak-scan.ts'
import type { EgressExchange } from './ports.ts'

/** Upstreams as programs in a container see them. */
const SEEN_AT = 'http://127.0.0.1:47080/up'
/** As of an exchange (exchange.ts X2). */
const READER_MS_MAX = 120_000

/** What one answer holds of the memory that all bodies share. */
function createShare(held: Held) {
  let bytes = 0
  const give = (less: number): void => {
    bytes -= less
    held.give(less)
  }
  return {
    /** Throws `rate_limited` if there is no room. */
    take(more: number): void {
      if (!held.take(more)) throw noRoom()
      bytes += more
    },
    give,
    giveAll: () => give(bytes),
  }
}

/** One after the other: the tree of a page may be many times as large as its bytes, which are all that is counted (E20). */
function createOneAtATime() {
  let last: Promise<unknown> = Promise.resolve()
  return <Result>(work: () => Promise<Result>): Promise<Result> => {
    const own = last.then(work)
    last = own.catch(() => undefined)
    return own
  }
}

/** Sends a body that is there already. Resolves when the agent has all of it or has left; one that takes nothing for two minutes is cut (E12). */
async function sendWhole(response: ServerResponse, body: Buffer, clock: Clock): Promise<void> {
  const over = new Promise<void>((resolve) => response.once('close', resolve))
  for (let at = 0; at < body.length && !response.destroyed; at += AHEAD_BYTES_MAX) {
    if (response.write(body.subarray(at, at + AHEAD_BYTES_MAX))) continue
    const timer = clock.after(READER_MS_MAX, () => response.destroy())
    await drained(response)
    timer.cancel()
  }
  const timer = clock.after(READER_MS_MAX, () => response.destroy())
  response.end()
  await over
  timer.cancel()
}

export interface PageHears {
  /** How many bytes it had. */
  came(bytes: number): void
  /** The page as it came. */
  whole(page: Buffer): Promise<void>
}

/** Sends such a page. Throws what became of it before anything was sent. */
export function createPages({ clock, held }: { clock: Clock; held: Room }) {
  const oneTree = createOneAtATime()

  /** In a function of its own, so that nothing holds the page as it came while the other is sent. */
  async function written(
    upstream: Upstream,
    answer: OutwardAnswer,
    own: ReturnType<typeof createShare>,
    hears: PageHears,
  ): Promise<Buffer | Refused> {
    const page = await readFirst(answer, upstream.bodyBytesMax + 1, false, own)
    hears.came(page.length)
    const tooLong = `the page is over ${upstream.bodyBytesMax} bytes`
    if (page.length > upstream.bodyBytesMax) throw new HubError('upstream_failed', tooLong, { facts: { sent: true } })
    const type = headerOf(answer.rawHeaders, 'content-type') ?? ''
    const seen = { base: `${SEEN_AT}/${upstream.name}`, nowMs: clock.wallMs() }
    const anew = await oneTree(async () => {
      await hears.whole(page)
      return inTurns(registryPage(upstream, type, page, seen))
    })
    if (isRefused(anew)) return anew
    own.take(anew.length)
    own.give(page.length)
    return anew
  }

  return async (
    outgoing: EgressExchange & { upstream: Upstream },
    answer: OutwardAnswer,
    scan: LeakScan,
    hears: PageHears,
  ): Promise<void> => {
    const { upstream, response } = outgoing
    // As it came and anew.
    const own = createShare(held.of(outgoing.session, 2 * upstream.bodyBytesMax))
    try {
      const page = await written(upstream, answer, own, hears)
      if (isRefused(page)) {
        const { status, headers, body } = refusalFor(upstream.kind, page.code, page.detail)
        return respond(outgoing, status, headers, body)
      }
      const length = ['content-length', String(page.length)] as const
      if (response.destroyed) return
      response.writeHead(answer.status, [...safeHeaders(answer, scan), length].flat())
      await sendWhole(response, scanned(page, scan), clock)
    } finally {
      own.giveAll()
    }
  }
}
