/** Filters of the log, and one record in full: the same from the table of a month and from its sealed file. */
import { writeFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { nextTurn } from '../../../../hub/base/turn.ts'
import { createDecisionMarks } from '../../../../hub/guard/audit/decision-marks.ts'
import { type AuditFilter, idsOf } from '../../../../hub/guard/audit/filter.ts'
import { createAuditShow } from '../../../../hub/guard/audit/show.ts'
import type { AuditRecord } from '../../../../hub/protocol/audit-chain.ts'
import { type AuditHome, createAuditHome, entry } from '../../../support/audit-home.ts'

let log: AuditHome
beforeEach(() => {
  log = createAuditHome()
})
afterEach(() => log[Symbol.dispose]())

const TASK = '018f0000-0000-7000-8000-00000000000a'
const OTHER = '018f0000-0000-7000-8000-00000000000b'
const DECISION = '018f0000-0000-7000-8000-0000000000d0'
const [MINE, YOURS] = ['saaaaaaaaaaaaaaa', 'sbbbbbbbbbbbbbbb']

/** Records of two agents, two tasks and the operator, in turn, over two months; the first of them may become a file. */
function fill(): void {
  const kinds = [
    { principal: 'operator', action: 'task.submitted', resource: 'agent:reader', effect: `task:${TASK}` },
    { principal: 'operator', action: 'task.cancelled', resource: `task:${OTHER}` },
    { principal: `agent:reader/${MINE}`, action: 'message.sent', resource: `session:${YOURS}`, decisionId: DECISION },
    { principal: `agent:read/${YOURS}`, action: 'task.logged', resource: `task:${TASK}`, outcome: 'refused' as const },
    { principal: 'hub:reaper', action: 'session.reaped', resource: `session:${MINE}`, outcome: 'failed' as const },
    { principal: `agent:reader/${MINE} (unproven)`, action: 'session.joined', resource: 'agent:read' },
    { principal: 'operator', action: 'mode.made_safe', resource: 'mode', effect: 'a%_b' },
  ]
  const some = (rounds: number) => {
    for (let n = 0; n < rounds; n += 1) {
      log.store.transaction(() => {
        for (const kind of kinds) log.audit.append({ ...entry(''), ...kind })
      })
      log.checkpoints.take()
      log.clock.stepWall(1000)
    }
  }
  log.at('2026-10-30T12:00:00Z')
  some(100)
  log.at('2026-11-01T00:00:00Z')
  some(20)
}

async function dropFirst(): Promise<void> {
  await log.sealing.round()
  await log.sealing.drop('2026-10')
  expect(log.states()).toEqual(['2026-10 dropped', '2026-11 open'])
}

/** All that a filter finds, however many looks back it takes. */
function found(filter: AuditFilter): number[] {
  const seqs: number[] = []
  for (let before: number | undefined; before === undefined || before > 1; ) {
    const page = log.audit.search({ limit: 50, ...filter, ...(before === undefined ? {} : { before }) })
    seqs.push(...page.records.map(({ seq }) => seq))
    before = page.searchedTo
  }
  return seqs
}

const decide = () =>
  log.store
    .prepare('insert into decision values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
    .run(
      DECISION,
      log.clock.wallMs(),
      'hub/admit/decision',
      '{"operation":"message.send","principal":{"id":"reader","kind":"agent"}}',
      'ab'.repeat(32),
      '[]',
      '{"effect":"allow","code":"","reason":"listed","rule":"messages.allowed","narrow":{}}',
      '{"hub":"test"}',
      '{}',
      'r-1',
      1,
    )

const showing = () => {
  let turns = 0
  const turn = async () => {
    turns += 1
    await nextTurn()
  }
  const { store, audit, checkpoints, home } = log
  const marks = createDecisionMarks({ store, audit, forgetMemory: () => undefined })
  const { show } = createAuditShow({ home, audit, checkpoints, marks, turn })
  return { show, turns: () => turns }
}

describe('S1-64: filters of the audit log', () => {
  it('each finds exactly what it names, in a table and in a sealed file alike', async () => {
    fill()
    const records = log.everything().records as AuditRecord[]
    const by = (wanted: (record: AuditRecord) => boolean) =>
      records
        .filter(wanted)
        .map(({ seq }) => seq)
        .reverse()
    const [first] = records
    const fromMs = (first?.atMs ?? 0) + 40_000
    const cases: [AuditFilter, number[]][] = [
      [{}, by(() => true)],
      [{ action: 'message.sent' }, by(({ seq }) => seq % 7 === 3)],
      [{ outcome: 'failed' }, by(({ seq }) => seq % 7 === 5)],
      [{ decision: DECISION }, by(({ seq }) => seq % 7 === 3)],
      [{ session: MINE }, by(({ seq }) => [3, 5, 6].includes(seq % 7))],
      [{ session: YOURS }, by(({ seq }) => [3, 4].includes(seq % 7))],
      // An agent whose name begins like another's is not the other.
      [{ agent: 'read' }, by(({ seq }) => [4, 6].includes(seq % 7))],
      [{ agent: 'reader' }, by(({ seq }) => [1, 3, 6].includes(seq % 7))],
      [{ tasks: { ids: [TASK], sessions: [] } }, by(({ seq }) => [1, 4].includes(seq % 7))],
      [{ tasks: { ids: [TASK], sessions: [MINE] } }, by(({ seq }) => [1, 3, 4, 5, 6].includes(seq % 7))],
      [{ tasks: { ids: [OTHER], sessions: [] }, outcome: 'refused' }, []],
      [
        { tasks: { ids: [OTHER, TASK], sessions: [YOURS, MINE] } },
        by(({ seq }) => [1, 2, 3, 4, 5, 6].includes(seq % 7)),
      ],
      [{ names: [] }, []],
      // Not a pattern: what a database takes for one is a letter here.
      [{ names: ['a%_b'] }, by(({ seq }) => seq % 7 === 0)],
      [{ names: ['%'], action: 'message.sent' }, []],
      [{ fromMs }, by(({ atMs }) => atMs >= fromMs)],
      [{ untilMs: fromMs, outcome: 'refused' }, by(({ atMs, outcome }) => atMs < fromMs && outcome === 'refused')],
    ]
    for (const [filter, seqs] of cases) expect(found(filter), JSON.stringify(filter)).toEqual(seqs)
    await dropFirst()
    for (const [filter, seqs] of cases) expect(found(filter), `file: ${JSON.stringify(filter)}`).toEqual(seqs)
  })

  it('any two of them together find what both find', () => {
    fill()
    const each: fc.Arbitrary<AuditFilter> = fc.oneof(
      fc.constantFrom<AuditFilter>({ action: 'message.sent' }, { action: 'session.joined' }, { action: 'nothing' }),
      fc.constantFrom<AuditFilter>({ outcome: 'ok' }, { outcome: 'refused' }),
      fc.constantFrom<AuditFilter>({ agent: 'read' }, { agent: 'reader' }, { agent: "r'; --" }),
      fc.constantFrom<AuditFilter>({ session: MINE }, { session: YOURS }),
      fc.constantFrom<AuditFilter>({ names: [TASK] }, { names: [OTHER, MINE] }),
    )
    const ask = fc.property(each, each, (one, two) => {
      const [ones, twos] = [new Set(found(one)), found(two)]
      const isSameKey = Object.keys(one)[0] === Object.keys(two)[0]
      expect(found({ ...one, ...two })).toEqual(isSameKey ? twos : twos.filter((seq) => ones.has(seq)))
    })
    fc.assert(ask, { numRuns: 30 })
  })
})

describe('one record in full', () => {
  it('is the same from the table of its month and from its sealed file: decision, neighbours, signed head [audit-30]', async () => {
    fill()
    decide()
    const { show, turns } = showing()
    const whole = await show(38)
    expect(whole?.record).toMatchObject({ seq: 38, principal: `agent:reader/${MINE}`, decisionId: DECISION })
    expect(whole?.decision).toMatchObject({
      ...{ id: DECISION, effect: 'allow', rule: 'messages.allowed', reason: 'listed', revision: 'r-1' },
      input: { operation: 'message.send', principal: { id: 'reader', kind: 'agent' } },
    })
    expect(whole?.ids).toEqual([MINE, YOURS])
    // The ten nearest to each side that name one of both sessions: four of seven do.
    expect(whole?.before.map(({ seq }) => seq)).toEqual([19, 20, 24, 25, 26, 27, 31, 32, 33, 34])
    expect(whole?.after.map(({ seq }) => seq)).toEqual([39, 40, 41, 45, 46, 47, 48, 52, 53, 54])
    expect([whole?.searchedFrom, whole?.searchedTo]).toEqual([19, 54])
    expect(whole?.signed).toMatchObject({ size: 42, fault: null })
    expect(turns()).toBeGreaterThan(2)
    await dropFirst()
    // With the month go its decisions and the heads that the witness has seen.
    log.checkpoints.forWitness(Number.MAX_SAFE_INTEGER)
    log.store.prepare('delete from decision').run()
    log.checkpoints.purge(700)
    expect(await showing().show(38)).toEqual(whole)
    log.append(1, { decisionId: '018f0000-0000-7000-8000-0000000000d9' })
    expect(await showing().show(841)).toMatchObject({
      decision: null,
      decisionNote: expect.stringContaining('neither in'),
    })
  })

  it('finds a decision in the file of the month that named it last, and says which file cannot be read', async () => {
    fill()
    decide()
    // Not named in the open month, and not the one that keeps the newest bundle known.
    log.store
      .prepare(
        "insert into decision select '018f0000-0000-7000-8000-0000000000d1', timestamp_ms, path, input, input_digest, erased, result, labels, bundles, revision, 2 from decision",
      )
      .run()
    log.at('2026-12-01T00:00:00Z')
    log.append(10)
    await log.sealing.round()
    for (const month of ['2026-10', '2026-11']) await log.sealing.drop(month)
    await log.sealing.round()
    expect(log.store.prepare('select count(*) from decision where decision_id = ?').pluck().get(DECISION)).toBe(0)
    const { show } = showing()
    expect((await show(38))?.decision).toMatchObject({ id: DECISION, rule: 'messages.allowed' })
    writeFileSync(log.fileOf('2026-10'), 'not gzip')
    expect(await show(38)).toMatchObject({
      decision: null,
      decisionNote: expect.stringContaining('audit/2026-10.jsonl.gz cannot be read'),
    })
  })

  it('is not called bound to a head when something between them was changed, and has none before it is signed', async () => {
    fill()
    log.store.transaction(() => log.audit.append(entry(`task:${TASK}`)))
    const { show } = showing()
    expect(await show(841)).toMatchObject({ signed: null, after: [] })
    expect(await show(842)).toBeUndefined()
    log.store.prepare('drop trigger audit_record_is_append_only_update').run()
    log.store.prepare("update audit_record set reason = 'other' where seq = 717").run()
    expect((await show(716))?.signed).toMatchObject({
      size: 721,
      fault: expect.stringMatching(/record 717: its content/),
    })
    expect((await show(718))?.signed?.fault).toBeNull()
    expect((await show(710))?.signed?.fault).toBeNull()
  })

  it('names the ids of tasks and sessions, and takes no word for one', () => {
    const of = (principal: string, resource: string, effect = '') =>
      idsOf({ principal, resource, effect } as AuditRecord)
    expect(of('operator', `task:${TASK}`, `task:${TASK}`)).toEqual([TASK])
    expect(of(`agent:reader/${MINE} (unproven)`, `alert:${OTHER}`)).toEqual([MINE, OTHER])
    expect(of('operator', 'agent:saaaaaaaaaaaaaaaa', 'saaaaaaaaaaaaaaa')).toEqual([])
  })
})
