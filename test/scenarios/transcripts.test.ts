/** Conversations that are kept for the next start of the same task (docs/agents.md, T104), under a whole hub. */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createHarness, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'
import type { Answer } from '../support/signing-client.ts'

const CARD = {
  driver: 'stream-json',
  run: ['cli', '{earlier}'],
  resume: ['cli', 'resume'],
  transcripts: true,
  repeatable: true,
  restarts: 9,
}
const GRANTED = { transcripts: true }
const agents = {
  coder: { script: puppet, card: CARD, policy: GRANTED },
  lead: { script: puppet, card: { may: { delegate: ['coder'] } } },
}
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const SAID = 'what was said: my-own-words'
const code = ({ status, body }: Answer) => (status < 300 ? 'ok' : `${status} ${String(body.code)}`)
const keep = (h: Harness, agent: TestAgent, text = SAID, digest = sha256(text), query = '') =>
  h.pumped(
    agent.ask({
      method: 'PUT',
      path: `/v1/transcript/${digest}${query}`,
      body: text,
      headers: { 'content-type': 'application/octet-stream', 'x-signed-digest': digest },
    }),
  )
const read = (h: Harness, agent: TestAgent) => h.pumped(agent.ask({ method: 'GET', path: '/v1/transcript' }))
const taskOf = (agent: TestAgent) => agent.joined?.task.task ?? ''
const keptFor = (agent: TestAgent) => (agent.joined as unknown as { transcript?: unknown } | undefined)?.transcript
const filesOf = (h: Harness, folder = 'transcripts') =>
  readdirSync(join(h.home, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name)
const shown = async (h: Harness, task: string) =>
  ((await h.operator('GET', `/v1/tasks/${task}`)).body.task as { conversation?: Record<string, unknown> }).conversation

/** The next session of the same task, once it has joined. */
async function next(h: Harness, before: TestAgent): Promise<TestAgent> {
  const mine = () => h.started.findLast(({ joined }) => joined?.task.task === taskOf(before))
  await h.until(() => mine() !== before && mine()?.token, 'the next start joins')
  return mine() as TestAgent
}
async function crash(h: Harness, agent: TestAgent): Promise<TestAgent> {
  agent.container.exit(137)
  return await next(h, agent)
}

test('the next start of the task gets what was kept, byte for byte; two that fall are enough, and then its text alone is told', async () => {
  await using h = await createHarness({ agents })
  const [first] = await h.bring('coder')
  expect([keptFor(first), first.joined?.program]).toMatchObject([null, { resume: ['cli', 'resume'] }])
  expect(code(await read(h, first))).toBe('404 unknown_artifact')
  expect(code(await keep(h, first, 'older words'))).toBe('ok')
  expect(code(await keep(h, first))).toBe('ok')
  // One copy: the newest.
  expect(filesOf(h)).toEqual([sha256(SAID)])
  const of = { sha256: sha256(SAID), size: SAID.length }
  const second = await crash(h, first)
  expect(keptFor(second)).toEqual({ ...of, tries: 0, as: 'resume' })
  expect((await read(h, second)).bytes.toString()).toBe(SAID)
  // An answer that was lost is asked for again.
  expect((await read(h, second)).bytes.toString()).toBe(SAID)
  // What goes on is the same conversation: what is kept of it does not begin the count anew.
  expect(code(await keep(h, second, 'and more'))).toBe('ok')
  const third = await crash(h, second)
  expect(keptFor(third)).toMatchObject({ tries: 1, as: 'resume' })
  expect(await shown(h, taskOf(third))).toMatchObject({ size: 8, tries: 1, next: 'resume' })
  await read(h, third)
  const fourth = await crash(h, third)
  expect(keptFor(fourth)).toMatchObject({ tries: 2, as: 'text' })
  expect(await shown(h, taskOf(fourth))).toMatchObject({ tries: 2, next: 'text' })
  expect((await read(h, fourth)).bytes.toString()).toBe('and more')
  // What begins anew is another conversation.
  expect(code(await keep(h, fourth, 'a new one'))).toBe('ok')
  expect(await shown(h, taskOf(fourth))).toMatchObject({ tries: 0, next: 'resume', size: 9 })
})

test('what ends a session from outside is no try; the conversation stays over a restart of the hub, a stop and a release', async () => {
  await using h = await createHarness({ agents })
  const [first] = await h.bring('coder')
  await keep(h, first)
  let agent = first
  for (const _ of [1, 2, 3]) {
    // Its container is gone without an exit of its own: an interruption.
    h.engine.containers.delete(agent.container.id)
    agent = await next(h, agent)
    expect(keptFor(agent)).toMatchObject({ tries: 0, as: 'resume' })
    expect((await read(h, agent)).bytes.toString()).toBe(SAID)
  }
  await h.stop()
  await h.start()
  expect(filesOf(h)).toEqual([sha256(SAID)])
  expect(await shown(h, taskOf(agent))).toMatchObject({ tries: 0, next: 'resume' })
})

test.each([
  ['succeeds', false, (agent: TestAgent) => agent.result('done')],
  ['fails', true, (agent: TestAgent) => agent.send({ kind: 'result', body: { outcome: 'failed', error: 'no' } })],
])('when the task %s, the conversation goes with it, row and file', async (_, isRetried, end) => {
  await using h = await createHarness({ agents })
  const [agent] = await h.bring('coder')
  await keep(h, agent)
  await h.pumped(end(agent) as Promise<unknown>)
  await h.ended(taskOf(agent))
  expect([filesOf(h), await shown(h, taskOf(agent))]).toEqual([[], undefined])
  if (!isRetried) return
  // A retry is another task: it begins anew.
  await h.quiet()
  const { body } = await h.operator('POST', `/v1/tasks/${taskOf(agent)}/retry`, {})
  const again = (body.task as { id: string }).id
  await h.until(() => h.started.at(-1)?.joined?.task.task === again && h.started.at(-1)?.token)
  expect(keptFor(h.started.at(-1) as TestAgent)).toBe(null)
})

test('when the task is cancelled or its session is quarantined, the conversation goes too', async () => {
  await using h = await createHarness({ agents })
  const [one, other] = await h.bring('coder', 'coder')
  await keep(h, one)
  await keep(h, other)
  // Two tasks, the same bytes: the file stays while one of them has it.
  expect((await h.operator('POST', `/v1/tasks/${taskOf(one)}/cancel`, {})).status).toBe(200)
  expect(filesOf(h)).toEqual([sha256(SAID)])
  expect((await read(h, other)).bytes.toString()).toBe(SAID)
  expect((await h.operator('POST', `/v1/sessions/${other.session}/quarantine`, {})).status).toBe(200)
  expect(filesOf(h)).toEqual([])
})

test('T104: nobody else reads it: no list, no digest, no other session, no parent, no person, no event, no record', async () => {
  await using h = await createHarness({ agents, logLevel: 'trace' })
  const [lead, stranger] = await h.bring('lead', 'coder')
  await h.pumped(lead.send({ kind: 'delegate', to: 'hub', body: { agent: 'coder', params: {} } }))
  const child = () => h.started.find(({ joined, token }) => joined?.task.parent?.session === lead.session && token)
  await h.until(child, 'the child joins')
  const agent = child() as TestAgent
  expect(code(await keep(h, agent))).toBe('ok')
  const digest = sha256(SAID)
  const since = h.audit().length
  for (const other of [lead, stranger, agent]) {
    const got = await h.pumped(other.ask({ method: 'GET', path: `/v1/artifacts/${digest}` }))
    expect([other.agent, code(got)]).toEqual([other.agent, expect.stringMatching(/^40[34] /)])
    const listed = await h.pumped(other.must({ method: 'GET', path: '/v1/artifacts' }))
    expect(listed.body.artifacts).toEqual([])
  }
  // The stranger has a task of the same agent, and gets that of its own task alone: none. The parent's card asks for none.
  expect([code(await read(h, stranger)), code(await read(h, lead))]).toEqual([
    '404 unknown_artifact',
    '403 policy_denied',
  ])
  expect(code(await keep(h, lead, 'mine'))).toBe('403 policy_denied')
  expect((await h.operator('GET', `/v1/artifacts/${digest}`)).body.code).toBe('unknown_artifact')
  expect((await h.operator('GET', `/v1/artifacts/${digest}?quarantined=true`)).body.code).toBe('unknown_artifact')
  expect((await h.operator('GET', '/v1/transcript')).status).toBe(404)
  expect((await h.operator('GET', '/v1/artifacts')).body.artifacts).toEqual([])
  // Each refusal left its record, by name.
  const refused = h.audit(since).filter(({ outcome }) => outcome === 'refused')
  expect(refused.map(({ action }) => action)).toEqual(
    expect.arrayContaining(['artifact.fetched', 'transcript.handed', 'transcript.kept']),
  )
  expect(refused.find(({ action }) => action === 'transcript.kept')?.reason).toContain(
    'set agents.lead.transcripts to true in policy/data.json and `transcripts: true` in its card',
  )
  // A second exception to what never touches the disk (docs/design.md 6), and the only place of it.
  expect(filesOf(h)).toEqual([digest])
  const outside = [
    ...filesOf(h, '.')
      .filter((name) => name !== digest)
      .map((name) => name),
    JSON.stringify([h.complaints, h.events(), h.audit()]),
    readFileSync(join(h.home, 'hub.db'), 'latin1'),
    existsSync(join(h.home, 'hub.db-wal')) ? readFileSync(join(h.home, 'hub.db-wal'), 'latin1') : '',
  ]
  for (const text of outside) expect(text.includes('my-own-words')).toBe(false)
})

test('T104: card and row both say it, or no session begins; a row that takes it back ends it at once; what asks for none has no word of it', async () => {
  const mixed = {
    asking: { script: puppet, card: CARD },
    granted: { script: puppet, policy: GRANTED },
    coder: agents.coder,
  }
  await using h = await createHarness({ agents: mixed })
  const refused = await h.submit('asking')
  await h.ended(refused)
  expect(h.task(refused)).toMatchObject({
    state: 'failed',
    error: {
      code: 'policy_denied',
      detail: expect.stringContaining(
        'agent asking asks for transcripts, which are not granted: set agents.asking.transcripts to true in policy/data.json, or take it out of the card',
      ),
    },
  })
  expect(h.sessionsOf(refused)).toEqual([])
  const [granted, coder] = await h.bring('granted', 'coder')
  expect([keptFor(granted), granted.joined?.program]).toEqual([undefined, expect.not.objectContaining({ resume: [] })])
  expect([code(await keep(h, granted)), code(await read(h, granted))]).toEqual(Array(2).fill('403 policy_denied'))
  expect(code(await keep(h, coder))).toBe('ok')
  const file = join(h.home, 'policy', 'data.json')
  const data = JSON.parse(readFileSync(file, 'utf8')) as { agents: Record<string, object> }
  writeFileSync(
    file,
    JSON.stringify({ agents: { ...data.agents, coder: { ...data.agents.coder, transcripts: false } } }),
  )
  expect((await h.operator('POST', '/v1/policy/reload', {})).status).toBe(200)
  expect([code(await keep(h, coder)), code(await read(h, coder))]).toEqual(Array(2).fill('403 policy_denied'))
  // What was refused left nothing, and what was kept before goes with the task.
  expect(filesOf(h)).toEqual([sha256(SAID)])
})

test('a conversation with the wrong digest or more than 64 MiB is refused and leaves a record and nothing else; one damaged on disk is refused by name', async () => {
  await using h = await createHarness({ agents })
  const [agent] = await h.bring('coder')
  const since = h.audit().length
  expect(code(await keep(h, agent, 'not this', sha256('but that')))).toBe('400 schema_invalid')
  expect(filesOf(h)).toEqual([])
  expect(code(await keep(h, agent))).toBe('ok')
  writeFileSync(join(h.home, 'transcripts', sha256(SAID).slice(0, 2), sha256(SAID)), 'something else')
  const second = await crash(h, agent)
  expect(code(await read(h, second))).toBe('500 artifact_corrupt')
  // What comes to nothing before the effect is on record, as what the rules refuse.
  const records = h.audit(since).flatMap(({ action, outcome }) => (outcome === 'ok' ? [] : [`${action} ${outcome}`]))
  expect(records).toEqual(['transcript.kept refused', 'transcript.handed failed'])
  // It begins anew, and what it keeps takes the place.
  expect(code(await keep(h, second, 'a new one'))).toBe('ok')
  expect(filesOf(h)).toEqual([sha256('a new one')])
})

test('T104: how many other files the shim left out stands in the record; what is no count is refused', async () => {
  await using h = await createHarness({ agents })
  const [agent] = await h.bring('coder')
  const since = h.audit().length
  expect(code(await keep(h, agent, SAID, sha256(SAID), '?leftOut=3'))).toBe('ok')
  const [record] = h.audit(since).filter(({ action }) => action === 'transcript.kept')
  expect(record?.effect).toMatch(/^task:\S+ \d+ B sha256:\S+, 3 other files left out$/)
  for (const query of ['?leftOut=-1', '?leftOut=many', '?leftOut=1000001', '?other=1'])
    expect(code(await keep(h, agent, 'more', sha256('more'), query))).toBe('400 schema_invalid')
  expect(filesOf(h)).toEqual([sha256(SAID)])
})

test('T104: a backup holds none of it', async () => {
  await using h = await createHarness({ agents })
  const [agent] = await h.bring('coder')
  await keep(h, agent)
  writeFileSync(join(h.home, 'instance'), '0f0e0d0c-0000-4000-8000-000000000001\n')
  const { body } = await h.operator('POST', '/v1/backup', {})
  const copied = readdirSync(String(body.path), { recursive: true, encoding: 'utf8' })
  expect(copied).toContain('hub.db')
  expect(copied.filter((path) => /transcript/.test(path) || path.includes(sha256(SAID)))).toEqual([])
})

test('retention takes the conversation of a task that waits for longer than artifacts are kept; a file without a row goes at the next start', async () => {
  await using h = await createHarness({ agents })
  const [agent] = await h.bring('coder')
  await keep(h, agent)
  expect((await h.operator('POST', '/v1/retention/prune', { isFirst: true })).body.artifacts).toBe(0)
  h.hub.guard.store.transaction(() =>
    h.hub.guard.store.prepare('update transcript set kept_at_ms = kept_at_ms - ?').run(31 * 86_400_000),
  )
  const { body } = await h.operator('POST', '/v1/retention/prune', { isFirst: true })
  expect(body).toMatchObject({ artifacts: 1, artifactBytes: SAID.length })
  expect([filesOf(h), await shown(h, taskOf(agent))]).toEqual([[], undefined])
  await keep(h, agent)
  writeFileSync(join(h.home, 'transcripts', sha256(SAID).slice(0, 2), sha256('left')), 'left')
  await h.stop()
  await h.start()
  expect(filesOf(h)).toEqual([sha256(SAID)])
})
