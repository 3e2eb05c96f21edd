/** Fault B3: what is done and old goes, by itself and by `hub prune`; nothing that anybody still needs does, and nothing without a record. */
import { createHash, randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { createSteadyClock } from '../../hub/guard/conditions/steady-clock.ts'
import { createPauses } from '../../hub/work/retention/pauses.ts'
import { openFakeWatchdog } from '../support/fake-watchdog.ts'
import { createHarness, type Harness, puppet, type TestAgent, worker } from '../support/hub-harness.ts'

const DAY_MS = 86_400_000
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const agents = {
  echo: { script: worker(() => 'done') },
  lead: { script: puppet, card: { may: { delegate: ['kid'] } } },
  kid: { script: puppet },
}
const put = (h: Harness, agent: TestAgent, text: string) =>
  h.pumped(
    agent.must({
      method: 'PUT',
      path: `/v1/artifacts/${sha256(text)}?name=${text}`,
      body: text,
      headers: { 'content-type': 'application/octet-stream', 'x-signed-digest': sha256(text) },
    }),
  )
const fileOf = (h: Harness, text: string) => join(h.home, 'artifacts', sha256(text).slice(0, 2), sha256(text))
const change = (h: Harness, sql: string, ...values: unknown[]) =>
  h.hub.guard.store.transaction(() => h.hub.guard.store.prepare(sql).run(...values))
/** As if it had ended, and left what it left, so many days earlier. */
function age(h: Harness, task: string, days: number): void {
  const by = days * DAY_MS
  change(h, 'update task set ended_at_ms = ended_at_ms - ? where id = ?', by, task)
  change(h, 'update artifact set created_at_ms = created_at_ms - ? where task = ?', by, task)
}
const isThere = (h: Harness, task: string) => h.hub.work.tasks.task(task) !== undefined
const records = (h: Harness, action: string) => h.audit().filter((row) => row.action === action)
const prune = (h: Harness, body: Record<string, unknown> = {}) => h.operator('POST', '/v1/retention/prune', body)
async function pruneAll(h: Harness): Promise<Record<string, number>> {
  const sum: Record<string, number> = {}
  for (let more = true, isFirst = true; more; isFirst = false) {
    const { status, body } = await prune(h, { isFirst })
    expect(status, JSON.stringify(body)).toBe(200)
    for (const [key, count] of Object.entries(body)) if (typeof count === 'number') sum[key] = (sum[key] ?? 0) + count
    more = body.more === true
  }
  return sum
}
/** A task of `lead` that stored these and ended. */
async function left(h: Harness, ...texts: string[]): Promise<string> {
  const [lead] = await h.bring('lead')
  for (const text of texts) await put(h, lead, text)
  await h.pumped(lead.result('done'))
  const task = lead.joined?.task.task ?? ''
  await h.ended(task)
  await h.quiet()
  return task
}

describe('fault B3: an ended task that is old enough', () => {
  test('goes by itself with its sessions, its artifacts and their files, and one record for each turn says how many', async () => {
    await using h = await createHarness({ agents })
    const old = await left(h, 'one')
    const young = await left(h, 'two')
    age(h, old, 31)
    age(h, young, 29)
    await h.until(() => !isThere(h, old), 'the old task is pruned', 5000)
    await h.until(() => !existsSync(fileOf(h, 'one')), 'its artifact is pruned', 200)
    expect(isThere(h, young)).toBe(true)
    expect(existsSync(fileOf(h, 'two'))).toBe(true)
    for (const table of ['session', 'attempt', 'artifact'])
      expect(h.hub.guard.store.prepare(`select count(*) from ${table} where task = ?`).pluck().get(old), table).toBe(0)
    expect(records(h, 'retention.turned').map(({ principal, effect }) => [principal, effect])).toEqual([
      ['hub:retention', 'tasks 1, sessions 1'],
      ['hub:retention', 'artifacts 1, artifactBytes 3'],
    ])
    expect(h.hub.guard.audit.verify().fault).toBeUndefined()
  })

  test('its key counts while the task is kept, and is new once the task is gone', async () => {
    await using h = await createHarness({ agents })
    const headers = { 'idempotency-key': randomUUID() }
    const submit = async () =>
      (await h.operator('POST', '/v1/tasks', { agent: 'echo' }, headers)).body.task as { id: string }
    const first = (await submit()).id
    await h.ended(first)
    await h.quiet()
    expect((await submit()).id).toBe(first)
    age(h, first, 31)
    expect((await submit()).id).toBe(first)
    await pruneAll(h)
    expect((await submit()).id).not.toBe(first)
  })

  test('stays while a child of it or it itself has not ended, is held, is being cleared away, or asks', async () => {
    await using h = await createHarness({ agents })
    const old = await left(h, 'one')
    age(h, old, 31)
    const family = (sql: string, ...values: unknown[]) => change(h, sql, ...values)
    const child = randomUUID()
    const row = `insert into task (id, state, needs, params, priority, held, depth, parent, chain, requested_by, created_at_ms)
      values (?, 'queued', '[]', '{}', 5, 1, 1, ?, '["lead"]', 'operator', 0)`
    family(row, child, old)
    expect((await pruneAll(h)).tasks).toBe(0)
    family(`update task set state = 'failed', held = 0, ended_at_ms = ? where id = ?`, h.clock.wallMs(), child)
    expect((await pruneAll(h)).tasks, 'a child that has ended lately').toBe(0)
    age(h, child, 40)
    family(`update session set state = 'recycling' where task = ?`, old)
    expect((await pruneAll(h)).tasks, 'a session that is not confirmed gone').toBe(0)
    family(`update session set state = 'recycled' where task = ?`, old)
    const [session] = h.sessionsOf(old)
    family(
      `insert into approval (id, kind, state, task, session, ask_id, question, principal, tier, due_ms, wait_ms, on_timeout, asked_at_ms)
      values ('a', 'ask_user', 'asked', ?, ?, 'q', 'may I?', 'agent:a', 'execute', 9e9, 9e9, 'abort', 0)`,
      old,
      session?.id,
    )
    expect((await pruneAll(h)).tasks, 'an open question').toBe(0)
    family(`update approval set state = 'expired'`)
    expect(await pruneAll(h)).toMatchObject({ tasks: 2, sessions: 1 })
    expect([isThere(h, old), isThere(h, child)]).toEqual([false, false])
  })

  test('stays while an unfinished task works on what it left; an artifact stays while any task that stands names it', async () => {
    await using h = await createHarness({ agents })
    const source = await left(h, 'pack', 'manifest', 'rest')
    const inputs = { manifest: sha256('manifest'), pack: sha256('pack') }
    const user = await h.submit('echo', {}, { inputs, hold: true })
    age(h, source, 31)
    expect(await pruneAll(h)).toMatchObject({ tasks: 0, artifacts: 1 })
    expect([existsSync(fileOf(h, 'pack')), existsSync(fileOf(h, 'rest'))]).toEqual([true, false])
    await h.operator('POST', `/v1/tasks/${user}/cancel`, {})
    expect(await pruneAll(h), 'its row goes, what the other was given does not').toMatchObject({
      tasks: 1,
      artifacts: 0,
    })
    expect(existsSync(fileOf(h, 'pack'))).toBe(true)
    age(h, user, 31)
    expect(await pruneAll(h)).toMatchObject({ tasks: 1, artifacts: 2, artifactBytes: 12 })
    expect(existsSync(fileOf(h, 'pack'))).toBe(false)
  })

  test('shares a file with another: it goes with the last row that names it', async () => {
    await using h = await createHarness({ agents })
    const [first, second] = [await left(h, 'same'), await left(h, 'same')]
    age(h, first, 31)
    expect(await pruneAll(h)).toMatchObject({ tasks: 1, artifacts: 1, artifactBytes: 0 })
    expect(existsSync(fileOf(h, 'same'))).toBe(true)
    age(h, second, 31)
    expect(await pruneAll(h)).toMatchObject({ artifacts: 1, artifactBytes: 4 })
    expect(existsSync(fileOf(h, 'same'))).toBe(false)
  })

  test('what is withheld of a quarantined session is kept as long as evidence', async () => {
    await using h = await createHarness({ agents })
    const task = await left(h, 'bad')
    change(h, 'update artifact set quarantined_at_ms = ?', h.clock.wallMs() - 60 * DAY_MS)
    age(h, task, 60)
    expect(await pruneAll(h)).toMatchObject({ tasks: 1, artifacts: 0 })
    change(h, 'update artifact set quarantined_at_ms = ?', h.clock.wallMs() - 91 * DAY_MS)
    expect(await pruneAll(h)).toMatchObject({ artifacts: 1 })
  })

  test('a file that no row names goes after an hour, as after a kill between commit and removal', async () => {
    await using h = await createHarness({ agents })
    mkdirSync(join(h.home, 'artifacts', sha256('lost').slice(0, 2)), { recursive: true })
    writeFileSync(fileOf(h, 'lost'), 'lost')
    const anHourAgo = (h.clock.wallMs() - 3_700_000) / 1000
    utimesSync(fileOf(h, 'lost'), anHourAgo, anHourAgo)
    // Sixteen of 256 folders a turn.
    for (let turn = 0; turn < 16 && existsSync(fileOf(h, 'lost')); turn += 1) await prune(h)
    expect(existsSync(fileOf(h, 'lost'))).toBe(false)
    expect(records(h, 'retention.pruned').at(-1)?.effect).toBe('artifacts 1, artifactBytes 4')
  })
})

test('fault B3: many go in turns of bounded size, each with its record, and a large tree with its deepest first', async () => {
  await using h = await createHarness({ agents })
  const store = h.hub.guard.store
  const row = `insert into task (id, state, needs, params, priority, held, depth, parent, chain, requested_by, created_at_ms, ended_at_ms)
    values (?, 'succeeded', '[]', '{}', 5, 0, ?, ?, '[]', 'operator', 0, 1000)`
  store.transaction(() => {
    for (let at = 0; at < 500; at += 1) store.prepare(row).run(`plain-${at}`, 0, null)
    store.prepare(row).run('root', 0, null)
    for (let at = 0; at < 300; at += 1) store.prepare(row).run(`leaf-${at}`, 1, 'root')
  })
  const { body: seen } = await h.operator('GET', '/v1/retention')
  expect(seen).toMatchObject({ tasks: 801, atLeast: false })
  expect((await prune(h)).body).toMatchObject({ tasks: 50, more: true })
  expect((await pruneAll(h)).tasks).toBe(751)
  const turns = records(h, 'retention.pruned')
  expect(turns.every(({ effect }) => Number(/tasks (\d+)/.exec(effect)?.[1] ?? 0) <= 50)).toBe(true)
  expect(turns.length).toBeGreaterThanOrEqual(17)
})

test('fault B3: evidence goes by its age, logs by their size together, and only what the hub itself named', async () => {
  await using h = await createHarness({ agents, config: { retention: { logs: '2MiB' } } })
  const stamp = (days: number) => new Date(h.clock.wallMs() - days * DAY_MS).toISOString().replaceAll(/[:.]/g, '')
  const [old, young] = [`s-old-${stamp(91)}`, `s-young-${stamp(89)}`]
  for (const name of [old, young, 'my-notes']) {
    mkdirSync(join(h.home, 'evidence', name))
    writeFileSync(join(h.home, 'evidence', name, 'manifest.json'), '{}')
  }
  for (const [at, name] of ['hub.log.3', 'hub.log.2', 'hub.log.1', 'hub.log', 'mine.txt'].entries()) {
    writeFileSync(join(h.home, 'logs', name), '')
    truncateSync(join(h.home, 'logs', name), 1024 ** 2)
    utimesSync(join(h.home, 'logs', name), at, at)
  }
  for (const days of [50, 40, 35]) writeFileSync(join(h.home, `hub.db.before-${h.clock.wallMs() - days * DAY_MS}`), 'x')
  // Beside what stands in force: of another line of the log, of a way back, of keys that were renewed.
  const nowMs = h.clock.wallMs()
  mkdirSync(join(h.home, 'audit'), { recursive: true })
  const aside = [
    'hub.db.after-',
    'ledger.json.before-',
    'audit/2026-01.jsonl.gz.before-',
    'audit/2026-02-2.jsonl.gz.before-',
  ]
  for (const days of [91, 89])
    for (const name of aside) writeFileSync(join(h.home, `${name}${nowMs - days * DAY_MS}`), 'y')
  const strangers = ['hub.db.after-all', 'audit/2026-01.jsonl.gz', 'audit/notes.before-1000000000000']
  for (const name of strangers) writeFileSync(join(h.home, name), 'mine')
  const { body: seen } = await h.operator('GET', '/v1/retention')
  const done = await pruneAll(h)
  for (const sum of [seen, done])
    expect(sum).toMatchObject({ evidence: 1, evidenceBytes: 2, logs: 3, copies: 6, copyBytes: 6 })
  for (const name of aside)
    for (const [days, isLeft] of [
      [91, false],
      [89, true],
    ] as const)
      expect(existsSync(join(h.home, `${name}${nowMs - days * DAY_MS}`)), `${name} ${days}`).toBe(isLeft)
  for (const name of strangers) expect(existsSync(join(h.home, name)), name).toBe(true)
  expect(records(h, 'retention.pruned')[0]?.effect).toContain(`hub.db.after-${nowMs - 91 * DAY_MS}`)
  expect(readdirSync(join(h.home, 'evidence')).sort()).toEqual(['my-notes', young])
  expect(readdirSync(join(h.home, 'logs')).filter((name) => name !== 'alerts.log')).toEqual(['hub.log', 'mine.txt'])
  expect(readdirSync(h.home).filter((name) => name.startsWith('hub.db.before-'))).toHaveLength(1)
  expect(records(h, 'retention.pruned')[0]?.effect).toContain(`evidence ${old}`)
})

test('fault B3: a decision that no kept record names goes at the age of a month that goes, with a record; what is named, young or of the newest bundle stays', async () => {
  await using h = await createHarness({ agents })
  const { store, audit, marks } = h.hub.guard
  await left(h, 'one')
  const old = h.clock.wallMs() - 31 * DAY_MS
  const columns = 'path, input, input_digest, erased, result, labels, bundles, revision'
  const put = (id: string, atMs: number, version = 1) =>
    store
      .prepare(
        `insert into decision (decision_id, timestamp_ms, ${columns}, bundle_version) select ?, ?, ${columns}, ? from decision limit 1`,
      )
      .run(id, atMs, version)
  const ids = Array.from({ length: 1201 }, (_, at) => `0${String(at).padStart(6, '0')}`)
  const [named, newest] = ['0-named', '0-newest']
  store.transaction(() => {
    for (const id of [...ids, named]) put(id, old)
    put(newest, old, 1_000_000)
    const of = { principal: 'operator', action: 'task.submitted', resource: 'task:x', payloadHash: null, reason: '' }
    audit.append({ ...of, decisionId: named, policyRevision: 'r', outcome: 'ok', effect: '' })
  })
  // As for what a plain read asked: no record names it, and it is young.
  const young = store.prepare("select count(*) from decision where decision_id > '01'").pluck()
  const before = young.get()
  expect(before).toBeGreaterThan(0)
  const olds = () => store.prepare("select decision_id from decision where decision_id < '01' order by 1").pluck().all()
  await h.hub.work.upkeep.forgetDecisions()
  expect(olds(), 'a start has other things to do').toHaveLength(1203)
  await h.until(() => olds().length === 2, 'they are forgotten', 200)
  expect([olds(), young.get()]).toEqual([[named, newest], expect.any(Number)])
  expect(young.get()).toBeGreaterThanOrEqual(Number(before))
  const turns = h.audit().filter(({ effect }) => effect.startsWith('decisions '))
  expect(turns.map(({ effect }) => Number(effect.slice(10))).reduce((sum, count) => sum + count, 0)).toBe(1201)
  expect(turns.every(({ effect }) => Number(effect.slice(10)) <= 500)).toBe(true)
  // Nothing is left in memory that names one of them, and what is asked again is written again.
  expect((await h.operator('GET', '/v1/tasks')).status).toBe(200)
  expect(marks.unnamed(old + 1, '').ids).toEqual([])
})

describe('fault B3: nothing is pruned, by name', () => {
  const refusal = async (h: Harness) => {
    const { status, body } = await prune(h)
    return `${status} ${String(body.code)}: ${String(body.detail)}`
  }

  test('during a stop, while a stop holds, and while clock or store are in doubt', async () => {
    await using h = await createHarness({ agents })
    const task = await left(h, 'one')
    age(h, task, 31)
    for (const [name, word] of [
      ['draining', '503 mode_draining: nothing is pruned now: the hub is stopping'],
      ['emergency_stop', '503 mode_safe: nothing is pruned now: an emergency stop is in force'],
      ['unattended_stop', '503 mode_safe: nothing is pruned now: an unattended stop is in force'],
      ['clock_fault', '503 mode_degraded: nothing is pruned now: the clock is wrong'],
    ] as const) {
      h.hub.guard.modes.raise(name, 'test')
      expect(await refusal(h), name).toContain(word)
      h.hub.guard.modes.clear(name)
    }
    expect(records(h, 'retention.pruned').every(({ outcome }) => outcome === 'refused')).toBe(true)
    expect(isThere(h, task)).toBe(true)
  })

  test('during a backup and during an audit export; the export ends it, or a minute without another page', async () => {
    await using h = await createHarness({ agents })
    const task = await left(h, 'one')
    age(h, task, 31)
    const { pauses } = h.hub.work.upkeep
    const release = pauses.hold('a backup')
    expect(await refusal(h)).toBe(
      '409 conflict: nothing is pruned now: a backup is under way; try again when it is done',
    )
    release()
    pauses.piece('an audit export', false)
    expect(await refusal(h)).toContain('an audit export is under way')
    pauses.piece('an audit export', true)
    h.hub.guard.modes.raise('disk_low', 'test')
    expect(await prune(h), 'a full disk is what it is for').toMatchObject({ status: 200, body: { tasks: 1 } })
    pauses.piece('an audit export', false)
    h.clock.jump(61_000)
    expect((await prune(h)).status).toBe(200)
  })

  test('by itself while something critical has still to be looked at; by the operator it is', async () => {
    await using h = await createHarness({ agents })
    const task = await left(h, 'one')
    age(h, task, 31)
    h.hub.guard.modes.raise('witness_mismatch', 'test')
    const from = h.clock.monotonicMs()
    await h.until(() => h.clock.monotonicMs() > from + 1_300_000, 'two looks', 20_000)
    expect(isThere(h, task)).toBe(true)
    expect((await pruneAll(h)).tasks).toBe(1)
  })

  test('by itself after a start far ahead of the last run, until a strong heartbeat or the operator asks for it', async () => {
    await using h = await createHarness({ agents })
    const { pauses } = h.hub.work.upkeep
    const steady = createSteadyClock({
      clock: { ...h.clock, bootId: 'another', wallMs: () => h.clock.wallMs() + 8 * DAY_MS },
      meta: h.hub.guard.meta,
      modes: h.hub.guard.modes,
      note: () => undefined,
    })
    const own = createPauses({ modes: h.hub.guard.modes, clock: h.clock, steady })
    expect(() => own.require(true)).toThrow('by its clock it did not run for more than a week')
    expect(() => own.require(false)).not.toThrow()
    expect(() => own.require(true)).not.toThrow()
    // And so it is in the hub.
    const there = h.hub.guard.host.steady
    vi.spyOn(there, 'isUnproven').mockReturnValue(true)
    expect(() => pauses.require(true)).toThrow('by its clock')
    const proved = vi.spyOn(there, 'prove')
    const watchdog = await openFakeWatchdog(h.home)
    try {
      watchdog.answers['/v1/heartbeat'] = {}
      expect((await h.operator('POST', '/v1/heartbeat', {})).status).toBe(200)
    } finally {
      await watchdog.close()
    }
    expect(proved).toHaveBeenCalledTimes(1)
  })

  test('what is younger than a day, whoever asks', async () => {
    await using h = await createHarness({ agents })
    expect((await prune(h, { olderThanMs: 0 })).status).toBe(400)
    expect((await prune(h, { olderThanMs: -DAY_MS })).status).toBe(400)
    const task = await left(h, 'one')
    age(h, task, 2)
    expect((await prune(h, { olderThanMs: DAY_MS })).body).toMatchObject({ tasks: 1 })
  })
})

test('fault B3: what is stamped while the clock stands 100 days behind is as young as it is once the clock is right', async () => {
  await using h = await createHarness({ agents })
  const from = h.clock.wallMs()
  const [lead] = await h.bring('lead')
  const [kid] = await h.bring('kid')
  h.clock.stepWall(-100 * DAY_MS)
  await put(h, lead, 'one')
  await h.pumped(lead.result('done'))
  const task = lead.joined?.task.task ?? ''
  await h.ended(task)
  const session = kid.joined?.session ?? ''
  expect((await h.operator('POST', `/v1/sessions/${session}/quarantine`, {})).status).toBe(200)
  h.hub.guard.alerts.raise('restart_needed', 'info', 'a test')
  h.hub.guard.alerts.resolve('restart_needed')
  await h.quiet()
  h.clock.stepWall(100 * DAY_MS)
  const { store } = h.hub.guard
  for (const [table, column] of [
    ['task', 'ended_at_ms'],
    ['attempt', 'ended_at_ms'],
    ['session', 'ended_at_ms'],
    ['artifact', 'created_at_ms'],
    ['alert', 'resolved_at_ms'],
  ] as const) {
    const stamps = store.prepare(`select ${column} from ${table} where ${column} is not null`).pluck().all() as number[]
    expect(stamps.length, table).toBeGreaterThan(0)
    expect(Math.min(...stamps), table).toBeGreaterThanOrEqual(from)
  }
  const [evidence] = readdirSync(join(h.home, 'evidence'))
  expect(evidence).toContain(new Date(from).toISOString().slice(0, 10))
})
