/** Egress under a whole hub: declared, asked for and granted, or there is none (docs/egress.md 3). What a session got at its start is all it has. */
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { toHubError } from '../../hub/base/errors.ts'
import { principalOfSession } from '../../hub/work/dispatch/authority.ts'
import { createHarness, type Harness, puppet } from '../support/hub-harness.ts'

const OFF = { http: { port: 0 }, metrics: { port: 0 } }
const UPSTREAMS = {
  forge: { kind: 'git', url: 'https://git.example.org', repositories: ['me/*'], secret: 'forge-token' },
  weather: { kind: 'http', url: 'https://api.example.org', allow: ['GET /v1/forecast*'] },
}

/** What the gate says to a session that asks for this: `ok`, or the refusal. */
function asked(h: Harness, session: string, upstream: string, ofClass: string): string {
  const row = h.hub.work.tasks.session(session)
  if (row === undefined) throw new Error(`no session ${session}`)
  const facts = { agent: row.agent, upstream, kind: 'http', class: ofClass }
  const call = {
    principal: principalOfSession(row),
    operation: 'egress.request',
    resource: `session:${session}`,
    facts,
  } as const
  try {
    return h.hub.guard.gate.admit(call, () => 'ok')
  } catch (thrown) {
    const { code, message } = toHubError(thrown)
    return `${code}: ${message}`
  }
}

test('a card that asks for an upstream is refused by name until it is declared, live, and refused again once it is gone', async () => {
  const agents = { reader: { script: puppet, card: { may: { egress: ['weather'] } } }, echo: { script: puppet } }
  await using h = await createHarness({ agents })
  const write = (upstreams: object) => writeFileSync(join(h.home, 'hub.yaml'), JSON.stringify({ ...OFF, upstreams }))
  const unloaded = () => h.hub.work.catalogue.registry.problems().map(({ file, message }) => `${file}: ${message}`)
  const refusal = 'may.egress: weather: no upstream is named weather: declare it under upstreams in hub.yaml'

  expect(unloaded()).toEqual([`reader.yaml: ${refusal}`])
  await expect(h.submit('reader')).rejects.toThrow(/unknown_agent|no upstream is named weather/)
  write(UPSTREAMS)
  await h.until(() => unloaded().length === 0, 'the card is loaded once the upstream is declared')
  await h.submit('reader')
  await h.working(1)
  write({ weather: { kind: 'npm', url: 'https://registry.example.org' } })
  await h.until(() => h.hub.work.catalogue.registry.list().length === 2)
  write({})
  await h.until(() => unloaded().length === 1, 'without the upstream nothing new of it begins')
  // What runs goes on by what it was started with.
  expect(h.started[0]?.ended.aborted).toBe(false)
})

test('what a session may reach is what card, row and chain all name, fixed at its start (T42)', async () => {
  const wish = { egress: ['forge', 'forge:write', 'weather'] }
  const agents = {
    lead: {
      script: puppet,
      card: { may: { ...wish, delegate: ['child', 'bare'] } },
      policy: { egress: ['forge:read', 'forge:write', 'other'] },
    },
    child: {
      script: puppet,
      card: { may: { egress: ['forge', 'weather'] } },
      policy: { egress: ['forge', 'forge:write', 'weather'] },
    },
    bare: { script: puppet, card: { may: wish }, policy: { egress: [] } },
    plain: { script: puppet, policy: { egress: ['forge'] } },
  }
  await using h = await createHarness({ agents, config: { upstreams: UPSTREAMS } })
  const [lead, plain, bare] = await h.bring('lead', 'plain', 'bare')
  const egressOf = (session: string) => h.hub.work.tasks.session(session)?.authority.egress

  expect(egressOf(lead.session)).toEqual(['forge:write', 'forge:read'])
  expect([egressOf(plain.session), egressOf(bare.session)]).toEqual([[], []])
  // Its card names all of it, and its row too; what the session above it holds is less.
  await h.pumped(lead.delegate({ agent: 'child' }))
  await h.working(4)
  const [child] = h.started.filter(({ agent }) => agent === 'child')
  if (child === undefined) throw new Error('the child never began')
  expect(egressOf(child.session)).toEqual(['forge:read'])

  // At its join it is told of nothing else, and a session without egress is told nothing.
  const placeholder = expect.stringMatching(/^hub-placeholder-forge-/)
  expect(lead.joined?.egress).toEqual({ upstreams: [{ name: 'forge', kind: 'git', placeholder }], lines: [] })
  expect(child.joined?.egress?.upstreams[0]?.placeholder).not.toBe(lead.joined?.egress?.upstreams[0]?.placeholder)
  for (const { joined } of [plain, bare]) expect(joined).not.toHaveProperty('egress')

  const folderOf = (session: string) => readdirSync(join(h.home, 'run', 's', session)).sort()
  expect([lead, child].map(({ session }) => folderOf(session))).toEqual(Array(2).fill(['egress.sock', 'hub.sock']))
  expect([plain, bare].map(({ session }) => folderOf(session))).toEqual(Array(2).fill(['hub.sock']))

  // Its container is made by what it got, and by nothing else.
  const socketsOf = async (session: string) =>
    ((await h.operator('GET', `/v1/sessions/${session}?hardening=true`)).body.hardening as { sockets: string }).sockets
  expect(await Promise.all([lead, child, plain, bare].map(({ session }) => socketsOf(session)))).toEqual([
    ...['egress', 'egress', 'unix', 'unix'],
  ])

  expect(asked(h, lead.session, 'forge', 'read')).toBe('ok')
  expect(asked(h, lead.session, 'forge', 'write')).toBe('ok')
  expect(asked(h, child.session, 'forge', 'read')).toBe('ok')
  expect(asked(h, child.session, 'forge', 'write')).toMatch(/authority does not include reaching forge \(write\)/)
  expect(asked(h, lead.session, 'weather', 'read')).toMatch(
    /^policy_denied: agent lead may not reach weather \(read\): add "weather" to agents\.lead\.egress/,
  )
  // Both that it lacks, at once.
  expect(asked(h, bare.session, 'forge', 'read')).toMatch(
    /add "forge" to agents\.bare\.egress in policy\/data\.json, and to may\.egress of the card of agent bare and /,
  )
  expect(asked(h, plain.session, 'forge', 'read')).toMatch(/authority does not include reaching forge/)
})
