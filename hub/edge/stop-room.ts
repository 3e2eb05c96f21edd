/**
 * `/stop` and `/stop/<words>` on the loopback listener: the one place that takes a form instead of JSON, because a page without a script
 * can send nothing else. Everything it says is a page; what it means is decided in stop-desk.ts.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { HubError } from '../base/errors.ts'
import { singleHeader } from './http-answers.ts'
import type { LoopbackRoom } from './loopback.ts'
import type { StopCall, StopDesk } from './stop-desk.ts'
import { clientWordIn } from './stop-proof.ts'

const FORM = 'application/x-www-form-urlencoded'
const BODY_BYTES_MAX = 4096
const PREFETCH_HEADERS = ['sec-purpose', 'purpose', 'x-purpose', 'x-moz'] as const

/** A guess of a browser, a mail program or a chat at what its user will want. */
const isPrefetch = ({ headers }: FastifyRequest): boolean =>
  PREFETCH_HEADERS.some((name) => /prefetch|prerender|preview/i.test(String(headers[name] ?? '')))

export function stopRoom(parts: {
  desk: StopDesk
  /** The Host by which the outside asks; a request that carries it proves that the address leads here. */
  publicHost: string | undefined
  trustedProxy: boolean
  onReached: () => void
}): LoopbackRoom {
  const { desk, publicHost, trustedProxy, onReached } = parts

  /** The proxy adds whom it heard at the end of the list; what stands before it anybody may have written. */
  function sourceOf(request: FastifyRequest): string {
    const heard = trustedProxy ? singleHeader(request.raw, 'x-forwarded-for')?.split(',').at(-1)?.trim() : undefined
    return (heard ?? request.ip).slice(0, 64)
  }

  function callOf(request: FastifyRequest): StopCall {
    const [path = ''] = (request.raw.url ?? '').split('?', 1)
    const form = new URLSearchParams(typeof request.body === 'string' ? request.body : '')
    return {
      method: request.method as StopCall['method'],
      // As it was sent: another spelling of the same path is not the card's.
      path: path === '/stop' ? undefined : path.startsWith('/stop/') ? path.slice('/stop/'.length) : '',
      typed: form.get('words') ?? undefined,
      once: form.get('once') ?? undefined,
      client: clientWordIn(form),
      isPrefetch: isPrefetch(request),
      source: sourceOf(request),
    }
  }

  async function answer(request: FastifyRequest, reply: FastifyReply) {
    const { status, headers, html } = await desk.answer(callOf(request))
    if (publicHost !== undefined && singleHeader(request.raw, 'host') === publicHost) onReached()
    return reply.code(status).headers(headers).send(html)
  }

  return {
    path: '/stop',
    isOriginHidden: true,
    mount: (app) =>
      void app.register(async (scope) => {
        scope.removeAllContentTypeParsers()
        scope.addContentTypeParser(FORM, { parseAs: 'string', bodyLimit: BODY_BYTES_MAX }, (_request, body, done) =>
          done(null, body),
        )
        scope.addContentTypeParser('*', (_request, _payload, done) =>
          done(new HubError('schema_invalid', `content-type must be ${FORM}`)),
        )
        for (const url of ['/stop', '/stop/*']) scope.route({ method: ['GET', 'HEAD', 'POST'], url, handler: answer })
      }),
  }
}
