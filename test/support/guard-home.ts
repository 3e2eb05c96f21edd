/** The whole guard ring over a real database in a folder of its own, with the shipped policy, a fake clock and seeded ids. */
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createRedaction } from '../../hub/base/redaction.ts'
import { silentLog } from '../../hub/base/telemetry.ts'
import { createGate, type GateParts } from '../../hub/guard/gate.ts'
import { createGuard, type Guard } from '../../hub/guard/guard.ts'
import { createKeyFiles, type HubKeys, readKeys } from '../../hub/guard/identity/keys.ts'
import type { TierLimits } from '../../hub/protocol/approval.ts'
import type { Profile } from '../../hub/protocol/flags.ts'
import { createFakeClock, type FakeClock } from './fake-clock.ts'
import { memoryFolder } from './memory-folder.ts'
import { shippedPolicies } from './policy-fixture.ts'
import { createSeededRandom } from './seeded-random.ts'

export interface GuardHome {
  readonly folder: string
  readonly clock: FakeClock
  readonly keys: HubKeys
  readonly guard: Guard
  /** Closes and opens the same home again, as a restart does; with another profile if one is given. */
  reopen(profile?: Profile): Guard
  /** A gate over the same store with parts in the place of its own. */
  gateWith(parts: Partial<GateParts>): ReturnType<typeof createGate>
  records(): {
    seq: number
    action: string
    outcome: string
    reason: string
    decision_id: string | null
    effect: string
  }[]
  [Symbol.dispose](): void
}

export function openGuardHome(options: { profile?: Profile; waits?: TierLimits } = {}): GuardHome {
  let { profile = 'standard' } = options
  const waits = options.waits === undefined ? {} : { waits: options.waits }
  const folder = mkdtempSync(join(memoryFolder(), 'hub-guard-'))
  const clock = createFakeClock()
  const random = createSeededRandom(folder)
  mkdirSync(join(folder, 'policy'))
  cpSync(join(shippedPolicies, 'data.json'), join(folder, 'policy', 'data.json'))
  createKeyFiles(join(folder, 'keys'), random)
  const keys = readKeys(join(folder, 'keys'))
  const open = () => {
    const opened = createGuard(
      { home: folder, instance: 'test-hub', keys, bundleFolder: shippedPolicies, profile, ...waits },
      { clock, random, log: silentLog(), redaction: createRedaction() },
    )
    // As in hub-harness.ts: nothing here takes the power away.
    opened.store.prepare('pragma synchronous = off').run()
    return opened
  }
  let guard = open()
  return {
    folder,
    clock,
    keys,
    get guard() {
      return guard
    },
    reopen(other) {
      guard.store.close()
      profile = other ?? profile
      guard = open()
      return guard
    },
    gateWith: (parts) => {
      const { store, audit, modes, decisions, nonces, refusals } = guard
      return createGate({ store, audit, modes, decisions, nonces, refusals, ...parts })
    },
    records: () => guard.store.prepare('select * from audit_record order by seq').all() as never,
    [Symbol.dispose]() {
      guard.store.close()
      rmSync(folder, { recursive: true })
    },
  }
}

/** Each refusal a record of its own, for tests that ask many things of one agent and look at every answer's record; summing has its own. */
export function recordEach({ refusals }: Pick<Guard, 'refusals'>): void {
  refusals.take = () => ({ isOwn: true, undo: () => undefined })
}

/** Lets the database file grow by no page more: the next write that needs one fails with SQLITE_FULL, really. Answers the way back. */
export function fillDisk(guard: Guard): () => void {
  const pages = () => guard.store.prepare('pragma page_count').pluck().get() as number
  guard.store.transaction(() => guard.store.prepare('create table if not exists ballast (bytes blob)').run())
  guard.store.prepare(`pragma max_page_count = ${pages()}`).get()
  for (;;) {
    try {
      guard.store.prepare('insert into ballast values (zeroblob(3000))').run()
    } catch {
      break
    }
  }
  return () => void guard.store.prepare('pragma max_page_count = 1000000').get()
}

/** A gate whose audit record finds the disk full, in whatever page it would have fallen: the effect has been done by then. */
export function fullDiskGate(home: GuardHome): ReturnType<typeof createGate> {
  const append = () => {
    throw Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' })
  }
  return home.gateWith({ audit: { ...home.guard.audit, append } })
}
