/**
 * Syslog: RFC 5424 messages with octet counting (RFC 6587 3.4.1), over TLS (RFC 5425), or over TCP to what is local.
 *
 * Y1. Syslog has no answer. A batch counts as taken once the receiver has closed the connection after our end of it: it has then read
 *     everything. One that never reads, or goes before our end, took nothing. Our end follows the last byte after a moment, so that one
 *     which takes a connection only to close it is known by that. What such a one does later than this moment nobody can know.
 * Y2. Addresses are judged as those of a webhook (T37), resolved once, and only these are used.
 */
import { readFileSync } from 'node:fs'
import { isIP, connect as plain, type Socket } from 'node:net'
import { connect as secured } from 'node:tls'
import type { Clock, Timer } from '../../../base/clock.ts'
import { HubError } from '../../../base/errors.ts'
import type { AuditRecord } from '../../../protocol/audit-chain.ts'
import { systemResolve } from '../../outward/post.ts'
import { type Address, hostPortOf, judgeTarget, type Resolve } from '../../outward/target.ts'
import type { Batch, Sink } from '../batch.ts'
import { tooMuchError } from '../batch-size.ts'
import type { Target } from '../settings.ts'

/** For one batch, from the first look for its address to the receiver's end. */
const SYSLOG_MS = 10_000
/** Between the last byte and our end of the connection. */
const MOMENT_MS = 100
/** RFC 5424: facility 13 is "log audit". */
const FACILITY = 13
const SEVERITIES = { ok: 6, refused: 4, failed: 3 } as const
const MSGID_MAX = 32
/** The registered `meta` element counts from 1 to this, and begins again. */
const SEQUENCE_MAX = 2_147_483_647

/** A CloudEvent in ASCII: what is not is escaped, as JSON may. */
const asciiOf = (line: string): string =>
  line.replaceAll(/[^\x20-\x7e]/g, (odd) => `\\u${odd.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** The record itself, then each head that was signed over it. */
function messagesOf({ seq, atMs, action, outcome }: AuditRecord, [own = '', ...signed]: readonly string[]): string[] {
  const time = new Date(atMs).toISOString()
  const headOf = (severity: number, id: string) =>
    `<${FACILITY * 8 + severity}>1 ${time} - hub - ${id.slice(0, MSGID_MAX)}`
  const sequence = `[meta sequenceId="${((seq - 1) % SEQUENCE_MAX) + 1}"]`
  return [
    `${headOf(SEVERITIES[outcome], action)} ${sequence} ${asciiOf(own)}`,
    ...signed.map((line) => `${headOf(SEVERITIES.ok, 'signed')} - ${asciiOf(line)}`),
  ]
}

const framesOf = ({ entries }: Batch): string =>
  entries
    .flatMap(({ record, lines }) => messagesOf(record, lines))
    // ASCII alone, so characters are octets.
    .map((message) => `${message.length} ${message}`)
    .join('')

function exchange(socket: Socket, bytes: string, clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let hasSaidAll = false
    let isTaken = false
    let why = 'it closed the connection before it had taken everything'
    let timer: Timer | undefined
    const end = () => {
      why = 'it took too long'
      socket.destroy()
    }
    signal.addEventListener('abort', end, { once: true })
    if (signal.aborted) end()
    socket.on('error', (thrown) => {
      if (!signal.aborted) why = thrown.message
    })
    // What it says is not for us; without a reader its end is never heard.
    socket.resume()
    socket.on('end', () => {
      isTaken = hasSaidAll
      socket.end()
    })
    socket.on('close', (hadError) => {
      timer?.cancel()
      signal.removeEventListener('abort', end)
      if (isTaken && !hadError && !signal.aborted) resolve()
      else reject(signal.aborted ? tooMuchError('time', why) : new HubError('timed_out', why))
    })
    socket.write(bytes, (failed) => {
      if (failed) return
      timer = clock.after(MOMENT_MS, () => {
        if (socket.destroyed || socket.readableEnded) return
        hasSaidAll = true
        socket.end()
      })
    })
  })
}

export function createSyslogSink(
  { host, port, transport, local, caFile }: Target<'syslog'>,
  { clock, resolve = systemResolve }: { clock: Clock; resolve?: Resolve },
): Sink {
  const isSecured = transport === 'tls'
  const text = `${isSecured ? 'https' : 'http'}://${host}:${port}/`
  const place = hostPortOf(new URL(text))
  const rules = { allow: new Set([place]), local: new Set(local ? [place] : []) }

  function open({ address, family }: Address): Socket {
    if (!isSecured) return plain({ host: address, port, family })
    const ca = caFile === undefined ? {} : { ca: readFileSync(caFile) }
    return secured({ host: address, port, ...(isIP(host) === 0 ? { servername: host } : {}), ...ca })
  }

  return async (batch, signal) => {
    const ending = new AbortController()
    const end = () => ending.abort()
    signal.addEventListener('abort', end, { once: true })
    const timer = clock.after(SYSLOG_MS, end)
    // A resolver cannot be interrupted, so it is abandoned when the time is up.
    const over = new Promise<never>((_, reject) => {
      ending.signal.addEventListener('abort', () => reject(tooMuchError('time', 'it took too long')), {
        once: true,
      })
    })
    over.catch(() => undefined)
    try {
      const { addresses } = await Promise.race([judgeTarget(text, rules, resolve), over])
      const bytes = framesOf(batch)
      for (const [at, address] of addresses.entries()) {
        try {
          return await exchange(open(address), bytes, clock, ending.signal)
        } catch (thrown) {
          // What the first address may have taken comes twice if the next one takes it.
          if (at === addresses.length - 1 || ending.signal.aborted) throw thrown
        }
      }
    } finally {
      timer.cancel()
      signal.removeEventListener('abort', end)
    }
  }
}
