import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { placeCard } from '../../../../../hub/client/cli/agents/build.ts'
import { devCard, devEntry } from '../../../../../hub/client/cli/agents/dev-copy.ts'
import { openFolder } from '../../../../../hub/client/cli/agents/folder.ts'
import { readCard } from '../../../../../hub/work/card-reading.ts'
import { commandHome } from '../../../../support/command-home.ts'
import { eventFeed, refusal, SESSION_ID, TASK_ID, taskView } from '../../../../support/fake-hub.ts'

const CARD = `# mine
name: a
description: d
image: hub/a
run: [node, x]
limits: { ttl: 5m }
messages:
  sends: { told: schemas/told.json, free: null }
may: { message: [b] }
`
const BEFORE = '{ "agents": { "a": {"ttlMs": 1000, "submit": false, "message": ["b"]} } }\n'
let data: string

/** No folder is named `a` below the home, so `hub agent try a` takes the home's card and image, and nothing is built. */
const at = commandHome(() => {
  for (const folder of ['agents/schemas', 'policy']) mkdirSync(path.join(at.home, folder), { recursive: true })
  writeFileSync(path.join(at.home, 'agents', 'a.yaml'), CARD)
  writeFileSync(path.join(at.home, 'agents', 'schemas', 'told.json'), '{"type":"object"}')
  data = path.join(at.home, 'policy', 'data.json')
  writeFileSync(data, BEFORE)
  at.hub.on('POST /v1/policy/reload', () => ({ body: {} }))
  at.hub.on('POST /v1/agents/reload', () => ({ body: { agents: [], problems: [] } }))
})
const left = () => ({ cards: readdirSync(path.join(at.home, 'agents')).sort(), data: readFileSync(data, 'utf8') })
const NOTHING = { cards: ['a.yaml', 'schemas'], data: BEFORE }

describe('the copy an agent is tried under', () => {
  test('has the card of the agent but for name, image and where its schemas stand', () => {
    const text = devCard(CARD, { dev: 'a--dev', image: 'hub/a--dev' })
    expect(text).toContain('# mine')
    expect(text).toContain('told: a--dev/schemas/told.json')
    mkdirSync(path.join(at.home, 'agents', 'a--dev', 'schemas'), { recursive: true })
    writeFileSync(path.join(at.home, 'agents', 'a--dev', 'schemas', 'told.json'), '{}')
    writeFileSync(path.join(at.home, 'agents', 'a--dev.yaml'), text)
    const { card } = readCard(path.join(at.home, 'agents', 'a--dev.yaml'))
    expect(card).toMatchObject({ name: 'a--dev', image: 'hub/a--dev', may: { message: ['b'] } })
    // A trial that crashes is run once (fault C11).
    expect(card).toMatchObject({ restarts: 0, repeatable: false })
  })

  test('may do what the agent is granted, and without a grant nothing, whatever its card wishes', () => {
    expect(devEntry({ message: ['b'], suspended: true, submit: false }, 1)).toEqual({
      message: ['b'],
      suspended: false,
      submit: true,
    })
    expect(devEntry(undefined, 5)).toMatchObject({ submit: true, ttlMs: 5, capabilities: [], message: [] })
  })

  test('is there while the task runs, and gone to the byte afterwards; the exit code is the outcome', async () => {
    const seen: unknown[] = []
    at.hub.on('POST /v1/tasks', ({ body }) => {
      const entry = (JSON.parse(readFileSync(data, 'utf8')) as { agents: Record<string, unknown> }).agents['a--dev']
      seen.push(body, entry, existsSync(path.join(at.home, 'agents', 'a--dev.yaml')))
      return { body: { task: taskView({ agent: 'a--dev' }) } }
    })
    const event = (sequence: number, type: string, subject: string, facts: object) => ({
      sequence,
      type,
      subject,
      time: new Date(sequence).toISOString(),
      data: facts,
    })
    const detail = 'agent a--dev may not message b: add "b" to agents.a--dev.message in policy/data.json'
    at.hub.on('GET /v1/events', () =>
      eventFeed([
        event(1, 'hub.message.refused.v1', 'session:sother', { code: 'policy_denied', detail: 'of another session' }),
        event(2, 'hub.session.started.v1', `session:${SESSION_ID}`, { agent: 'a--dev', task: TASK_ID }),
        event(3, 'hub.task.log.v1', `task:${TASK_ID}`, { level: 'info', text: 'one\ntwo' }),
        event(4, 'hub.message.refused.v1', `session:${SESSION_ID}`, { code: 'policy_denied', detail }),
        event(5, 'hub.task.completed.v1', `task:${TASK_ID}`, { task: TASK_ID }),
      ]),
    )
    const error = { code: 'failed', detail: 'it did not work' }
    at.hub.on('GET /v1/tasks/:id', () => ({ body: { task: taskView({ state: 'failed', error }), attempts: [] } }))
    const { code, stderr } = await at.run(['agent', 'try', 'a', '--param', 'n:=1'])
    expect(seen).toMatchObject([
      { agent: 'a--dev', params: { n: 1 } },
      { submit: true, message: ['b'], ttlMs: 1000 },
      true,
    ])
    expect(stderr).toContain('info  one\ninfo  two\n')
    expect(stderr).toContain('fix: add "b" to agents.a.message in policy/data.json')
    expect(stderr).not.toContain('of another session')
    expect([code, left()]).toEqual([5, NOTHING])
    expect(at.hub.asked.filter(({ path: at }) => at.endsWith('/reload'))).toHaveLength(4)
  })

  test('is gone too where the hub refuses its grant, its card or its task', async () => {
    const outcome = async () => [(await at.run(['agent', 'try', 'a'])).code, left()]
    at.hub.on('POST /v1/tasks', () => refusal('mode_safe', 'not now'))
    expect(await outcome()).toEqual([3, NOTHING])
    const problems = [{ file: 'a--dev.yaml', line: 3, message: 'no' }]
    at.hub.on('POST /v1/agents/reload', () => ({ body: { agents: [], problems } }))
    expect(await outcome()).toEqual([3, NOTHING])
    at.hub.on('POST /v1/policy/reload', () => refusal('policy_unavailable', 'no'))
    expect(await outcome()).toEqual([4, NOTHING])
  })

  test('takes only its own entry away from a file that somebody else has changed meanwhile', async () => {
    at.hub.on('POST /v1/tasks', () => {
      const now = JSON.parse(readFileSync(data, 'utf8')) as { agents: Record<string, unknown> }
      writeFileSync(data, JSON.stringify({ agents: { ...now.agents, c: { ttlMs: 5 } } }))
      return refusal('mode_safe', 'not now')
    })
    await at.run(['agent', 'try', 'a'])
    expect(JSON.parse(readFileSync(data, 'utf8'))).toEqual({
      agents: { a: { ttlMs: 1000, submit: false, message: ['b'] }, c: { ttlMs: 5 } },
    })
  })

  test('left behind by a command that was killed, it is taken away by the next one', async () => {
    writeFileSync(data, BEFORE.replace('"a": {', '"a--dev": {"ttlMs": 1}, "a": {'))
    writeFileSync(path.join(at.home, 'agents', 'a--dev.yaml'), 'name: old\n')
    at.hub.on('POST /v1/tasks', () => refusal('mode_safe', 'not now'))
    await at.run(['agent', 'try', 'a'])
    expect(left().cards).toEqual(NOTHING.cards)
    expect(JSON.parse(left().data)).toEqual(JSON.parse(BEFORE))
  })
})

describe('the card of a folder', () => {
  const folderOf = (text: string, schema = '{}') => {
    const folder = path.join(at.home, 'mine')
    mkdirSync(path.join(folder, 'schemas'), { recursive: true })
    writeFileSync(path.join(folder, 'agent.yaml'), text)
    writeFileSync(path.join(folder, 'schemas', 'told.json'), schema)
    return folder
  }

  test('goes into the home with its schemas, and never over a different schema of another card', () => {
    const text = CARD.replaceAll('hub/a', 'hub/z').replace('name: a', 'name: z')
    expect(() => placeCard(at.home, openFolder(folderOf(text)), { name: 'z', text })).toThrow(
      'a.yaml has a different schema',
    )
    expect(existsSync(path.join(at.home, 'agents', 'z.yaml'))).toBe(false)
    const agent = openFolder(folderOf(text, '{"type":"object"}'))
    expect(placeCard(at.home, agent, { name: 'z', text })).toEqual(['z.yaml', 'schemas/told.json'])
    expect(readFileSync(path.join(at.home, 'agents', 'z.yaml'), 'utf8')).toBe(text)
  })

  test.each([
    ['image: hub/other', 'image must be hub/a'],
    ['image: hub/a\nwrong: 1', 'wrong: there is no such key'],
    ['image: hub/a\nimage: hub/a', 'this key is there twice'],
  ])('is refused with %j', (image, why) => {
    expect(() => openFolder(folderOf(CARD.replace('image: hub/a', image)))).toThrow(why)
  })

  test.each(['schemas/../../out.json', '/etc/x.json', 'schemas/gone.json'])(
    'is refused with the schema %s',
    (schema) => {
      const text = CARD.replace('schemas/told.json', schema)
      expect(() => placeCard(at.home, openFolder(folderOf(text)), { name: 'a', text })).toThrow(schema)
    },
  )
})
