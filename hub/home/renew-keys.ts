/**
 * `hub keys renew`: new keys in place of lost or damaged ones, while no hub runs on the home (fault G4). Open tokens end;
 * nothing else does. The key that signs the audit log is never made again: with a new one nobody could prove the past.
 */
import { existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { HubError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { replaceFile } from '../base/whole-file.ts'
import { createAuditLog } from '../guard/audit/log.ts'
import { renewTokenKey } from '../guard/identity/key-ring.ts'
import { newSharedKey, readKeys, readSigningKey } from '../guard/identity/keys.ts'
import { openStore, type Store } from '../store/database.ts'
import { createMeta } from '../store/meta.ts'
import { shippedMigrations } from '../store/migrations.ts'

export interface RenewalReport {
  home: string
  /** Files that were made again; none when every key was whole. */
  renewed: string[]
}

/** Throws `conflict` while a hub runs on the home, `config_invalid` if there is no used home or the key that signs the log is lost. */
export function renewKeys(
  { home }: { home: string },
  { clock, random }: { clock: Clock; random: Random },
): RenewalReport {
  const folder = join(home, 'keys')
  if (!existsSync(join(home, 'hub.db')))
    throw new HubError(
      'config_invalid',
      `there is no hub.db in ${home}, so there are no tokens to renew keys for; run \`hub init\``,
    )
  const store = openStore(join(home, 'hub.db'))
  try {
    requireSchema(store)
    const renewed: string[] = []
    const meta = createMeta(store)
    if (!isWhole(() => readKeys(folder))) {
      // Only the shared one of these two keys may be made again; a fault of the other is thrown here.
      readSigningKey(join(folder, 'checkpoint.key'))
      // What the old key signed goes first, so that an interrupted renewal can be repeated. Without a ledger the hub writes one from its database.
      if (existsSync(join(home, 'ledger.json')))
        renameSync(join(home, 'ledger.json'), join(home, `ledger.json.before-${clock.wallMs()}`))
      replaceFile(join(folder, 'watchdog.key'), newSharedKey(random))
      renewed.push('keys/watchdog.key')
    }
    const stand = meta.get('token_keys')
    const active = /"active":"([0-9a-f]{16})"/.exec(stand ?? '')?.[1]
    const isActive = () => {
      const { kid } = readSigningKey(join(folder, 'token.key'))
      // The database's row about the keys is damaged: the new key is written there again.
      return stand === undefined || kid === active
    }
    if (!isWhole(isActive)) renewed.push('keys/token.key')
    if (renewed.length > 0)
      store.transaction(() => {
        const kid = renewed.includes('keys/token.key') ? renewTokenKey({ folder }, { meta }) : undefined
        createAuditLog({ store, clock }).append({
          principal: 'operator',
          action: 'keys.renewed',
          resource: 'keys',
          decisionId: null,
          policyRevision: null,
          payloadHash: null,
          outcome: 'ok',
          reason: `lost or damaged: ${renewed.join(', ')}`,
          effect: kid === undefined ? 'key:watchdog' : `key:${kid}`,
        })
      })
    return { home, renewed }
  } finally {
    store.close()
  }
}

/** The record of this needs the tables of this version; only a start updates an older database, because it makes a copy first. */
function requireSchema(store: Store): void {
  const known = new Set(store.prepare('select name from migration').pluck().all() as string[])
  if (!shippedMigrations().every(({ name }) => known.has(name)))
    throw new HubError(
      'config_invalid',
      'the database is of an earlier version; run hub up once: it updates the database and then names the key. Then renew again',
    )
}

function isWhole(look: () => unknown): boolean {
  try {
    return look() !== false
  } catch {
    return false
  }
}
