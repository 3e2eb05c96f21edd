import { describe, expect, it } from 'vitest'
import { ERRORS, type ErrorCode } from '../../../../../hub/base/errors.ts'
import type { UpstreamKind } from '../../../../../hub/protocol/egress/upstreams.ts'
import { refusalFor } from '../../../../../hub/work/egress/wire.ts'

const KINDS: UpstreamKind[] = ['anthropic', 'openai', 'google', 'git', 'npm', 'pypi', 'http']
const read = (kind: UpstreamKind, code: ErrorCode) => JSON.parse(refusalFor(kind, code, 'do this').body.toString())

describe('a refusal', () => {
  it('has the status that real clients take as final, whatever its code', () => {
    for (const kind of KINDS)
      for (const code of Object.keys(ERRORS) as ErrorCode[]) {
        const { status } = refusalFor(kind, code, 'x')
        expect([400, 402, 403, 415], `${kind} ${code}`).toContain(status)
      }
    const ofBudget = KINDS.map((kind) => refusalFor(kind, 'budget_exceeded', 'x').status)
    expect(ofBudget).toEqual([402, 400, 403, 403, 403, 403, 403])
    expect(refusalFor('openai', 'schema_invalid', 'x').status).toBe(400)
    expect(refusalFor('anthropic', 'encoding_refused', 'x').status).toBe(415)
  })

  it('has the shape of the provider, so that its client shows the words', () => {
    expect(read('anthropic', 'budget_exceeded')).toEqual({
      type: 'error',
      error: { type: 'billing_error', message: 'budget_exceeded: do this' },
    })
    expect(read('openai', 'budget_exceeded')).toEqual({
      error: {
        message: 'budget_exceeded: do this',
        type: 'invalid_request_error',
        param: null,
        code: 'budget_exceeded',
      },
    })
    expect(read('google', 'egress_denied')).toEqual({
      error: { code: 403, message: 'egress_denied: do this', status: 'PERMISSION_DENIED' },
    })
    expect(read('npm', 'egress_denied')).toEqual({ error: 'egress_denied: do this' })
    expect(read('http', 'egress_denied')).toEqual({ code: 'egress_denied', message: 'egress_denied: do this' })
    for (const kind of ['git', 'pypi'] as const) {
      const { headers, body } = refusalFor(kind, 'egress_denied', 'do this')
      expect(headers[0]?.[1]).toMatch(/^text\/plain/)
      expect(body.toString()).toBe('egress_denied: do this\n')
    }
  })

  it('to a push or a fetch of git is an error of its protocol, since git shows no other', () => {
    const text = (path: string) => refusalFor('git', 'egress_denied', 'do this', path).body.toString()
    expect(text('/me/tool/git-receive-pack')).toBe('001c\u0003egress_denied: do this\n0000')
    expect(text('/me/tool/git-upload-pack')).toBe('001fERR egress_denied: do this\n0000')
    expect(text('/me/tool/info/refs')).toBe('egress_denied: do this\n')
  })

  it('says to the SDKs that trying again is of no use', () => {
    expect(refusalFor('openai', 'egress_denied', 'x').headers).toContainEqual(['x-should-retry', 'false'])
  })
})
