/** `hub egress allow`: exactly one of the proposals becomes a grant, after a yes (E19). */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { commandHome } from '../../../../support/command-home.ts'
import { refusal } from '../../../../support/fake-hub.ts'

const BEFORE = '{ "agents": { "a": { "ttlMs": 1000, "egress": ["forge"] }, "b": { "ttlMs": 1000 } } }\n'
const proposal = (id: number, agent: string, upstream: string, kind: string, grant: string) => ({
  ...{ id, agent, upstream, class: kind, grant, count: 3, firstAtMs: 0, lastAtMs: 1_700_000_000_000 },
})
const ALL = [
  proposal(7, 'a', 'api.example.org:443', 'connect', 'api.example.org:443'),
  proposal(8, 'a', 'forge', 'write', 'forge:write'),
  proposal(9, 'gone', 'forge', 'read', 'forge:read'),
]
const card = (...egress: string[]) =>
  `name: a\ndescription: d\nimage: hub/a\nrun: [node, x]\nmay: { egress: ${JSON.stringify(egress)} }\nlimits: { ttl: 5m }\n`
let file: string

const at = commandHome(() => {
  for (const folder of ['agents', 'policy']) mkdirSync(path.join(at.home, folder))
  writeFileSync(path.join(at.home, 'agents', 'a.yaml'), card('forge', 'api.example.org:443'))
  file = path.join(at.home, 'policy', 'data.json')
  writeFileSync(file, BEFORE, { mode: 0o600 })
  at.hub.on('GET /v1/egress/proposals', () => ({ body: { proposals: ALL } }))
  at.hub.on('GET /v1/policy', () => ({ body: {} }))
  at.hub.on('POST /v1/policy/reload', () => ({ body: {} }))
})
const written = () => readFileSync(file, 'utf8')

describe('hub egress allow [E19]', () => {
  test('shows the line, and without a yes writes nothing and changes no rule', async () => {
    const { code, stdout, stderr } = await at.run(['egress', 'allow', '7'])
    expect(stdout).toContain('agents.a.egress + "api.example.org:443"')
    expect(stderr).toContain('add --yes')
    expect({ code, text: written(), posted: at.posted() }).toEqual({ code: 2, text: BEFORE, posted: [] })
  })

  test('after a yes adds exactly that grant to exactly that agent, and has the hub read it', async () => {
    const { code, stdout } = await at.run(['egress', 'allow', '7', '--yes', '--json'])
    expect(JSON.parse(stdout)).toMatchObject({ id: 7, agent: 'a', grant: 'api.example.org:443', written: true })
    expect(JSON.parse(written())).toEqual({
      agents: { a: { ttlMs: 1000, egress: ['forge', 'api.example.org:443'] }, b: { ttlMs: 1000 } },
    })
    expect([code, at.posted()]).toEqual([0, ['/v1/policy/reload']])
  })

  test('says that a grant which the card does not ask for has no effect', async () => {
    const asked = await at.run(['egress', 'allow', '8', '--yes'])
    expect(asked.stderr).toContain('the card of a does not ask for it: add "forge:write" to may.egress')
    expect(JSON.parse(written()).agents.a.egress).toEqual(['forge', 'forge:write'])
    writeFileSync(file, BEFORE)
    writeFileSync(path.join(at.home, 'agents', 'a.yaml'), card('forge', 'forge:write'))
    expect((await at.run(['egress', 'allow', '8', '--yes'])).stderr).not.toContain('does not ask for it')
  })

  test('refuses by name what is no proposal, an agent without a row, and what the hub refuses; the file stays', async () => {
    const unknown = await at.run(['egress', 'allow', '70', '--yes'])
    expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining('there is no proposal "70"')])
    const rowless = await at.run(['egress', 'allow', '9', '--yes'])
    expect(rowless.stderr).toMatch(/gone has no row in .*data\.json/)
    expect(rowless.code).not.toBe(0)
    expect([written(), at.posted()]).toEqual([BEFORE, []])
    at.hub.on('POST /v1/policy/reload', () => refusal('policy_unavailable', 'sample "x" must be denied'))
    const refused = await at.run(['egress', 'allow', '7', '--yes'])
    expect(refused.stderr).toContain('the hub refused it: sample "x" must be denied')
    expect([refused.code, written()]).toEqual([4, BEFORE])
  })
})
