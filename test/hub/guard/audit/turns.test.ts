/** Whoever reads a long log lets others in. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { nextTurn } from '../../../../hub/base/turn.ts'
import { SEARCH_RECORDS } from '../../../../hub/guard/audit/reader.ts'
import { createAuditVerifier } from '../../../../hub/guard/audit/verifier.ts'
import { walkAudit } from '../../../../hub/guard/audit/walk.ts'
import { type AuditHome, createAuditHome, entry } from '../../../support/audit-home.ts'

let log: AuditHome
beforeEach(() => {
  log = createAuditHome()
})
afterEach(() => log[Symbol.dispose]())

/** No watchdog: what these walks find is the log's own. */
const ALONE = {
  askWitness: async () => ({ kind: 'away', reason: 'none' }) as const,
  onMismatch: () => undefined,
  onLooked: () => undefined,
}

describe('fault B5: the log is read in turns', () => {
  it('a walk lets others in after every 250 records, and ends when it is told to [audit-18]', async () => {
    log.append(2500)
    let turns = 0
    const turn = async () => {
      turns += 1
    }
    expect(await walkAudit({ home: log.home, audit: log.audit, checkpoints: log.checkpoints, turn })).toMatchObject({
      size: 2500,
      firstBad: null,
    })
    expect(turns).toBeGreaterThanOrEqual(9)
    const ending = new AbortController()
    const ended = walkAudit({
      home: log.home,
      audit: log.audit,
      checkpoints: log.checkpoints,
      turn: async () => ending.abort(),
      signal: ending.signal,
    })
    await expect(ended).rejects.toThrow('aborted')
  })

  it('a search looks back through a bounded number of records, and says how far it came', () => {
    log.store.transaction(() => log.audit.append({ ...entry('first'), action: 'hub.made' }))
    log.append(SEARCH_RECORDS + 500)
    const first = log.audit.search({ limit: 5, action: 'hub.made' })
    expect(first).toEqual({ records: [], searchedTo: 502 })
    const second = log.audit.search({ limit: 5, action: 'hub.made', before: first.searchedTo })
    expect(second.records.map(({ seq }) => seq)).toEqual([1])
    expect(second.searchedTo).toBe(1)
  })

  it('who asks while a walk is under way hears of one that began later; who names a span hears how far it is', async () => {
    log.append(1500)
    const heard: unknown[] = []
    const verifier = createAuditVerifier({
      walk: { home: log.home, audit: log.audit, checkpoints: log.checkpoints },
      turn: nextTurn,
      clock: { sleep: nextTurn, monotonicMs: log.clock.monotonicMs },
      onVerdict: (firstBad) => heard.push(firstBad),
      ...ALONE,
    })
    const first = verifier.verify()
    await nextTurn()
    log.store.prepare('drop trigger audit_record_is_append_only_update').run()
    log.store.prepare("update audit_record set reason = 'x' where seq = 1").run()
    const [second, third] = [verifier.verify(), verifier.verify()]
    expect((await first).firstBad).toBeNull()
    expect((await second).firstBad?.seq).toBe(1)
    expect(await third).toBe(await second)
    expect(heard).toEqual([null, expect.objectContaining({ seq: 1 })])
    log.store.prepare('update audit_record set reason = ? where seq = 1').run(entry('').reason)
    const under = await verifier.verifyWithin(1)
    expect(under).toMatchObject({ of: 1500 })
    let found: object = under
    while (!('firstBad' in found)) found = await verifier.verifyWithin(1)
    expect(found).toMatchObject({ firstBad: null, size: 1500 })
  })

  it('what nobody heard is told for ten seconds to who asks again, and never to who asks later', async () => {
    log.append(1500)
    let ended = 0
    const verifier = createAuditVerifier({
      walk: { home: log.home, audit: log.audit, checkpoints: log.checkpoints },
      turn: nextTurn,
      clock: { sleep: nextTurn, monotonicMs: log.clock.monotonicMs },
      onVerdict: () => {
        ended += 1
      },
      ...ALONE,
    })
    /** Asks, hears how far it is, and goes away. */
    const leave = async () => {
      const before = ended
      expect(await verifier.verifyWithin(1)).toMatchObject({ of: 1500 })
      while (ended === before) await nextTurn()
      await nextTurn()
    }
    await leave()
    log.clock.jump(9_000)
    expect(await verifier.verifyWithin(1)).toMatchObject({ firstBad: null })
    expect(ended).toBe(1)
    await leave()
    log.clock.jump(10_001)
    log.store.prepare('drop trigger audit_record_is_append_only_update').run()
    log.store.prepare("update audit_record set reason = 'x' where seq = 1").run()
    let found: object = await verifier.verifyWithin(1)
    while (!('firstBad' in found)) found = await verifier.verifyWithin(1)
    expect(found).toMatchObject({ firstBad: { seq: 1 } })
    expect(ended).toBe(3)
  })
})
