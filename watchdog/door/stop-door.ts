/** `/stop` and `/stop/<words>` over loopback TCP: what arrives as HTTP, read strictly, and the page as the answer. */
import type http from 'node:http'
import type { Clock } from '../base/clock.ts'
import { type Reach, stopNames } from '../config/reach.ts'
import type { ContactFile } from './contact-card.ts'
import type { ContactStop, StopCall } from './contact-stop.ts'
import { stopPage } from './stop-page.ts'
import { clientWordIn } from './stop-proof.ts'

const FORM = 'application/x-www-form-urlencoded'
const BODY_BYTES_MAX = 4096
const PREFETCH_HEADERS = ['sec-purpose', 'purpose', 'x-purpose', 'x-moz'] as const
const METHODS = ['GET', 'HEAD', 'POST'] as const

export interface StopDoorParts {
  readonly contactStop: ContactStop
  readonly contact: ContactFile
  readonly reach: Reach
  readonly clock: Clock
}

/** Whether a request is for the stop page. */
export const isStopPath = (url: string): boolean => /^\/stop(?:[/?]|$)/.test(url)

const once = (request: http.IncomingMessage, name: string): string | undefined => {
  const all = request.headersDistinct[name]
  return all?.length === 1 ? all[0] : undefined
}

/** The form's text; null if it is too long or not a form. */
async function readForm(request: http.IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) return null
    chunks.push(chunk)
  }
  if (bytes > 0 && once(request, 'content-type') !== FORM) return null
  return Buffer.concat(chunks).toString('utf8')
}

function plain(response: http.ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    connection: 'close',
  })
  response.end(`${text}\n`)
}

/** Answers one request for the stop page. Never throws. */
export async function serveStop(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  port: number,
  { contactStop, contact, reach, clock }: StopDoorParts,
): Promise<void> {
  const { hosts, origins } = stopNames(reach, port)
  const host = once(request, 'host') ?? ''
  const { origin } = request.headers
  if (!hosts.has(host)) return plain(response, 421, 'this host name is not served here')
  if (origin !== undefined && !origins.has(origin)) return plain(response, 403, 'requests from other pages are refused')
  const method = METHODS.find((one) => one === request.method)
  if (method === undefined) return plain(response, 405, 'GET, HEAD or POST')
  try {
    const body = method === 'POST' ? await readForm(request) : ''
    if (body === null) return plain(response, 400, `send a form (${FORM}) of at most ${BODY_BYTES_MAX} bytes`)
    const [path = ''] = (request.url ?? '').split('?', 1)
    const form = new URLSearchParams(body)
    const heard = reach.trustedProxy ? once(request, 'x-forwarded-for')?.split(',').at(-1)?.trim() : undefined
    const call: StopCall = {
      method,
      path: path === '/stop' ? undefined : path.slice('/stop/'.length),
      typed: form.get('words') ?? undefined,
      once: form.get('once') ?? undefined,
      client: clientWordIn(form),
      isPrefetch: PREFETCH_HEADERS.some((name) =>
        /prefetch|prerender|preview/i.test(String(request.headers[name] ?? '')),
      ),
      source: (heard ?? request.socket.remoteAddress ?? '').slice(0, 64),
    }
    const { status, headers, html } = await contactStop.answer(call)
    if (reach.publicUrl !== null && host === new URL(reach.publicUrl).host) contact.noteReached(clock.read().wallMs)
    response.writeHead(status, { ...headers, 'content-length': String(Buffer.byteLength(html)), connection: 'close' })
    response.end(method === 'HEAD' ? undefined : html)
  } catch {
    if (!response.headersSent)
      plain(response, 500, stopPage({ state: 'failed', confirmed: 0, total: 0 }).headers['hub-stop'] ?? '')
    else response.destroy()
  }
}
