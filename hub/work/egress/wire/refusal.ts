/**
 * A refusal as the client of a kind expects it: the provider's own error shape, and a status that its real clients take as final, so that one refusal is one
 * request (docs/egress.md 1). Never 408, 409, 429 or 5xx, which clients try again.
 */
import type { ErrorCode } from '../../../base/errors.ts'
import type { UpstreamKind } from '../../../protocol/egress/upstreams.ts'

export interface ShapedRefusal {
  status: number
  headers: readonly (readonly [name: string, value: string])[]
  body: Buffer
}

/** As measured: Claude Code tries 400 six times and 402 once; Codex and the SDKs take 400 as final; Gemini CLI takes 403. */
const FINAL: Readonly<Record<UpstreamKind, number>> = {
  ...{ anthropic: 402, openai: 400, google: 403 },
  ...{ git: 403, npm: 403, pypi: 403, http: 403 },
}
/** What says more than the usual status, where clients take it as final too. */
const OWN_STATUS: Readonly<Partial<Record<ErrorCode, number>>> = { encoding_refused: 415 }

const GOOGLE_WORDS: Readonly<Record<number, string>> = { 403: 'PERMISSION_DENIED', 415: 'INVALID_ARGUMENT' }

/** The answer to a request that does not pass. `text` says what to change; nothing of it is secret. */
export function refusalFor(kind: UpstreamKind, code: ErrorCode, text: string): ShapedRefusal {
  const status = OWN_STATUS[code] ?? FINAL[kind]
  const message = `${code}: ${text}`
  // The SDKs of Anthropic and OpenAI obey this above their own judgement.
  const headers: [string, string][] = [['x-should-retry', 'false']]
  const isText = kind === 'git' || kind === 'pypi'
  headers.unshift(['content-type', isText ? 'text/plain; charset=utf-8' : 'application/json'])
  const body = isText ? `${message}\n` : JSON.stringify(shapeOf(kind, code, status, message))
  return { status, headers, body: Buffer.from(body) }
}

function shapeOf(kind: UpstreamKind, code: ErrorCode, status: number, message: string): unknown {
  switch (kind) {
    case 'anthropic':
      return { type: 'error', error: { type: status === 402 ? 'billing_error' : 'invalid_request_error', message } }
    case 'openai':
      return { error: { message, type: 'invalid_request_error', param: null, code } }
    case 'google':
      return { error: { code: status, message, status: GOOGLE_WORDS[status] ?? 'PERMISSION_DENIED' } }
    case 'npm':
      return { error: message }
    default:
      return { code, message }
  }
}
