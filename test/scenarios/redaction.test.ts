/**
 * S1-62, fault D6: a secret written into every field that a person or an agent can write is found nowhere: in no file of the home, no
 * event, no line of the log, no answer to a person. One hub for all of it.
 */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createHarness, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'

/** As odd as a secret can be, one that may stand where only a name may, and one that no hub knows but that looks like a key. */
const ODD = 'canary-5f2b"9c\\71 välue'
const NAME = 'canary-7f3a9c1e5b2d'
const KEY = `ghp_${'c4n4ry'.repeat(6)}`
const BEARER = 'c4n4ry.0123456789abcdef'
const ALL = `${ODD} and ${NAME} and ${KEY} and Authorization: Bearer ${BEARER}`
const SPELLINGS = [ODD, NAME, KEY, BEARER].flatMap((each) => [
  each,
  JSON.stringify(each).slice(1, -1),
  JSON.stringify(JSON.stringify(each).slice(1, -1)).slice(1, -1),
  encodeURIComponent(each),
  Buffer.from(each).toString('base64').replace(/=+$/, ''),
])
/** Its beginning, as it stands at the end of a line that was cut. */
const CUT = ODD.slice(0, 11)
const MASK = '[redacted]'

/** What of the canaries a text holds. */
const foundIn = (text: string) => SPELLINGS.filter((each) => text.includes(each))

function filesOf(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return filesOf(path)
    return entry.isFile() ? [path] : []
  })
}

const agents = {
  lead: {
    script: puppet,
    card: {
      description: `reads ${NAME}`,
      may: { delegate: ['kid'], message: ['kid'], topics: ['news'], secrets: ['odd'] },
      messages: { sends: { say: 'say.json' }, receives: { say: null } },
    },
  },
  kid: { script: puppet, card: { messages: { sends: { say: null }, receives: { say: 'say.json' } } } },
}
/** Its faults name what was sent. */
const schemas = {
  'say.json': { type: 'object', properties: { kind: { enum: ['a', 'b'] } }, additionalProperties: false },
}

/** Answers the task that was given a key. */
async function writeEverywhere(h: Harness): Promise<string> {
  const post = (path: string, body: unknown, headers?: Record<string, string>) =>
    h.operator('POST', path, body, headers)
  const refused: [string, unknown, Record<string, string>?][] = [
    ['/v1/tasks', { agent: 'lead', params: { deep: [{ at: ODD }] } }],
    ['/v1/tasks', { agent: 'lead', params: { [`at ${NAME}`]: 1 } }],
    ['/v1/tasks', { agent: NAME }],
    ['/v1/tasks', { agent: 'lead', needs: [NAME] }],
    ['/v1/tasks', { agent: 'lead' }, { 'idempotency-key': NAME }],
    ['/v1/tokens', { name: NAME, actions: ['task.list'], expiresInMs: 3_600_000 }],
    ['/v1/devices', { name: NAME, kind: 'webhook' }],
    ['/v1/policy/reload', { reason: ALL }],
    ['/v1/away', { untilMs: h.clock.wallMs() + 3_600_000, note: ODD }],
    ['/v1/flags/restarts', { value: false, emergency: `because of ${NAME}`, forMs: 3_600_000 }],
    ['/v1/contact/card', { name: `Ann ${NAME}`, operator: 'Bob' }],
  ]
  for (const [path, body, headers] of refused)
    expect([path, (await post(path, body, headers)).body.code]).toEqual([path, 'schema_invalid'])
  // A key that no hub knows: the agent needs what it is given, and nobody is shown it.
  const withKey = await h.submit('lead', { key: KEY, note: `Bearer ${BEARER}` })
  await h.until(() => h.started.find(({ joined }) => joined?.task.task === withKey)?.token, 'it has joined')
  const lead = h.started.at(-1) as TestAgent
  expect(lead.joined?.task.params).toEqual({ key: KEY, note: `Bearer ${BEARER}` })
  await post(`/v1/heartbeat`, { note: ALL })
  await post(`/v1/${NAME}`, { reason: ALL })
  await post(`/v1/tasks/${encodeURIComponent(ODD)}/cancel`, {})
  await h.operator('GET', `/v1/tasks?cursor=${encodeURIComponent(ODD)}`)
  await h.operator('GET', `/v1/audit?action=${NAME}`)

  const send = (envelope: Parameters<TestAgent['send']>[0]) => h.pumped(lead.send(envelope))
  await send({ kind: 'log', body: { text: ALL } })
  // Cut within the secret, as the shim cuts a long line.
  await send({ kind: 'log', body: { text: `${'x'.repeat(4090)} ${CUT}...` } })
  await send({ kind: 'progress', body: { text: ALL } })
  await send({ kind: 'request', to: `agent:${NAME}`, type: 'say', body: { text: ALL } })
  await send({ kind: 'request', to: ALL.slice(0, 80), type: 'say' })
  await send({ kind: 'request', to: 'agent:kid', type: NAME, body: { [ALL]: ALL } })
  await send({ kind: 'request', to: 'agent:kid', type: 'say', body: { kind: ODD, [NAME]: KEY } })
  await send({ kind: 'event', to: `topic:${NAME}`, type: 'say', body: {} })
  await send({ kind: 'event', to: 'topic:news', type: NAME, traceparent: ODD } as never)
  expect((await send({ kind: 'delegate', body: { agent: 'kid', params: { at: ODD } } })).body.code).toBe(
    'schema_invalid',
  )
  await send({ kind: 'delegate', body: { agent: NAME } })
  await send({ kind: 'delegate', body: { needs: [NAME], capabilities: [NAME] } })
  await send({ kind: 'ask', body: { text: ALL } })
  await send({ kind: ALL as 'log', body: {} })
  await h.pumped(lead.ask({ method: 'POST', path: '/v1/send', body: `{"id": "${NAME}", ` }))
  await h.pumped(lead.ask({ method: 'POST', path: '/v1/subscribe', body: { topic: NAME } }))
  await h.pumped(lead.ask({ method: 'GET', path: `/v1/secrets/${NAME}` }))
  await h.pumped(lead.put(`out/${NAME}.txt`, 'x').catch((thrown) => thrown))
  lead.container.log = `${ODD.slice(6)}\n${ALL}\n`
  await h.operator('GET', `/v1/sessions/${lead.session}/logs`)

  const { body } = await h.operator('GET', '/v1/approvals')
  const [{ id } = { id: '' }] = body.approvals as { id: string }[]
  expect((await post(`/v1/approvals/${id}/answer`, { approve: true, text: ALL })).body.code).toBe('schema_invalid')
  await post(`/v1/approvals/${id}/answer`, { approve: true, text: `take ${KEY}` })
  await h.pumped(lead.resultBody({ outcome: 'succeeded', value: { [NAME]: [ALL] }, error: ALL }))
  await h.ended(withKey)

  // A second one fails, loudly, and is quarantined.
  const [other] = await h.bring('lead')
  await h.pumped(other.send({ kind: 'log', body: { text: ALL } }))
  other.container.log = `${ODD.slice(9)}\n${ALL}\n`
  await h.operator('POST', `/v1/sessions/${other.session}/quarantine`)
  const [last] = await h.bring('lead')
  await h.pumped(last.resultBody({ outcome: 'failed', stopped: true, error: ALL }).catch(() => undefined))
  await h.quiet()
  h.hub.guard.alerts.raise(`agent_unhealthy:${NAME}`, 'warning', ALL)
  h.hub.guard.modes.raise('engine_unavailable', ALL)
  expect((await post('/v1/mode/safe', { reason: ALL })).status).toBe(200)
  return withKey
}

const SHOWN = [
  ...[
    'tasks',
    'sessions?all=true',
    'agents',
    'agents/lead',
    'artifacts',
    'policy',
    'mode',
    'presence',
    'audit?limit=100',
  ],
  ...['audit/export', 'health', 'doctor', 'alerts?all=true', 'tokens', 'devices', 'approvals?all=true', 'retention'],
]

test('S1-62, T39: a secret in every field that people and agents can write is found nowhere', async () => {
  await using h = await createHarness({ agents, schemas, logLevel: 'trace' })
  mkdirSync(join(h.home, 'secrets'), { mode: 0o700 })
  writeFileSync(join(h.home, 'secrets', 'odd'), `${ODD}\n`, { mode: 0o600 })
  writeFileSync(join(h.home, 'secrets', 'name'), NAME, { mode: 0o600 })
  const withKey = await writeEverywhere(h)

  const answers: string[] = []
  const show = async (path: string) => {
    const { status, body } = await h.operator('GET', `/v1/${path}`)
    expect([path, status]).toEqual([path, 200])
    answers.push(JSON.stringify(body))
  }
  for (const path of SHOWN) await show(path)
  for (const { id } of h.hub.work.tasks.tasks({ limit: 100 })) {
    await show(`tasks/${id}`)
    await show(`tasks/${id}/logs`)
  }
  for (const { id } of h.hub.work.tasks.sessions({ limit: 100, all: true })) await show(`sessions/${id}`)
  for (const text of answers) expect(foundIn(text), text).toEqual([])

  for (const event of h.events()) expect(foundIn(JSON.stringify(event)), JSON.stringify(event)).toEqual([])
  for (const line of h.complaints) expect(foundIn(JSON.stringify(line)), JSON.stringify(line)).toEqual([])
  // The rows of what an agent was given hold the key that it needs; no hub knows it. Everything else holds nothing.
  h.hub.guard.store.prepare("update task set params = '{}' where id = ?").run(withKey)
  h.hub.guard.store.prepare("update approval set answer = ''").run()
  const tables = h.hub.guard.store
    .prepare("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")
    .pluck()
    .all() as string[]
  for (const table of tables)
    for (const row of h.hub.guard.store.prepare(`select * from "${table}"`).all())
      expect(foundIn(JSON.stringify(row)), `${table}: ${JSON.stringify(row)}`).toEqual([])
  for (const path of filesOf(h.home)) {
    const name = path.slice(h.home.length + 1)
    // Where they come from, what the person wrote, and the pages that hold what was just erased from these rows.
    if (name.startsWith('secrets/') || name.startsWith('agents/') || name.startsWith('hub.db')) continue
    if (statSync(path).size < 50 * 1024 ** 2) expect(foundIn(readFileSync(path, 'latin1')), name).toEqual([])
  }

  // It went everywhere, and was masked there.
  const tasks = h.hub.work.tasks.tasks({ limit: 100 })
  const { journal } = h.hub.work.catalogue
  const everywhere = {
    answers: answers.join(''),
    events: JSON.stringify(h.events()),
    log: JSON.stringify(h.complaints),
    audit: JSON.stringify(h.audit()),
    decisions: JSON.stringify(h.hub.guard.store.prepare('select input from decision').all()),
    tasks: JSON.stringify(h.hub.guard.store.prepare('select outcome, error from task').all()),
    questions: JSON.stringify(h.hub.guard.store.prepare('select question from approval').all()),
    alerts: readFileSync(join(h.home, 'logs', 'alerts.log'), 'utf8'),
    journal: JSON.stringify(tasks.map(({ id }) => [journal.linesOf(id), journal.progressOf(id)])),
    sessions: JSON.stringify(h.hub.guard.store.prepare('select detail from session').all()),
    mode: JSON.stringify(h.hub.guard.modes.active()),
    evidence: filesOf(join(h.home, 'evidence'))
      .map((path) => readFileSync(path, 'utf8'))
      .join(''),
  }
  for (const [sink, text] of Object.entries(everywhere)) {
    expect(text.includes(MASK), sink).toBe(true)
    expect([...foundIn(text), ...[CUT].filter((each) => text.includes(each))], sink).toEqual([])
  }
  // The chain of records is whole, also over what was masked.
  expect(h.hub.guard.audit.verify().fault).toBeUndefined()

  // What was named before its name became a secret can still be stopped by that name.
  const late = 'canary-late-5d1f'
  const token = { name: late, actions: ['task.list'], expiresInMs: 3_600_000 }
  await h.operator('POST', '/v1/mode/resume', {})
  h.hub.guard.modes.clear('engine_unavailable')
  expect((await h.operator('POST', '/v1/tokens', token)).status).toBe(200)
  writeFileSync(join(h.home, 'secrets', 'late'), late, { mode: 0o600 })
  expect((await h.operator('POST', '/v1/tokens', { ...token, actions: ['task.show'] })).body.code).toBe(
    'schema_invalid',
  )
  expect((await h.operator('POST', `/v1/tokens/${late}/revoke`, {})).status).toBe(200)

  // A stop is never refused, and what is kept of it while the store fails holds none either.
  h.hub.guard.store.heard(Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_FSYNC' }))
  const { body } = await h.operator('POST', '/v1/shutdown', { reason: ODD })
  expect(body).toHaveProperty('unwritten')
  const wishes = readFileSync(join(h.home, 'stop-wishes'), 'utf8')
  expect([wishes.includes(MASK), foundIn(wishes)]).toEqual([true, []])
  await h.kill()
})
