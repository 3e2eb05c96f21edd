/**
 * `hub keys renew`: new keys in the place of those that are lost or damaged, while no hub runs on the home (fault G4). Open tokens end;
 * nothing else does. The key that signs the audit log is never made anew: with another one nobody could prove what was before.
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
  /** Files that were made anew; none when every key was whole. */
  renewed: string[]
}

/** Throws `conflict` while a hub runs on the home, `config_invalid` where there is no used home or the signing key of the log is lost. */
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
      // Of the two that are read together only the shared one may be made anew; what is wrong with the other is said by this.
      readSigningKey(join(folder, 'checkpoint.key'))
      // First what is of the old key, so that a renewal that is cut is begun again: without a ledger the hub writes one from its database.
      if (existsSync(join(home, 'ledger.json')))
        renameSync(join(home, 'ledger.json'), join(home, `ledger.json.before-${clock.wallMs()}`))
      replaceFile(join(folder, 'watchdog.key'), newSharedKey(random))
      renewed.push('keys/watchdog.key')
    }
    const stand = meta.get('token_keys')
    const active = /"active":"([0-9a-f]{16})"/.exec(stand ?? '')?.[1]
    const isActive = () => {
      const { kid } = readSigningKey(join(folder, 'token.key'))
      // What the database says of the keys is damaged: a new one is said anew.
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

/** Its record needs the tables of this version; to bring a home of an earlier one up to date, with a copy, is for a start. */
function requireSchema(store: Store): void {
  const known = new Set(store.prepare('select name from migration').pluck().all() as string[])
  if (!shippedMigrations().every(({ name }) => known.has(name)))
    throw new HubError(
      'config_invalid',
      'the database is of an earlier version; run hub up once, which brings it up to date and then names the key, and renew again',
    )
}

function isWhole(look: () => unknown): boolean {
  try {
    return look() !== false
  } catch {
    return false
  }
}
