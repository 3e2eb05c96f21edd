/**
 * What may speak to the hub for the operator, besides the socket. A *webhook* is an address that gives a weak heartbeat. An *app* is a device
 * with its own rights (docs/safety.md 2). A *console* is such a device in a browser of this machine. A *token* is automation with listed
 * actions and an end. Owns the table `credential`.
 *
 * V1. A secret is shown once; only its hash is kept, and hashes are compared in constant time, all of them.
 * V2. A right secret never waits for wrong ones (T17): 256 bits make guessing hopeless, and the caller bounds the log.
 * V3. A revocation counts in memory at once, even while the store cannot be written.
 * V4. Inputs and keys belong to the credential, not to its name: a new credential under an old name owns nothing of the old one (fault F9).
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { HubError } from '../../base/errors.ts'
import { base32, type Random } from '../../base/random.ts'
import type { Store } from '../../store/database.ts'
import { isTexts, readText } from '../../store/reading.ts'
import { assertGrant, assertStopGrant, type Grant, type StopGrant } from '../grant.ts'
import type { Principal } from '../principal.ts'

export type CredentialKind = 'webhook' | 'app' | 'console' | 'token'
export interface Credential {
  name: string
  /** A later credential of the same name has another id. Null for one made before ids existed. */
  id: string | null
  kind: CredentialKind
  /** Rights of a device, actions of a token. */
  scope: string[]
  createdAtMs: number
  /** Null: until it is revoked. */
  expiresAtMs: number | null
  usedAtMs: number | null
  revokedAtMs: number | null
}
export type NewCredential = Pick<Credential, 'name' | 'kind' | 'scope' | 'expiresAtMs'>

const IN_FORCE_MAX = 64
const SECRET_BYTES = 32
const ID_LENGTH = 16
/** A use is recorded at most this often; otherwise an app that polls would write at every look. */
const USED_EVERY_MS = 60_000

export interface Credentials {
  /** The effect of `device.add`, `console.join` and `token.create`; the secret is in the answer and nowhere else. Throws `conflict`, `limit_exceeded`. */
  add(grant: Grant, wanted: NewCredential): { secret: string }
  /** The effect of `device.revoke` and `token.revoke`. Throws `conflict` if none of that name and family is in force. */
  revoke(grant: StopGrant, name: string, kinds: readonly CredentialKind[]): void
  list(kinds: readonly CredentialKind[]): Credential[]
  namesInForce(): string[]
  /** The credential with this secret and one of these kinds; undefined if there is none in force. */
  find(secret: string, kinds: readonly CredentialKind[]): Credential | undefined
  /** Whether this one is still in force: for connections that stay open. */
  holds(credential: Credential): boolean
  /** Remembers when it was last used, to the minute; outside of a transaction never throws for a store that fails. */
  used(name: string): void
  /** Writes revocations that the store could not take; called by a loop. */
  saveAgain(): void
}

export const DEVICE_KINDS = ['webhook', 'app', 'console'] as const
/** The kinds that bring a bearer to the API. */
export const BEARER_KINDS = ['app', 'console', 'token'] as const
export const TOKEN_KINDS = ['token'] as const

/** The principal of its holder, with what the rules look at. */
export const principalOf = ({
  name,
  id,
  kind,
  scope,
}: Pick<Credential, 'name' | 'id' | 'kind' | 'scope'>): Principal => ({
  // Always there: without it, what it owns would belong to the name (V4).
  ...(id === null ? {} : { credential: id }),
  ...(kind === 'token'
    ? { kind: 'automation', id: name, actions: scope }
    : { kind: 'device', id: name, rights: scope, ...(kind === 'console' ? { via: 'console' } : {}) }),
})

/** As the watchdog knows them. */
export type HeartbeatSource = 'cli' | 'console' | 'device' | 'webhook'
/** A heartbeat of a device that may resume is strong. Any other is weak: it extends the deadline and ends nothing (docs/safety.md 2). */
export const heartbeatSourceOf = ({ kind, rights, via }: Principal): HeartbeatSource => {
  if (kind === 'operator') return 'cli'
  return rights?.includes('resume') === true ? (via ?? 'device') : 'webhook'
}

const hashOf = (secret: string): Buffer => createHash('sha256').update('hub-credential-v1\n').update(secret).digest()

export function createCredentials(parts: { store: Store; nowMs: () => number; random: Random }): Credentials {
  const { store, nowMs, random } = parts
  const rows = store
    .prepare(
      `select name, id, kind, scope, secret_hash as hash, created_at_ms as createdAtMs, expires_at_ms as expiresAtMs,
         used_at_ms as usedAtMs, revoked_at_ms as revokedAtMs from credential order by created_at_ms`,
    )
    .all() as (Omit<Credential, 'scope'> & { hash: string; scope: string })[]
  const known = new Map<string, { credential: Credential; hash: Buffer }>(
    rows.map(({ hash, scope, ...row }) => [
      row.name,
      // A credential whose rights cannot be read has none; it is listed, and can be revoked.
      { credential: { ...row, scope: readText<string[]>(scope, isTexts, []) }, hash: Buffer.from(hash, 'hex') },
    ]),
  )
  const saveEnd = store.prepare('update credential set revoked_at_ms = ? where name = ?')
  /** Revoked while the store could not be written. */
  const unsaved = new Set<string>()
  const isInForce = ({ revokedAtMs, expiresAtMs }: Credential) =>
    revokedAtMs === null && (expiresAtMs === null || nowMs() < expiresAtMs)

  return {
    add(grant, wanted) {
      assertGrant(grant, 'device.add', 'console.join', 'token.create')
      const inForce = [...known.values()].filter(({ credential }) => isInForce(credential))
      const same = inForce.find(({ credential }) => credential.name === wanted.name)
      if (same !== undefined)
        throw new HubError(
          'conflict',
          `there is a ${same.credential.kind} named ${wanted.name}; revoke it first, or choose another name`,
        )
      if (inForce.length >= IN_FORCE_MAX)
        throw new HubError('limit_exceeded', `${IN_FORCE_MAX} devices and tokens are in force`)
      const secret = random.bytes(SECRET_BYTES).toString('base64url')
      const hash = hashOf(secret)
      const id = base32(random, ID_LENGTH)
      const credential = { ...wanted, id, createdAtMs: nowMs(), usedAtMs: null, revokedAtMs: null }
      const { name, kind, scope, createdAtMs, expiresAtMs } = credential
      store
        .prepare(
          `insert or replace into credential (name, id, kind, scope, secret_hash, created_at_ms, expires_at_ms)
           values (?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(name, id, kind, JSON.stringify(scope), hash.toString('hex'), createdAtMs, expiresAtMs)
      store.afterCommit(() => known.set(name, { credential, hash }))
      return { secret }
    },
    revoke(grant, name, kinds) {
      assertStopGrant(grant, 'device.revoke', 'token.revoke')
      const found = known.get(name)
      // Revoked while the store could not be written; now it can.
      if (found !== undefined && unsaved.has(name) && store.inTransaction) {
        saveEnd.run(found.credential.revokedAtMs ?? nowMs(), name)
        store.afterCommit(() => unsaved.delete(name))
        return
      }
      if (found === undefined || !kinds.includes(found.credential.kind) || found.credential.revokedAtMs !== null)
        throw new HubError('conflict', `nothing named ${name} is in force; see \`hub device list\`, \`hub token list\``)
      const atMs = nowMs()
      known.set(name, { ...found, credential: { ...found.credential, revokedAtMs: atMs } })
      store.onRollback(() => known.set(name, found))
      if (store.inTransaction) saveEnd.run(atMs, name)
      else unsaved.add(name)
    },
    list: (kinds) => [...known.values()].map(({ credential }) => credential).filter(({ kind }) => kinds.includes(kind)),
    namesInForce: () =>
      [...known.values()].flatMap(({ credential }) => (isInForce(credential) ? [credential.name] : [])),
    find(secret, kinds) {
      const given = hashOf(secret)
      let match: Credential | undefined
      for (const { credential, hash } of known.values()) {
        const isSame = timingSafeEqual(hash, given)
        if (isSame && kinds.includes(credential.kind) && isInForce(credential)) match = credential
      }
      return match
    },
    holds({ name, id, createdAtMs }) {
      const found = known.get(name)?.credential
      return found !== undefined && found.id === id && found.createdAtMs === createdAtMs && isInForce(found)
    },
    used(name) {
      const found = known.get(name)
      const usedAtMs = nowMs()
      if (found === undefined || usedAtMs - (found.credential.usedAtMs ?? 0) < USED_EVERY_MS) return
      known.set(name, { ...found, credential: { ...found.credential, usedAtMs } })
      const save = () => void store.prepare('update credential set used_at_ms = ? where name = ?').run(usedAtMs, name)
      if (store.inTransaction) return save()
      try {
        store.transaction(save)
      } catch (thrown) {
        // A date that cannot be written refuses nothing: a stop must work while the store fails (I6).
        if (!(thrown instanceof HubError) || thrown.code !== 'store_unavailable') throw thrown
      }
    },
    saveAgain() {
      if (unsaved.size === 0) return
      store.transaction(() => {
        for (const name of unsaved) saveEnd.run(known.get(name)?.credential.revokedAtMs ?? nowMs(), name)
      })
      unsaved.clear()
    },
  }
}
