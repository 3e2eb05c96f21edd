import { createHash } from 'node:crypto'
import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ask, createHarness, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'
import type { Answer } from '../support/signing-client.ts'

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const code = ({ status, body }: Answer) => (status < 300 ? 'ok' : `${status} ${String(body.code)}`)
const agents = {
  lead: { script: puppet, card: { may: { delegate: ['kid'] } } },
  kid: { script: puppet },
  other: { script: puppet },
}
const put = (h: Harness, agent: TestAgent, name: string, text: string, digest = sha256(text), more = '') =>
  h.pumped(
    agent.ask({
      method: 'PUT',
      path: `/v1/artifacts/${digest}?name=${encodeURIComponent(name)}${more}`,
      body: text,
      headers: { 'content-type': 'application/octet-stream', 'x-signed-digest': digest },
    }),
  )
const get = (h: Harness, agent: TestAgent, digest: string, headers: Record<string, string> = {}) =>
  h.pumped(agent.ask({ method: 'GET', path: `/v1/artifacts/${digest}`, headers }))
const filesOf = (h: Harness) =>
  readdirSync(join(h.home, 'artifacts'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name)

describe('what is kept while a program works', () => {
  const keep = async (h: Harness, agent: TestAgent, name: string, text: string) =>
    await put(h, agent, name, text, sha256(text), '&unfinished=true')
  const taskOf = (agent: TestAgent) => agent.joined?.task.task ?? ''
  /** Of a task as people see it: `*` for what is unfinished. */
  async function shown(h: Harness, agent: TestAgent): Promise<string[]> {
    const { body } = await h.operator('GET', `/v1/artifacts?task=${taskOf(agent)}`)
    const { task } = (await h.operator('GET', `/v1/tasks/${taskOf(agent)}`)).body as { task: Record<string, unknown> }
    const names = (rows: unknown) =>
      (rows as { name: string; unfinished?: true }[]).map(({ name, unfinished }) => `${name}${unfinished ? '*' : ''}`)
    expect(names(task.artifacts)).toEqual(names(body.artifacts))
    return names(body.artifacts)
  }

  test('it is marked until the program stores it; a success takes the rest away, any other end leaves it', async () => {
    await using h = await createHarness({ agents })
    const [lead, other, kid] = await h.bring('lead', 'other', 'kid')
    for (const agent of [lead, other, kid]) {
      expect((await keep(h, agent, 'a.txt', 'half')).body).toMatchObject({ name: 'a.txt', unfinished: true })
      expect(code(await keep(h, agent, 'gone.txt', 'removed later'))).toBe('ok')
      expect((await put(h, agent, 'a.txt', 'whole')).body).not.toHaveProperty('unfinished')
      expect(await shown(h, agent)).toEqual(['a.txt', 'gone.txt*'])
    }
    await h.pumped(lead.send({ kind: 'result', body: { outcome: 'succeeded' } }))
    await h.pumped(other.send({ kind: 'result', body: { outcome: 'failed', error: 'no' } }))
    kid.container.exit(137)
    await h.ended(...[lead, other, kid].map(taskOf))
    expect(await Promise.all([lead, other, kid].map((agent) => shown(h, agent)))).toEqual([
      ['a.txt'],
      ['a.txt', 'gone.txt*'],
      ['a.txt', 'gone.txt*'],
    ])
  })

  test('it never stands in the way of what the program stores: the limit of a task counts that without it', async () => {
    await using h = await createHarness({ agents, config: { limits: { artifactBytes: '1KiB' } } })
    const [lead] = await h.bring('lead')
    expect(code(await keep(h, lead, 'old', 'x'.repeat(700)))).toBe('ok')
    // Of what is kept there is no more than of what is stored.
    expect(code(await keep(h, lead, 'older', 'y'.repeat(700)))).toBe('413 too_large')
    expect(code(await put(h, lead, 'new', 'z'.repeat(700)))).toBe('ok')
    expect(code(await put(h, lead, 'newer', 'y'.repeat(700)))).toBe('413 too_large')
    expect(await shown(h, lead)).toEqual(['new', 'old*'])
  })

  test('a person stores nothing unfinished', async () => {
    await using h = await createHarness({ agents })
    const bytes = Buffer.from('mine')
    const store = (query: string) => {
      const path = `/v1/artifacts/${sha256('mine')}${query}`
      return ask(join(h.home, 'run', 'operator.sock'), 'PUT', path, bytes, {
        'content-type': 'application/octet-stream',
      })
    }
    expect(await store('?unfinished=true')).toMatchObject({ status: 400, body: { code: 'schema_invalid' } })
    expect(await store('')).toMatchObject({ status: 200 })
  })
})

describe('bytes', () => {
  test('what was stored can be read, whole and in ranges, and is listed under its name', async () => {
    await using h = await createHarness({ agents })
    const [lead] = await h.bring('lead')
    const digest = sha256('hello world')
    const answer = await put(h, lead, 'out/greeting.txt', 'hello world')
    expect(answer.body).toEqual({ sha256: digest, size: 11, name: 'out/greeting.txt' })
    expect((await get(h, lead, digest)).bytes.toString()).toBe('hello world')
    const part = await get(h, lead, digest, { range: 'bytes=6-8' })
    expect([part.status, part.bytes.toString(), part.headers['content-range']]).toEqual([206, 'wor', 'bytes 6-8/11'])
    expect((await get(h, lead, digest, { range: 'bytes=6-' })).bytes.toString()).toBe('world')
    for (const range of ['bytes=11-', 'bytes=5-2', 'bytes=-3', 'bytes=0-1,3-4', 'lines=1-2'])
      expect(code(await get(h, lead, digest, { range })), range).toBe('400 schema_invalid')
    const listed = await h.pumped(lead.must({ method: 'GET', path: '/v1/artifacts' }))
    expect(listed.body.artifacts).toMatchObject([{ sha256: digest, size: 11, name: 'out/greeting.txt' }])
    expect(h.task(lead.joined?.task.task ?? '').id).toBe((listed.body.artifacts as { task: string }[])[0]?.task)
  })

  test('without a task the newest of all are listed, by pages; a digest, a task and a session are found by their beginning or end (fault C9, fault C10)', async () => {
    await using h = await createHarness({ agents })
    const [lead, other] = await h.bring('lead', 'other')
    await put(h, lead, 'a', 'first')
    await put(h, other, 'b', 'second')
    await put(h, other, 'c', 'third')
    const page = async (query: string) => (await h.operator('GET', `/v1/artifacts?${query}`)).body
    const names = (body: Record<string, unknown>) => (body.artifacts as { name: string }[]).map(({ name }) => name)
    expect(names(await page('')).sort()).toEqual(['a', 'b', 'c'])
    const first = await page('limit=2')
    expect([names(first), first.next]).toEqual([['c', 'b'], '2'])
    expect(names(await page('limit=2&cursor=2'))).toEqual(['a'])
    expect(names(await page(`part=${sha256('first').slice(0, 8)}`))).toEqual(['a'])
    expect(names(await page(`part=${sha256('second').slice(-8)}`))).toEqual(['b'])
    const task = lead.joined?.task.task ?? ''
    const found = async (query: string) => (await h.operator('GET', query)).body
    expect((await found(`/v1/tasks?part=${task.slice(-8)}`)).tasks).toMatchObject([{ id: task }])
    expect((await found(`/v1/tasks?part=${task.slice(0, 4)}`)).tasks).toHaveLength(2)
    expect((await found('/v1/tasks?part=ffffffff')).tasks).toEqual([])
    expect((await found('/v1/tasks?part=%25')).code).toBe('schema_invalid')
    const { session } = lead
    expect((await found(`/v1/sessions?part=${session.slice(-6)}`)).sessions).toMatchObject([{ id: session }])
    expect((await found(`/v1/sessions?part=${session.slice(0, 6)}`)).sessions).toMatchObject([{ id: session }])
  })

  test('content that does not match the signed digest leaves no row and no file', async () => {
    await using h = await createHarness({ agents })
    const [lead] = await h.bring('lead')
    const answer = await put(h, lead, 'x', 'not this', sha256('but that'))
    expect(code(answer)).toBe('400 schema_invalid')
    expect(filesOf(h)).toEqual([])
    expect(code(await get(h, lead, sha256('but that')))).not.toBe('ok')
  })

  test('one artifact over the cap is refused, and so is the one that takes the task over it', async () => {
    await using h = await createHarness({ agents, config: { limits: { artifactBytes: '1000B' } } })
    const [lead] = await h.bring('lead')
    expect(code(await put(h, lead, 'big', 'x'.repeat(1001)))).toBe('413 too_large')
    expect(code(await put(h, lead, 'a', 'a'.repeat(600)))).toBe('ok')
    expect(code(await put(h, lead, 'b', 'b'.repeat(600)))).toBe('413 too_large')
    expect(code(await put(h, lead, 'c', 'c'.repeat(400)))).toBe('ok')
    expect(code(await put(h, lead, 'a', 'd'.repeat(600)))).toBe('ok')
    expect(filesOf(h).sort()).toEqual(
      [sha256('a'.repeat(600)), sha256('c'.repeat(400)), sha256('d'.repeat(600))].sort(),
    )
  })
})

describe('names', () => {
  test.each([
    '../x',
    'a/../../x',
    '/etc/passwd',
    'a//b',
    './a',
    'a/.',
    '',
    'a\\b',
    'a\u0000b',
    'a\nb',
    'x'.repeat(1025),
  ])('a path trick is refused: %j (T69)', async (name) => {
    await using h = await createHarness({ agents })
    const [lead] = await h.bring('lead')
    expect(code(await put(h, lead, name, 'data'))).toBe('400 schema_invalid')
    expect(filesOf(h)).toEqual([])
    expect(h.audit().at(-1)).toMatchObject({ action: 'artifact.stored', outcome: 'refused' })
  })

  test('a file is kept under its digest alone, whatever it is called', async () => {
    await using h = await createHarness({ agents })
    const [lead] = await h.bring('lead')
    expect(code(await put(h, lead, '...hidden/..dots.tar.gz', 'data'))).toBe('ok')
    expect(filesOf(h)).toEqual([sha256('data')])
  })
})

describe('who may read', () => {
  test("a child reads its parent's inputs and nothing else of it; its parent reads the child's (T45)", async () => {
    await using h = await createHarness({ agents })
    const [lead, other] = await h.bring('lead', 'other')
    await put(h, lead, 'manifest', 'the manifest')
    await put(h, lead, 'pack', 'the pack')
    await put(h, lead, 'private', 'my own notes')
    const inputs = { manifest: sha256('the manifest'), pack: sha256('the pack') }
    await h.pumped(lead.delegate({ agent: 'kid', inputs }))
    await h.working(3)
    const kid = h.started.find(({ agent }) => agent === 'kid') as TestAgent
    expect(kid.joined?.task.inputs).toEqual(inputs)
    expect((await get(h, kid, inputs.pack)).bytes.toString()).toBe('the pack')
    expect(code(await get(h, kid, inputs.manifest))).toBe('ok')
    const denied = await get(h, kid, sha256('my own notes'))
    expect(code(denied)).toBe('403 policy_denied')
    // A digest that nobody has looks the same.
    expect((await get(h, kid, sha256('nothing'))).body.code).toBe('policy_denied')

    await put(h, kid, 'found', 'by the child')
    expect((await get(h, lead, sha256('by the child'))).bytes.toString()).toBe('by the child')
    for (const digest of [inputs.pack, sha256('by the child')])
      expect(code(await get(h, other, digest))).toBe('403 policy_denied')
    const reads = h.audit().filter(({ action }) => action === 'artifact.fetched')
    expect(reads.map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'refused', 'refused', 'ok', 'refused', 'refused'])
  })

  test('inputs that the parent could not read itself cannot be passed on', async () => {
    await using h = await createHarness({ agents })
    const [lead, other] = await h.bring('lead', 'other')
    await put(h, other, 'secret', 'of another')
    await put(h, lead, 'mine', 'mine')
    const inputs = { manifest: sha256('mine'), pack: sha256('of another') }
    expect(code(await h.pumped(lead.send({ kind: 'delegate', body: { agent: 'kid', inputs } })))).toBe('403 forbidden')
    // Whoever stores the same bytes shows that they have them, so they own them too.
    await put(h, lead, 'copied', 'of another')
    expect(code(await h.pumped(lead.send({ kind: 'delegate', body: { agent: 'kid', inputs } })))).toBe('ok')
  })

  test('inputs of a submitted task must have been uploaded before', async () => {
    await using h = await createHarness({ agents })
    const inputs = { manifest: sha256('m'), pack: sha256('p') }
    await expect(h.submit('kid', {}, { inputs })).rejects.toThrow('unknown_artifact')
  })
})

describe('S1-69: a file that is no longer what its name says', () => {
  const damage = (h: Harness, digest: string, text: string) =>
    writeFileSync(join(h.home, 'artifacts', digest.slice(0, 2), digest), text)
  const isOpen = (h: Harness, digest: string) => h.hub.guard.alerts.isOpen(`artifact_corrupt:${digest}`)

  test('is refused by name before its first byte, to agents and to people, whole and in ranges, with an alert and a record; the right bytes fix it', async () => {
    await using h = await createHarness({ agents })
    const [lead] = await h.bring('lead')
    const digest = sha256('as it was')
    await put(h, lead, 'x', 'as it was')
    expect(code(await get(h, lead, digest))).toBe('ok')
    // Of the same length: its size says nothing.
    damage(h, digest, 'as it WAS')
    expect(code(await get(h, lead, digest))).toBe('500 artifact_corrupt')
    expect(code(await get(h, lead, digest, { range: 'bytes=0-1' }))).toBe('500 artifact_corrupt')
    const people = await h.operator('GET', `/v1/artifacts/${digest}`)
    expect([people.status, people.body.code]).toEqual([500, 'artifact_corrupt'])
    expect(isOpen(h, digest)).toBe(true)
    const refused = h.audit().filter(({ reason }) => reason.startsWith('artifact_corrupt'))
    expect(refused.map(({ principal }) => principal.split('/')[0])).toEqual(['agent:lead', 'agent:lead', 'operator'])

    expect(code(await put(h, lead, 'x', 'as it was'))).toBe('ok')
    expect((await get(h, lead, digest)).bytes.toString()).toBe('as it was')
    expect(isOpen(h, digest)).toBe(false)
  })

  test('is found by the scan although nobody reads it, and so is one that is gone', async () => {
    await using h = await createHarness({ agents })
    const [lead] = await h.bring('lead')
    for (const text of ['one', 'two', 'six']) await put(h, lead, text, text)
    damage(h, sha256('two'), 'TWO')
    rmSync(join(h.home, 'artifacts', sha256('six').slice(0, 2), sha256('six')))
    await h.until(() => isOpen(h, sha256('two')) && isOpen(h, sha256('six')), 'the scan', 5000)
    expect(isOpen(h, sha256('one'))).toBe(false)
    damage(h, sha256('two'), 'two')
    await h.until(() => !isOpen(h, sha256('two')), 'the scan sees it fixed', 5000)
  })

  test('a missing folder is one alert and not one for each artifact, and it ends when the folder is back (fault G10)', async () => {
    await using h = await createHarness({ agents })
    const [lead] = await h.bring('lead')
    const texts = Array.from({ length: 12 }, (_, at) => `text ${at}`)
    for (const text of texts) await put(h, lead, text, text)
    const folder = join(h.home, 'artifacts')
    renameSync(folder, `${folder}.away`)
    const many = () => h.hub.guard.alerts.isOpen('artifacts_damaged')
    await h.until(many, 'the scan', 5000)
    expect(texts.filter((text) => isOpen(h, sha256(text)))).toHaveLength(5)
    rmSync(folder, { recursive: true, force: true })
    renameSync(`${folder}.away`, folder)
    await h.until(() => !many() && !texts.some((text) => isOpen(h, sha256(text))), 'the scan sees it back', 5000)
  })
})
