/** S1-63: of what is restricted only the access is written down; classes of messages and artifacts reach the rules and who reads. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createHarness, type Harness, puppet } from '../support/hub-harness.ts'

const SECRET = 'the-diagnosis-of-Ann'
const word = { type: 'object', properties: { about: { type: 'object', additionalProperties: { type: 'number' } } } }
const agents = {
  lead: {
    script: puppet,
    card: {
      may: { delegate: ['kid'], message: ['kid'] },
      messages: { sends: { say: 'word.json' }, receives: { say: null } },
    },
  },
  kid: { script: puppet, card: { messages: { sends: { say: null }, receives: { say: 'word.json' } } } },
}
const facts = (h: Harness, operation: string) =>
  (h.hub.guard.store.prepare('select input from decision').pluck().all() as string[])
    .map((input) => JSON.parse(input) as { operation: string; resource: Record<string, unknown> })
    .filter((each) => each.operation === operation)
    .map(({ resource }) => resource.dataClass)

test('S1-63: of a restricted message only the access is written down, delivered, refused or left unread', async () => {
  await using h = await createHarness({ agents, schemas: { 'word.json': word }, logLevel: 'trace' })
  const [lead, kid] = await h.bring('lead', 'kid')
  const say = { kind: 'request', to: 'agent:kid', type: 'say', dataClass: 'restricted' } as const
  await h.pumped(lead.say({ ...say, body: { text: SECRET } }))
  expect(await h.pumped(kid.next())).toMatchObject({ dataClass: 'restricted', body: { text: SECRET } })
  const sent = () => h.audit().findLast(({ action }) => action === 'message.sent')
  expect(sent()).toMatchObject({ outcome: 'ok', resource: `session:${kid.session}`, payload_hash: null })
  // Its fault names a part of it.
  const bad = await h.pumped(lead.send({ ...say, body: { about: { [SECRET]: 'ill' } } }))
  expect(bad.body.code).toBe('schema_invalid')
  expect(sent()).toMatchObject({ outcome: 'refused', payload_hash: null })
  const open = await h.pumped(lead.send({ ...say, dataClass: 'internal', body: { about: { open: 'ill' } } }))
  expect([open.body.code, sent()?.reason]).toEqual(['schema_invalid', expect.stringContaining('/about/open')])
  expect(sent()?.payload_hash).toMatch(/^[0-9a-f]{64}$/)

  for (const kind of ['log', 'progress', 'ask', 'result', 'delegate'] as const) {
    const refused = await h.pumped(
      lead.send({ kind, dataClass: 'restricted', body: { text: SECRET, params: { SECRET } } }),
    )
    expect([kind, refused.body.code, String(refused.body.detail)]).toEqual([
      kind,
      'schema_invalid',
      expect.stringContaining('written down'),
    ])
  }
  expect((await h.pumped(lead.send({ kind: 'log', dataClass: 'confidential', body: { text: 'x' } }))).status).toBe(200)

  // What nobody has read yet is in the evidence of its reader, but for what it says.
  await h.pumped(lead.say({ ...say, body: { text: SECRET } }))
  const { body } = await h.operator('POST', `/v1/sessions/${kid.session}/quarantine`)
  const { folder } = body.evidence as { folder: string }
  const evidence = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'))
  expect(evidence.join('')).toContain('"body":"[restricted]"')
  const written = [
    ...evidence,
    JSON.stringify([h.events(), h.complaints, h.audit()]),
    readFileSync(join(h.home, 'hub.db'), 'latin1'),
  ]
  for (const text of [...written, readFileSync(join(h.home, 'hub.db-wal'), 'latin1')])
    expect(text).not.toContain(SECRET)
  await h.quiet()
})

test('S1-63: the class of an artifact goes with it, reaches the rules, and is not loosened by storing the same bytes again', async () => {
  await using h = await createHarness({ agents, schemas: { 'word.json': word } })
  const [lead] = await h.bring('lead')
  await h.pumped(lead.delegate({ agent: 'kid' }))
  await h.working(2)
  const [, kid = lead] = h.started
  const put = (name: string, bytes: string, dataClass?: string) => {
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const path = `/v1/artifacts/${sha256}?name=${name}${dataClass === undefined ? '' : `&dataClass=${dataClass}`}`
    const headers = { 'content-type': 'application/octet-stream' }
    return h.pumped(kid.ask({ method: 'PUT', path, body: Buffer.from(bytes), headers }))
  }
  const stored = await put('a', 'found', 'restricted')
  expect(stored.body).toMatchObject({ name: 'a', dataClass: 'restricted' })
  // The same bytes again, under another name or the same, with a looser class or none: it stays as strict as it was.
  expect((await put('b', 'found', 'public')).body).toMatchObject({ dataClass: 'restricted' })
  expect((await put('a', 'found')).body).toMatchObject({ name: 'a', dataClass: 'restricted' })
  expect((await put('e', 'open', 'public')).body).toMatchObject({ dataClass: 'public' })
  expect((await put('c', 'plain')).body).not.toHaveProperty('dataClass')
  expect((await put('d', 'x', 'secret')).body.code).toBe('schema_invalid')
  expect(facts(h, 'artifact.put')).toEqual(expect.arrayContaining(['restricted', 'public', undefined]))
  const path = `/v1/artifacts/${String(stored.body.sha256)}`
  expect((await h.pumped(lead.ask({ method: 'GET', path }))).status).toBe(200)
  expect(facts(h, 'artifact.get')).toEqual(['restricted'])
  const listed = await h.operator('GET', `/v1/artifacts?task=${kid.joined?.task.task}`)
  expect(listed.body.artifacts).toMatchObject([
    { name: 'a', dataClass: 'restricted' },
    { name: 'b', dataClass: 'restricted' },
    { name: 'c' },
    { name: 'e', dataClass: 'public' },
  ])
  expect((await h.operator('GET', path)).body.text).toBe('found')
  expect(facts(h, 'artifact.get')).toEqual(['restricted', 'restricted'])
})
