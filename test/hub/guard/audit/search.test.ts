/** Rare questions to the audit log: what they find, and how little of the log they read for it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { nextTurn } from '../../../../hub/base/turn.ts'
import { createAuditSearch } from '../../../../hub/guard/audit/search.ts'
import { type AuditHome, createAuditHome } from '../../../support/audit-home.ts'

let log: AuditHome
beforeEach(() => {
  log = createAuditHome()
})
afterEach(() => log[Symbol.dispose]())

const SESSION = 's234567abcdefghi'

/** The search, and how many records it was given to look through. */
function counted() {
  const { audit } = log
  const read = { records: 0 }
  const search = createAuditSearch(
    {
      head: () => audit.head(),
      search(query) {
        const found = audit.search(query)
        read.records += (query.before ?? audit.head().size + 1) - found.searchedTo
        return found
      },
      atMsOf(seq) {
        read.records += 1
        return audit.atMsOf(seq)
      },
    },
    nextTurn,
  )
  return { search, read }
}

describe('what a session did', () => {
  const captured = () =>
    log.append(1, { action: 'session.captured', resource: `session:${SESSION}`, effect: 'evidence' })

  it('is found without reading what came days later or days before, in tables and in sealed files', async () => {
    log.at('2026-10-02T12:00:00Z')
    log.append(3000)
    log.at('2026-10-12T12:00:00Z')
    const atMs = log.clock.wallMs()
    log.append(50)
    captured()
    log.append(50)
    log.at('2026-10-28T12:00:00Z')
    log.append(3000)
    const during = { action: 'session.captured', sinceMs: atMs, untilMs: atMs }
    const look = async () => {
      const { search, read } = counted()
      expect((await search.ofSession(SESSION, during, 1000)).map(({ seq }) => seq)).toEqual([3051])
      return read.records
    }
    expect(await look()).toBeLessThan(3300)
    log.at('2026-11-02T12:00:00Z')
    log.append(10)
    await log.sealing.round()
    await log.sealing.drop('2026-10')
    expect(await look()).toBeLessThan(1000)
  })

  it('is found though the clock was half a day off meanwhile, and of nothing there is nothing', async () => {
    const atMs = log.clock.wallMs()
    log.append(20)
    log.clock.stepWall(43_200_000)
    captured()
    log.clock.stepWall(-86_400_000)
    log.append(20)
    const { search } = counted()
    const during = { sinceMs: atMs, untilMs: atMs }
    expect((await search.ofSession(SESSION, during, 1000)).map(({ seq }) => seq)).toEqual([21])
    expect(await search.ofSession('s234567abcdefghj', during, 1000)).toEqual([])
  })
})
