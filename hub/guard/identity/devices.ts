/**
 * Devices of the operator. Today one kind: a webhook, whose secret address a phone automation calls as a weak heartbeat
 * (safety.md section 2). Owns the table `device`.
 *
 * V1. A secret is shown once; only its hash is kept, and hashes are compared in constant time, all of them.
 * V2. A right secret is never made to wait for wrong ones (T17): what slows down guessing is 256 bits, what bounds the log is the caller.
 * V3. Revoked counts in memory at once, also while the store cannot be written.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import type { Store } from '../../store/database.ts'
import { assertGrant, assertStopGrant, type Grant, type StopGrant } from '../grant.ts'
import type { PolicyPrincipal } from '../policy/engine.ts'

export interface Device {
  name: string
  kind: 'webhook'
  createdAtMs: number
  usedAtMs: number | null
  revokedAtMs: number | null
}

const DEVICES_MAX = 32
const SECRET_BYTES = 32
const RIGHTS = { webhook: ['heartbeat'] } as const

export interface Devices {
  /** The effect of `device.add`; the secret is in the answer and nowhere else. Throws `conflict` for a name that is taken, `limit_exceeded`. */
  add(grant: Grant, name: string, kind: Device['kind']): { secret: string }
  /** The effect of `device.revoke`. Throws `conflict` when no device of that name is in force. */
  revoke(grant: StopGrant, name: string): void
  list(): Device[]
  /** The device of this secret, or undefined; revoked ones have none. */
  find(secret: string): Device | undefined
  /** Remembers when it was last used. */
  used(name: string): void
  /** Writes revocations that the store could not take; called by a loop. */
  saveAgain(): void
}

/** As whom a device asks the gate: with the rights of its kind, which the rules look at. */
export const devicePrincipal = ({ name, kind }: Device): PolicyPrincipal => ({
  kind: 'device',
  id: name,
  rights: RIGHTS[kind],
})

const hashOf = (secret: string): Buffer => createHash('sha256').update('hub-device-v1\n').update(secret).digest()

export function createDevices(parts: { store: Store; clock: Clock; random: Random }): Devices {
  const { store, clock, random } = parts
  const rows = store
    .prepare(
      `select name, kind, secret_hash as hash, created_at_ms as createdAtMs, used_at_ms as usedAtMs, revoked_at_ms as revokedAtMs
       from device order by created_at_ms`,
    )
    .all() as (Device & { hash: string })[]
  const known = new Map<string, { device: Device; hash: Buffer }>(
    rows.map(({ hash, ...device }) => [device.name, { device, hash: Buffer.from(hash, 'hex') }]),
  )

  const saveEnd = store.prepare('update device set revoked_at_ms = ? where name = ?')
  /** Revoked while the store could not be written. */
  const unsaved = new Set<string>()

  return {
    add(grant, name, kind) {
      assertGrant(grant, 'device.add')
      const inForce = [...known.values()].filter(({ device }) => device.revokedAtMs === null)
      if (inForce.some(({ device }) => device.name === name))
        throw new HubError('conflict', `there is a device ${name}; revoke it first, or choose another name`)
      if (inForce.length >= DEVICES_MAX) throw new HubError('limit_exceeded', `${DEVICES_MAX} devices are in force`)
      const secret = random.bytes(SECRET_BYTES).toString('base64url')
      const hash = hashOf(secret)
      const device = { name, kind, createdAtMs: clock.wallMs(), usedAtMs: null, revokedAtMs: null }
      store
        .prepare('insert or replace into device values (?, ?, ?, ?, null, null)')
        .run(name, kind, hash.toString('hex'), device.createdAtMs)
      store.afterCommit(() => known.set(name, { device, hash }))
      return { secret }
    },
    revoke(grant, name) {
      assertStopGrant(grant, 'device.revoke')
      const found = known.get(name)
      if (found === undefined || found.device.revokedAtMs !== null)
        throw new HubError('conflict', `no device ${name} is in force; see \`hub device list\``)
      const atMs = clock.wallMs()
      known.set(name, { ...found, device: { ...found.device, revokedAtMs: atMs } })
      store.onRollback(() => known.set(name, found))
      if (store.inTransaction) saveEnd.run(atMs, name)
      else unsaved.add(name)
    },
    list: () => [...known.values()].map(({ device }) => device),
    find(secret) {
      const given = hashOf(secret)
      let match: Device | undefined
      for (const { device, hash } of known.values()) {
        const isSame = timingSafeEqual(hash, given)
        if (isSame && device.revokedAtMs === null) match = device
      }
      return match
    },
    used(name) {
      const found = known.get(name)
      if (found === undefined) return
      const usedAtMs = clock.wallMs()
      known.set(name, { ...found, device: { ...found.device, usedAtMs } })
      const save = () => void store.prepare('update device set used_at_ms = ? where name = ?').run(usedAtMs, name)
      if (store.inTransaction) save()
      else store.transaction(save)
    },
    saveAgain() {
      if (unsaved.size === 0) return
      store.transaction(() => {
        for (const name of unsaved) saveEnd.run(known.get(name)?.device.revokedAtMs ?? clock.wallMs(), name)
      })
      unsaved.clear()
    },
  }
}
