/** Small facts of the hub itself: its epoch, the high-water wall clock, the mode last demanded by a lease. */
import type { Store } from './database.ts'

export interface Meta {
  get(key: MetaKey): string | undefined
  /** Inside or outside a transaction. */
  set(key: MetaKey, value: string): void
}
export type MetaKey =
  | 'instance'
  | 'epoch'
  | 'high_water_wall_ms'
  | 'wall_unproven'
  | 'nonce_horizon_ms'
  | 'lease_demand'
  | 'lease_position'
  | 'dispatched_total'
  | 'token_keys'
  | 'stop_held'
  | 'drill_last'
  | 'drill_good_ms'
  | 'drill_contact_ms'
  | 'drill_since_ms'
  | 'rest_mark'
  | 'stop_wishes_done'
  | 'audit_marked'
  | 'audit_forwarded'
  | 'audit_looked_at'
  | 'policy_data'
  | 'profile'
  | 'policy_rules'
  | 'mode_repeated'
  | 'worked_ms'

export function createMeta(store: Store): Meta {
  const read = store.prepare('select value from meta where key = ?').pluck()
  const write = store.prepare('insert into meta values (?, ?) on conflict (key) do update set value = excluded.value')
  return {
    get: (key) => read.get(key) as string | undefined,
    set: (key, value) => {
      const save = () => void write.run(key, value)
      if (store.inTransaction) save()
      else store.transaction(save)
    },
  }
}
