/**
 * Identity tokens: compact JWS, EdDSA, `agent+jwt` (docs/protocol.md 2, RFC 8725). The hub is the only issuer.
 * Every refusal is one constant `unauthenticated`; the true reason goes to the audit log only.
 */
import { createHash, type KeyObject } from 'node:crypto'
import { compactVerify, SignJWT } from 'jose'
import { z } from 'zod'
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import { newNonce, type Random } from '../../base/random.ts'
import { parseStrictJson } from '../../base/strict-json.ts'
import { nameShape, sessionIdShape, tokenIdShape, uuidShape } from '../../protocol/ids.ts'
import { decodeCanonical } from './base64url.ts'
import { CLOCK_SKEW_MS } from './clock-skew.ts'
import type { SigningKey } from './keys.ts'

export const TOKEN_LIFE_MS = 300_000
export const TOKEN_BYTES_MAX = 4096
const TYPE = 'agent+jwt'
const AUDIENCE = 'hub'

const instant = z.int().nonnegative()
const claimsShape = z.strictObject({
  iss: z.string(),
  aud: z.literal(AUDIENCE),
  sub: z.string(),
  jti: tokenIdShape,
  iat: instant,
  nbf: instant,
  exp: instant,
  sid: sessionIdShape,
  cid: z.string().max(64),
  gen: z.int().positive(),
  task: uuidShape,
  cap: z.array(nameShape),
  dlg: z.int().nonnegative(),
  cnf: z.strictObject({ jkt: z.string().regex(/^[A-Za-z0-9_-]{43}$/) }),
})
export type Claims = z.output<typeof claimsShape>

/** What the session row says now; the token must agree with it. */
export interface SessionFacts {
  session: string
  agent: string
  task: string
  generation: number
  containerId: string
  publicKey: string
  capabilities: readonly string[]
  depthLeft: number
  live: boolean
}

export interface Tokens {
  /**
   * `leftMs`: what is left of the session's life, by boot time. Its last instant by the wall clock is past once somebody set that clock
   * ahead and the operator took it as right (T71). `nowMs` is the clock `expiresAtMs` is of.
   */
  mint(facts: SessionFacts, leftMs: number): Promise<{ token: string; expiresAtMs: number; nowMs: number }>
  /** Verifies in the order of docs/protocol.md 2 and answers the claims. Throws `unauthenticated`. */
  verify(token: string, socketSession: string, factsOf: (session: string) => SessionFacts | undefined): Promise<Claims>
}

/** RFC 7638 thumbprint of an Ed25519 public key given as base64url. */
export const thumbprint = (publicKey: string): string =>
  createHash('sha256').update(`{"crv":"Ed25519","kty":"OKP","x":"${publicKey}"}`).digest('base64url')

const subjectOf = (instance: string, agent: string, session: string): string =>
  `spiffe://${instance}/agent/${agent}/${session}`

export const unauthenticated = (reason: string): HubError => new HubError('unauthenticated', '', { reason })

/** Marks a token of this hub that came in for another session, container or key: never an accident (T8). The answer does not show it. */
const FOREIGN = Symbol('foreign token')
export const isForeignToken = ({ cause }: HubError): boolean => cause === FOREIGN
const foreign = ({ reason }: HubError): HubError => new HubError('unauthenticated', '', { reason, cause: FOREIGN })

export function createTokens(parts: {
  instance: string
  /** The key that signs now, and the public key of an id while it verifies. */
  keys: { active(): SigningKey; find(kid: string): KeyObject | undefined }
  /** The steady one: no step of the wall clock revives a token (T71). */
  clock: Pick<Clock, 'wallMs'>
  /** How much earlier than now the token may have arrived. */
  heldBackMs?: () => number
  random: Random
  denied: (jti: string) => boolean
}): Tokens {
  const { instance, keys, clock, random, denied, heldBackMs = () => 0 } = parts

  return {
    async mint(facts, leftMs) {
      const nowMs = clock.wallMs()
      const iat = Math.floor(nowMs / 1000)
      const exp = Math.floor(Math.min(iat * 1000 + TOKEN_LIFE_MS, nowMs + leftMs) / 1000)
      const claims: Claims = {
        iss: instance,
        aud: AUDIENCE,
        sub: subjectOf(instance, facts.agent, facts.session),
        jti: newNonce(random),
        iat,
        nbf: iat,
        exp,
        sid: facts.session,
        cid: facts.containerId,
        gen: facts.generation,
        task: facts.task,
        cap: [...facts.capabilities],
        dlg: facts.depthLeft,
        cnf: { jkt: thumbprint(facts.publicKey) },
      }
      // Taken once: a rotation meanwhile must not combine one key's id with the other's signature.
      const { kid, privateKey } = keys.active()
      const token = await new SignJWT(claims).setProtectedHeader({ alg: 'EdDSA', typ: TYPE, kid }).sign(privateKey)
      return { token, expiresAtMs: exp * 1000, nowMs }
    },

    async verify(token, socketSession, factsOf) {
      const header = readHeader(token)
      const key = keys.find(header.kid)
      if (key === undefined) throw unauthenticated('the token names an unknown key')
      const payload = await compactVerify(token, key, { algorithms: ['EdDSA'] }).then(
        (verified) => verified.payload,
        () => undefined,
      )
      if (payload === undefined) throw unauthenticated('the token has a wrong signature')
      const claims = readClaims(payload)
      try {
        judgeClaims(claims, instance, clock.wallMs(), heldBackMs())
        judgeSession(claims, instance, socketSession, factsOf(claims.sid))
      } catch (thrown) {
        // Even if it is also old or ended: it never belonged here.
        throw claims.sid === socketSession ? thrown : foreign(toHubError(thrown))
      }
      if (denied(claims.jti)) throw unauthenticated('the token is on the deny list')
      return claims
    },
  }
}

/** Length, alphabet, re-encoding and the exact header, before any key is chosen. */
function readHeader(token: string): { kid: string } {
  if (token.length > TOKEN_BYTES_MAX) throw unauthenticated('the token is too long')
  const segments = token.split('.')
  if (segments.length !== 3) throw unauthenticated('the token does not have three segments')
  const decoded = segments.map((segment) => (segment === '' ? undefined : decodeCanonical(segment)))
  const [head, , signature] = decoded
  if (decoded.includes(undefined) || head === undefined)
    throw unauthenticated('a token segment is not canonical base64url')
  if (signature?.length !== 64) throw unauthenticated('the signature is not of 64 bytes')
  const header = strictJson(head, 'header')
  if (typeof header !== 'object' || header === null || Array.isArray(header))
    throw unauthenticated('the token header is not an object')
  const { alg, typ, kid, ...rest } = header as Record<string, unknown>
  if (alg !== 'EdDSA' || typ !== TYPE || typeof kid !== 'string' || Object.keys(rest).length > 0) {
    throw unauthenticated('the token header is not exactly alg, typ and kid as the hub writes them')
  }
  return { kid }
}

function readClaims(payload: Uint8Array): Claims {
  const parsed = claimsShape.safeParse(strictJson(payload, 'payload'))
  if (!parsed.success)
    throw unauthenticated(`a claim is missing or has the wrong type: ${parsed.error.issues[0]?.path.join('.') ?? ''}`)
  return parsed.data
}

function strictJson(bytes: Uint8Array, what: string): unknown {
  try {
    return parseStrictJson(bytes, 4)
  } catch (thrown) {
    throw unauthenticated(`the token ${what}: ${(thrown as Error).message}`)
  }
}

function judgeSession(claims: Claims, instance: string, socketSession: string, facts: SessionFacts | undefined): void {
  if (facts === undefined || !facts.live) throw unauthenticated('the session of the token has ended')
  if (claims.gen !== facts.generation) throw unauthenticated('the token is of an earlier generation')
  if (claims.cid !== facts.containerId) throw foreign(unauthenticated('the token is of another container'))
  if (claims.cnf.jkt !== thumbprint(facts.publicKey))
    throw foreign(unauthenticated('the token is bound to another key'))
  if (claims.sid !== socketSession || claims.sub !== subjectOf(instance, facts.agent, socketSession))
    throw foreign(unauthenticated('the token of another session came in on this socket'))
}

function judgeClaims(claims: Claims, instance: string, nowMs: number, heldBackMs: number): void {
  if (claims.iss !== instance) throw unauthenticated('the token is of another issuer')
  const [iatMs, nbfMs, expMs] = [claims.iat * 1000, claims.nbf * 1000, claims.exp * 1000]
  if (expMs - iatMs > TOKEN_LIFE_MS || expMs <= iatMs) throw unauthenticated('the token has an impossible life')
  if (iatMs > nowMs + CLOCK_SKEW_MS || nbfMs > nowMs + CLOCK_SKEW_MS)
    throw unauthenticated('the token is from the future')
  if (expMs + CLOCK_SKEW_MS + heldBackMs <= nowMs) throw unauthenticated('the token has expired')
}
