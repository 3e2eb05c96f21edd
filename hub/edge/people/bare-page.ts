/** A page for whoever holds its address: no script, nothing from elsewhere, forms to itself. The stop page and the page of an approval are ones. */
import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { HubError } from '../../base/errors.ts'
import type { LoopbackPlugin } from './loopback.ts'

const FORM = 'application/x-www-form-urlencoded'

/** Strict: its one style by digest, forms to itself, nothing else at all. */
export const barePageHeaders = (css: string): Readonly<Record<string, string>> => ({
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'content-security-policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(css).digest('base64')}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'x-robots-tag': 'noindex, nofollow',
  // The address holds a secret. No other site learns it; this site's own form may still say where it comes from.
  'referrer-policy': 'same-origin',
})

/** Text as it may stand in HTML, also within an attribute. */
export const escaped = (text: string): string => text.replace(/[&<>"']/g, (sign) => `&#${sign.codePointAt(0)};`)

/** Mounts the page on loopback. It takes GET, HEAD, and POST of a form of so many bytes; any other body is refused by name. */
export const barePage = (
  { path, urls, bodyBytesMax }: { path: string; urls: readonly string[]; bodyBytesMax: number },
  answer: (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>,
): LoopbackPlugin => ({
  path,
  isOriginHidden: true,
  mount: (app) =>
    void app.register(async (scope) => {
      scope.removeAllContentTypeParsers()
      scope.addContentTypeParser(FORM, { parseAs: 'string', bodyLimit: bodyBytesMax }, (_request, body, done) =>
        done(null, body),
      )
      scope.addContentTypeParser('*', (_request, _payload, done) =>
        done(new HubError('schema_invalid', `content-type must be ${FORM}`)),
      )
      for (const url of urls) scope.route({ method: ['GET', 'HEAD', 'POST'], url, handler: answer })
    }),
})
