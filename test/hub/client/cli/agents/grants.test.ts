import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { planGrant, policyText, readPolicy, withEntry } from '../../../../../hub/client/cli/agents/grants.ts'
import { agentCardShape } from '../../../../../hub/protocol/agent.ts'

const shipped = readFileSync(fileURLToPath(new URL('../../../../../policies/data.json', import.meta.url)))
const cardOf = (fields: object = {}) =>
  agentCardShape.parse({
    name: 'a',
    description: 'd',
    image: 'hub/a',
    run: ['node', 'x'],
    capabilities: ['read', 'write'],
    limits: { ttl: '10m', memory: '256MiB' },
    may: { message: ['b'], topics: ['news'] },
    ...fields,
  })
const changes = (plan: ReturnType<typeof planGrant>) =>
  Object.fromEntries(plan.rows.filter(({ change }) => change !== '').map(({ right, change }) => [right, change]))

describe('what a card wishes and what it is granted', () => {
  test('without an entry everything wished is the difference, and broadcasting is never part of it', () => {
    const plan = planGrant(cardOf(), undefined)
    expect(plan.changed).toBe(true)
    expect(plan.entry).toEqual({
      submit: true,
      capabilities: ['read', 'write'],
      ttlMs: 600_000,
      message: ['b'],
      delegate: [],
      topics: ['news'],
      secrets: [],
      egress: [],
      broadcast: false,
    })
    expect(changes(plan)).toMatchObject({ capabilities: '+ read, write', ttlMs: '10m', submit: 'true' })
  })

  test.each([
    ['nothing of it where neither says a class', undefined, undefined, undefined, undefined],
    ['what the card asks for', 'internal', undefined, 'internal', 'internal'],
    ['more, where the card asks for more', 'restricted', 'public', 'restricted', 'restricted'],
    ['nothing new, where more is granted already', 'public', 'confidential', 'confidential', undefined],
    ['nothing new, where the card no longer asks', undefined, 'internal', 'internal', undefined],
    ['what the card asks for in the place of no class', 'public', 'all', 'public', 'public'],
  ])('S1-73: grants of the class of data %s', (_, sensitivity, granted, result, change) => {
    const before = {
      ...planGrant(cardOf(), undefined).entry,
      ...(granted === undefined ? {} : { sensitivity: granted }),
    }
    const plan = planGrant(cardOf(sensitivity === undefined ? {} : { sensitivity }), before)
    expect(plan.entry.sensitivity).toBe(result)
    expect(changes(plan)).toEqual(change === undefined ? {} : { sensitivity: change })
  })

  test('adds what is missing, keeps what is there, and says what is granted and not wished', () => {
    const entry = { submit: true, capabilities: ['write', 'admin'], ttlMs: 60_000, message: ['b'], topics: ['news'] }
    const plan = planGrant(cardOf(), entry)
    expect(changes(plan)).toEqual({ capabilities: '+ read', ttlMs: '10m' })
    expect(plan.entry).toMatchObject({ capabilities: ['write', 'admin', 'read'], ttlMs: 600_000 })
    expect(plan.notes).toEqual(['capabilities: admin is granted but the card does not ask for it; it has no effect'])
  })

  test('egress: a grant of the whole upstream holds its classes, but never writing', () => {
    const card = cardOf({ may: { egress: ['forge:read', 'forge:write', 'anthropic', 'npm:read'] } })
    const entry = { ...planGrant(cardOf(), undefined).entry, egress: ['forge', 'anthropic:metered', 'pypi'] }
    const plan = planGrant(card, entry)
    expect(plan.rows.find(({ right }) => right === 'egress')).toEqual({
      right: 'egress',
      wish: 'forge:read, forge:write, anthropic, npm:read',
      grant: 'forge, anthropic:metered, pypi',
      change: '+ forge:write, anthropic, npm:read',
    })
    expect(plan.notes).toContain('egress: pypi is granted but the card does not ask for it; it has no effect')
  })

  test('T101, T102: a relaxation is shown on both sides and granted by name, and no other card has a line of it', () => {
    const line = ({ rows }: ReturnType<typeof planGrant>) => rows.find(({ right }) => right === 'relax')
    const bare = planGrant(cardOf(), undefined)
    expect([line(bare), Object.hasOwn(bare.entry, 'relax')]).toEqual([undefined, false])
    const asked = planGrant(cardOf({ relax: ['exec', 'shm'] }), { ...bare.entry, relax: ['shm'] })
    expect(line(asked)).toEqual({ right: 'relax', wish: 'exec, shm', grant: 'shm', change: '+ exec' })
    expect(asked.entry.relax).toEqual(['shm', 'exec'])
    const idle = planGrant(cardOf(), { ...bare.entry, relax: ['exec'] })
    expect([line(idle)?.wish, idle.notes]).toEqual([
      '-',
      ['relax: exec is granted but the card does not ask for it; it has no effect'],
    ])
  })

  test('T104: that conversations are kept is shown on both sides and granted by name, and no other card has a line of it', () => {
    const line = ({ rows }: ReturnType<typeof planGrant>) => rows.find(({ right }) => right === 'transcripts')
    const bare = planGrant(cardOf(), undefined)
    expect([line(bare), Object.hasOwn(bare.entry, 'transcripts')]).toEqual([undefined, false])
    const keeping = cardOf({ driver: 'stream-json', run: ['x', 'y{earlier}'], resume: ['x'], transcripts: true })
    const asked = planGrant(keeping, bare.entry)
    const words = { right: 'transcripts', wish: 'its conversations are kept, unmasked' }
    expect(line(asked)).toEqual({ ...words, grant: 'false', change: 'true' })
    expect([asked.changed, asked.entry.transcripts]).toEqual([true, true])
    expect(planGrant(keeping, asked.entry)).toMatchObject({ changed: false, entry: { transcripts: true } })
    expect(planGrant(cardOf(), asked.entry).notes).toContain(
      'transcripts is true but the card does not ask for it; it has no effect',
    )
  })

  test('never undoes submit: false or suspended: true, never shortens, and with everything granted writes nothing', () => {
    const entry = { ...planGrant(cardOf(), undefined).entry, submit: false, suspended: true, ttlMs: 7_200_000 }
    const plan = planGrant(cardOf(), entry)
    expect([plan.changed, plan.entry]).toEqual([false, entry])
    expect(plan.notes).toHaveLength(2)
    const wider = planGrant(cardOf({ capabilities: ['read', 'write', 'more'] }), entry)
    expect(wider.entry).toMatchObject({ submit: false, suspended: true, ttlMs: 7_200_000 })
  })

  test('shows limits that data.json does not grant, and a shell in the image', () => {
    const { rows } = planGrant(cardOf({ shell: true, limits: { memory: '256MiB' } }), undefined)
    expect(rows.find(({ right }) => right === 'ttlMs')).toMatchObject({ wish: '1h (the default)' })
    expect(rows.find(({ right }) => right === 'memory')).toMatchObject({
      wish: '256.0 MiB',
      grant: 'by hub.yaml',
      change: '',
    })
    expect(rows.find(({ right }) => right === 'shell')).toMatchObject({ wish: 'in its image' })
  })
})

describe('the text of policy/data.json', () => {
  test('is written as the shipped one is, byte for byte', () => {
    expect(policyText(JSON.parse(shipped.toString()))).toBe(shipped.toString())
  })

  test('changes in one entry only, and is what it was when that is taken out again', () => {
    const policy = readPolicy(shipped, 'data.json')
    const text = withEntry(policy, 'new', { submit: true, capabilities: ['x'] })
    expect(text).toContain('    "new": {\n      "submit": true,\n      "capabilities": ["x"]\n    }')
    expect(withEntry(readPolicy(Buffer.from(text), 'data.json'), 'new', undefined)).toBe(shipped.toString())
  })

  test('keeps keys it does not know, and breaks a list that is too long for a line', () => {
    const long = Array.from({ length: 30 }, (_, at) => `agent-${at}`)
    const text = withEntry(readPolicy(Buffer.from('{"other":{"a":[]},"agents":{}}'), 'f'), 'a', { message: long })
    expect(JSON.parse(text)).toEqual({ other: { a: [] }, agents: { a: { message: long } } })
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThan(121)
  })

  test.each([
    '',
    '[]',
    '{}',
    '{"agents":[]}',
    '{"agents":{"a":1}}',
    '{"agents":{},"agents":{}}',
    '{"agents":{"__proto__":{}}}',
  ])('refuses %j by the name of the file', (text) => {
    expect(() => readPolicy(Buffer.from(text), 'home/data.json')).toThrow('home/data.json')
  })
})
