/** The compiled rules against the rest of the program: its operations, its principals, its container profile, its cards. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { mayStop, type Principal } from '../../../../hub/guard/principal.ts'
import { DEFAULT_LIMITS } from '../../../../hub/protocol/agent.ts'
import { OPERATIONS, type OperationName, operationOf, type PrincipalKind } from '../../../../hub/protocol/operations.ts'
import { buildContainer } from '../../../../hub/work/sandbox/profile.ts'
import { agentPrincipal, ask, askedFor, openPolicy, policyFolder } from '../../../support/policy-fixture.ts'

const root = fileURLToPath(new URL('../../../..', import.meta.url))
const operations = Object.keys(OPERATIONS) as OperationName[]

function evaluate(operation: string, principal: Principal, resource: Record<string, unknown> = {}) {
  using folder = policyFolder()
  return openPolicy(folder)
    .active()
    .engine.evaluate(JSON.stringify(ask(operation, principal, resource)))
}

using folder = policyFolder()
const { engine } = openPolicy(folder).active()
const effectOf = (operation: string, principal: unknown, resource: Record<string, unknown> = {}) =>
  engine.evaluate(JSON.stringify({ operation, principal, resource, mode: 'running' })).effect

test('T20: an unknown kind of principal is denied every operation, whatever else it claims', () => {
  const stranger = {
    ...agentPrincipal('survey-lead'),
    kind: 'stranger',
    id: 'dispatcher',
    actions: operations,
    rights: ['view', 'stop'],
  }
  const resource = { ...askedFor('echo'), own: true, kind: 'request', relation: 'parent' }
  expect(operations.filter((operation) => effectOf(operation, stranger, resource) !== 'deny')).toEqual([])
})

test('the rules know every operation people may reach, and give them none of the others', () => {
  const operator = { kind: 'operator', id: 'operator' }
  const allowed = operations.filter((operation) => effectOf(operation, operator, askedFor('echo')) === 'allow')
  expect(allowed).toEqual(operations.filter((operation) => operationOf(operation)?.reach.includes('operator')))
})

test.for<[PrincipalKind, Record<string, unknown>]>([
  ['contact', {}],
  ['watchdog', {}],
  ['device', { rights: ['view', 'heartbeat', 'approve', 'stop', 'resume'] }],
  ['automation', { actions: operations }],
  ['hub', { id: 'dispatcher' }],
])('the rules never let a %s do what the operations table does not', ([kind, more]) => {
  const allowed = operations.filter(
    (operation) => effectOf(operation, { kind, id: kind, ...more }, askedFor('echo')) === 'allow',
  )
  expect(allowed.filter((operation) => operationOf(operation)?.reach.includes(kind) !== true)).toEqual([])
  // An entrance that is open to no avail would be a mistake too.
  expect(allowed.length).toBeGreaterThan(0)
})

test('fault D15: the rules of people name no operation that does not exist', () => {
  const text = readFileSync(join(root, 'policies/operator.rego'), 'utf8')
  const operationsNamed = [...text.matchAll(/"([a-z]+\.[a-z]+)"/g)].map(([, name = '']) => name)
  expect(operationsNamed.length).toBeGreaterThan(50)
  expect(operationsNamed.filter((name) => name !== 'hub.operator' && operationOf(name) === undefined)).toEqual([])
})

test('fault F17: who may stop beside the rules is who may by the rules, for every stop, right and action', () => {
  const stops = operations.filter((operation) => operationOf(operation)?.standing === 'stop')
  const bearers: Principal[] = [
    ...['view', 'heartbeat', 'approve', 'stop', 'resume'].map((right) => ({
      kind: 'device' as const,
      id: 'phone',
      rights: [right],
    })),
    { kind: 'device', id: 'none', rights: [] },
    ...operations.map((action) => ({ kind: 'automation' as const, id: 'ci', actions: [action] })),
  ]
  const pairs = bearers.flatMap((principal) => stops.map((operation) => ({ principal, operation })))
  const reached = ({ principal, operation }: (typeof pairs)[number]) =>
    operationOf(operation)?.reach.includes(principal.kind) === true && mayStop(principal, operation)
  const ruled = ({ principal, operation }: (typeof pairs)[number]) => effectOf(operation, principal) === 'allow'
  expect(pairs.filter(reached)).toEqual(pairs.filter(ruled))
  // For a device the two say the same, whoever else may reach the operation.
  const ofDevices = pairs.filter(({ principal }) => principal.kind === 'device')
  expect(ofDevices.filter(({ principal, operation }) => mayStop(principal, operation))).toEqual(ofDevices.filter(ruled))
  expect(pairs.filter(reached).length).toBeGreaterThan(5)
})

test('S1-58: the container profile as the hub makes it passes, and with a bind mount it does not', () => {
  const body = buildContainer(
    {
      instance: 'test',
      session: 'sabcdefghijklmno',
      task: 't-1',
      attempt: 'a-1',
      agent: 'echo',
      generation: 1,
      imageId: `sha256:${'a'.repeat(64)}`,
      user: 60_928,
      socketDir: '/home/hub/run/s/sabcdefghijklmno',
      expiresAtMs: 1,
      expiresBoot: { bootId: 'boot', bootMs: 1 },
      runtime: 'runc',
      egress: false,
      relax: [],
    },
    DEFAULT_LIMITS,
    // As large as the profile may be.
    { cpusWithThermalThrottle: [0, 1], appArmor: true, seccomp: `{${'"syscall",'.repeat(3276)}}`, seccompEgress: '{}' },
  )
  const hub = { kind: 'hub', id: 'containers' } as const
  expect(evaluate('session.provision', hub, { body })).toMatchObject({ effect: 'allow', rule: 'hub.sandbox.profile' })
  const bound = { ...body, HostConfig: { ...body.HostConfig, Binds: ['/:/host'] } }
  expect(evaluate('session.provision', hub, { body: bound }).reason).toContain(
    'breaks the profile: nothing-else-gets-in;',
  )
})

test('T45: a session whose chain lacks a right does not gain it by what its agent may', () => {
  const lead = agentPrincipal('survey-lead', { capabilities: ['survey-lead'], delegate: ['survey-reader'] })
  const resource = { agent: 'survey-reader', needs: [], depthLeft: 1, tasksLeft: 1, chain: ['survey-lead'] }
  expect(evaluate('task.delegate', lead, { ...resource, wanted: { capabilities: ['read-source'] } })).toMatchObject({
    effect: 'deny',
    code: 'delegation_wider',
    reason: 'read-source is more than the delegating session holds',
  })
  expect(evaluate('task.delegate', lead, { ...resource, wanted: { capabilities: ['survey-lead'] } }).effect).toBe(
    'allow',
  )
})

test('a capability is spelled one way in the policy and in the shipped cards', () => {
  const data = JSON.parse(readFileSync(join(root, 'policies/data.json'), 'utf8')) as {
    agents: Record<string, { capabilities: string[] }>
  }
  const cards = globSync(join(root, 'images/*/agent.yaml')).map(
    (path) =>
      parse(readFileSync(path, 'utf8')) as { name: string; capabilities?: string[]; may?: { egress?: string[] } },
  )
  for (const { name, capabilities = [], may = {} } of cards) {
    // It is in no new home, so it has no row there: `hub agent allow` writes one.
    if (may.egress !== undefined) {
      expect(Object.keys(data.agents)).not.toContain(name)
      continue
    }
    expect(Object.keys(data.agents), `agent ${name} needs a row in policies/data.json`).toContain(name)
    expect(data.agents[name]?.capabilities, `capabilities of card ${name}`).toEqual(
      expect.arrayContaining(capabilities),
    )
  }
  // The reverse holds only once all cards are there.
  const complete = Object.keys(data.agents).every((name) => existsSync(join(root, 'images', name, 'agent.yaml')))
  const offered = new Set(cards.flatMap(({ capabilities = [] }) => capabilities))
  const unknown = Object.values(data.agents).flatMap(({ capabilities }) =>
    capabilities.filter((each) => !offered.has(each)),
  )
  expect(complete ? unknown : []).toEqual([])
})
