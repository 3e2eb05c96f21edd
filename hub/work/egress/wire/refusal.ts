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

/**
 * The answer to a request that does not pass. `text` says what to change; nothing of it is secret. `path` is the path that was asked for: git shows
 * a reason only in the form of the answer that it waits for.
 */
export function refusalFor(kind: UpstreamKind, code: ErrorCode, text: string, path = ''): ShapedRefusal {
  const message = `${code}: ${text}`
  if (kind === 'git' && /\/git-(?:receive|upload)-pack$/.test(path)) return refusalOfGit(message, path)
  const status = OWN_STATUS[code] ?? FINAL[kind]
  const isText = kind === 'git' || kind === 'pypi'
  const body = isText ? `${message}\n` : JSON.stringify(shapeOf(kind, code, status, message))
  const type = isText ? 'text/plain; charset=utf-8' : 'application/json'
  // The SDKs of Anthropic and OpenAI obey the second above their own judgement.
  return {
    status,
    headers: [
      ['content-type', type],
      ['x-should-retry', 'false'],
    ],
    body: Buffer.from(body),
  }
}

/** An error of the protocol within an answer of 200: of an answer of 403 to these two, git shows the number and nothing else. */
function refusalOfGit(message: string, path: string): ShapedRefusal {
  const isPush = path.endsWith('/git-receive-pack')
  const line = Buffer.from(isPush ? `\u0003${message}\n` : `ERR ${message}\n`)
  const length = Buffer.from((line.length + 4).toString(16).padStart(4, '0'))
  const type = `application/x-git-${isPush ? 'receive' : 'upload'}-pack-result`
  return { status: 200, headers: [['content-type', type]], body: Buffer.concat([length, line, Buffer.from('0000')]) }
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
