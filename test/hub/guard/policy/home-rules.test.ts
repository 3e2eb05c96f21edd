/** The operator's own rules: what they may say, what they can never do, and which of them never rule. */
import { generateKeyPairSync } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sha256Hex } from '../../../../hub/base/canonical.ts'
import { HubError } from '../../../../hub/base/errors.ts'
import type { Verdict } from '../../../../hub/guard/policy/engine.ts'
import { combine, createHomeEngine, judgeHomeResult, withHomeRules } from '../../../../hub/guard/policy/home-rules.ts'
import { policyShape } from '../../../../hub/guard/policy/settings.ts'
import { bounded } from '../../../../hub/guard/policy/trials.ts'
import { makeCandidate } from '../../../../hub/home/policy-seal.ts'
import { isHeld } from '../../../../hub/protocol/egress/grants.ts'
import {
  acceptedTable,
  ask,
  askedFor,
  decisionTable,
  hasOpa,
  openDecisions,
  openPolicy,
  policyFolder,
  writeHomeRules,
} from '../../../support/policy-fixture.ts'

const operator = { kind: 'operator', id: 'operator' } as const
const question = (operation: string, principal: Parameters<typeof ask>[1], resource: Record<string, unknown> = {}) =>
  JSON.stringify(ask(operation, principal, resource))
const submit = (agent: string) => question('task.submit', operator, askedFor(agent))
const dispatch = (agent: string, ttlMs = 600_000) =>
  question(
    'task.dispatch',
    { kind: 'hub', id: 'dispatcher' },
    {
      ...{ agent, origin: { by: 'people', parent: null } },
      ...{ wanted: { capabilities: ['echo'], ttlMs }, ceiling: { capabilities: null, ttlMs } },
    },
  )

function refusal(act: () => unknown): string {
  try {
    act()
  } catch (thrown) {
    expect(thrown).toMatchObject({ code: 'policy_unavailable' })
    return (thrown as HubError).message
  }
  throw new Error('nothing was refused')
}

const rank = { allow: 0, ask: 1, deny: 2 } as const
const says = (more: Record<string, unknown> = {}) => [
  { result: { version: 1, deny: [], ask: [], narrow: [], ...more } },
]

describe('an answer of the operator (T20)', () => {
  test.for<[string, unknown]>([
    ['undefined', []],
    ['two results', [...says(), ...says()]],
    ['no document', [{ result: true }]],
    ['an unknown version', says({ version: 2 })],
    ['a word that could allow', says({ allow: true })],
    ['deny that is true', says({ deny: true })],
    ['deny that is the text "true"', says({ deny: 'true' })],
    ['reasons that are no text', says({ deny: [1] })],
    ['an empty reason', says({ ask: [''] })],
    ['a reason of a megabyte', says({ ask: ['x'.repeat(1_000_000)] })],
    ['a million reasons', says({ deny: Array.from({ length: 1_000_000 }, (_, at) => `reason ${at}`) })],
    ['an unknown limit', says({ narrow: [{ memory: 1 }] })],
    ['a limit that is no number', says({ narrow: [{ ttlMs: '60000' }] })],
    ['a relaxation, which is had whole or not at all', says({ narrow: [{ relax: ['exec'] }] })],
    ['limits that are no set', says({ narrow: { ttlMs: 1 } })],
  ])('%s is no answer, refuses the caller and is told', ([, result]) => {
    expect(judgeHomeResult(result)).toBeTypeOf('string')
    const heard: string[] = []
    const shipped = { evaluate: (): Verdict => ({ effect: 'allow', reason: 'allowed', rule: 'x', fault: false }) }
    const both = withHomeRules(
      shipped,
      createHomeEngine(() => ({ evaluate: () => result })),
      (why) => heard.push(why),
    )
    expect(both.evaluate(submit('echo'))).toMatchObject({ effect: 'deny', rule: 'hub.guard.fault', fault: true })
    expect(heard).toHaveLength(1)
    // Reading and repairing do not hang on it.
    for (const operation of ['health.show', 'policy.reload', 'operator.heartbeat', 'agent.suspend'])
      expect(both.evaluate(question(operation, operator)).effect).toBe('allow')
    expect(both.evaluate(question('keys.rotate', operator)).effect).toBe('deny')
  })

  test('that throws refuses the caller, and the next one gets a new instance', () => {
    let made = 0
    const home = createHomeEngine(() => {
      made += 1
      return {
        evaluate(text) {
          if (text.includes('bad')) throw new Error('trap')
          return says({ deny: ['no'] })
        },
      }
    })
    expect(home.ask('bad')).toMatch(/failed: trap/)
    expect(home.ask('good')).toMatchObject({ deny: ['no'] })
    expect(made).toBe(2)
  })

  test('about an answer to a question cannot ask again', () => {
    const shipped = { evaluate: (): Verdict => ({ effect: 'allow', reason: 'allowed', rule: 'x', fault: false }) }
    const home = createHomeEngine(() => ({ evaluate: () => says({ ask: ['who says so?'] }) }))
    const both = withHomeRules(shipped, home, () => undefined)
    expect(both.evaluate(question('approval.answer', operator))).toMatchObject({
      effect: 'deny',
      reason: 'who says so?',
    })
    expect(both.evaluate(question('keys.rotate', operator))).toMatchObject({ effect: 'ask', rule: 'hub.home.ask' })
  })
})

test('a limit of egress holds for a dispatch that grants some, is nothing to one that grants none, and is a fault elsewhere', () => {
  const home = { deny: [], ask: [], narrow: [{ egress: ['forge:read'] }] }
  const shipped = (narrow?: Verdict['narrow']): Verdict => ({
    ...{ effect: 'allow', reason: 'r', rule: 'x', fault: false },
    ...(narrow && { narrow }),
  })
  const dispatched = { capabilities: [], ttlMs: 5 }
  expect(combine(shipped({ ...dispatched, egress: ['forge', 'npm'] }), home, 'a').narrow?.egress).toEqual([
    'forge:read',
  ])
  expect(combine(shipped(dispatched), home, 'a')).toMatchObject({ effect: 'allow', narrow: dispatched })
  expect(combine(shipped(), home, 'a')).toMatchObject({ effect: 'deny', fault: true })
})

test('T101: a limit of the operator takes no relaxation away in silence: their way to do that is to deny', () => {
  const dispatched = { capabilities: [], ttlMs: 5, relax: ['exec'] }
  const verdict: Verdict = { effect: 'allow', reason: 'r', rule: 'x', fault: false, narrow: dispatched }
  const home = { deny: [], ask: [], narrow: [{ ttlMs: 1 }] }
  expect(combine(verdict, home, 'a').narrow).toEqual({ capabilities: [], ttlMs: 1, relax: ['exec'] })
  expect(judgeHomeResult(says({ narrow: [{ relax: [] }] }))).toMatch(/deny instead/)
})

test('whatever both answer, the stricter one and the narrower limit hold (T20)', () => {
  const names = fc.subarray(['a', 'b', 'c'])
  const grants = fc.subarray(['forge', 'forge:read', 'forge:write', 'npm'])
  const limit = fc.record(
    { capabilities: names, agents: names, ttlMs: fc.integer({ min: 1, max: 5 }), egress: grants },
    { requiredKeys: [] },
  )
  const home = fc.record({
    deny: fc.array(fc.constantFrom('d1', 'd2'), { maxLength: 2 }),
    ask: fc.array(fc.constantFrom('a1', 'a2'), { maxLength: 2 }),
    narrow: fc.array(limit, { maxLength: 3 }),
  })
  const shipped = fc.record({ effect: fc.constantFrom('allow' as const, 'ask' as const), narrow: fc.option(limit) })
  fc.assert(
    fc.property(shipped, home, fc.constantFrom('a', undefined), ({ effect, narrow }, answer, agent) => {
      const verdict: Verdict = { effect, reason: 'r', rule: 'x', fault: false, ...(narrow && { narrow }) }
      const both = combine(verdict, answer, agent)
      expect(rank[both.effect]).toBeGreaterThanOrEqual(rank[effect])
      if (answer.ask.length > 0) expect(rank[both.effect]).toBeGreaterThanOrEqual(rank.ask)
      if (answer.deny.length > 0) expect(both).toMatchObject({ effect: 'deny', reason: answer.deny.join('; ') })
      if (both.effect === 'deny') return
      for (const each of [narrow ?? {}, ...answer.narrow]) {
        for (const key of ['capabilities', 'agents'] as const) {
          const most = each[key]
          const held = both.narrow?.[key]
          if (most === undefined) continue
          // A list of agents where one is named holds by the name.
          if (held === undefined) expect(most).toContain(agent)
          else expect(held.every((name) => most.includes(name))).toBe(true)
        }
        for (const held of both.narrow?.egress ?? []) if (each.egress) expect(isHeld(held, each.egress)).toBe(true)
        if (each.ttlMs !== undefined) expect(both.narrow?.ttlMs).toBeLessThanOrEqual(each.ttlMs)
      }
    }),
  )
})

test('T20: rules that never come to their end are stopped from outside', () => {
  const failed = (why: string) => new HubError('policy_unavailable', why)
  const forever = () => {
    for (;;);
  }
  expect(refusal(() => bounded(forever, failed, 20))).toMatch(/did not come to an end within 20 ms/)
  expect(bounded(() => 7, failed)).toBe(7)
  const other = () => {
    throw new Error('another')
  }
  expect(() => bounded(other, failed)).toThrow('another')
})

test('S1-60: a required signature needs a key, and a key must be one', () => {
  const { publicKey } = generateKeyPairSync('ed25519')
  const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string
  expect(policyShape.parse({})).toEqual({ failClosed: true, requireSignature: false })
  expect(policyShape.parse({ requireSignature: true, publicKey: pem }).publicKey).toBe(pem)
  expect(() => policyShape.parse({ requireSignature: true })).toThrow(/set policy\.publicKey/)
  const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ type: 'spki', format: 'der' })
  for (const wrong of ['x', rsa.toString('base64')])
    expect(() => policyShape.parse({ publicKey: wrong })).toThrow(/Ed25519/)
})

const GREEDY = `
allow := true

deny contains "closed" if {
	input.operation == "task.submit"
	input.resource.agent == "survey-lead"
}

deny contains "not so late" if input.mode == "draining"

ask contains "look first" if input.operation == "keys.rotate"

narrow contains {"ttlMs": 60000, "capabilities": ["echo", "everything"]} if {
	input.operation == "task.dispatch"
	is_string(input.resource.agent)
}
`

describe.skipIf(!hasOpa)('rules in the home, compiled by opa', () => {
  test('S1-13, T23: refuse, ask and narrow; a change of them alone is another revision with an empty memo', () => {
    using folder = policyFolder()
    const plain = openPolicy(folder)
    writeHomeRules(folder, GREEDY)
    const policy = openPolicy(folder)
    const { engine } = policy.active()
    expect(engine.evaluate(submit('survey-lead'))).toMatchObject({
      effect: 'deny',
      reason: 'closed',
      rule: 'hub.home.deny',
    })
    expect(engine.evaluate(submit('echo')).effect).toBe('allow')
    expect(engine.evaluate(question('keys.rotate', operator))).toMatchObject({ effect: 'ask', reason: 'look first' })
    expect(engine.evaluate(dispatch('echo')).narrow).toEqual({ capabilities: ['echo'], ttlMs: 60_000 })
    expect(engine.evaluate(dispatch('echo', 1000)).narrow).toEqual({ capabilities: ['echo'], ttlMs: 1000 })
    expect(policy.status()).toMatchObject({ from: 'files', home: { files: ['own.rego'] }, signed: false })
    expect(plain.status().home).toBeNull()

    const { database, rows } = decisionTable()
    const decisions = openDecisions(policy, database)
    const asked = ask('task.submit', operator, askedFor('echo'))
    const before = decisions.decide(asked)
    expect(decisions.decide(asked).memoised).toBe(true)
    writeHomeRules(folder, 'deny contains "nothing at all" if input.operation == "task.submit"')
    policy.reload()
    const after = decisions.decide(asked)
    expect(after).toMatchObject({ effect: 'deny', memoised: false, reason: 'nothing at all' })
    expect(new Set([plain.active().revision, before.revision, after.revision]).size).toBe(3)
    expect(rows().map(({ bundles }) => JSON.parse(String(bundles)).home.revision)).toHaveLength(2)
  })

  test('T20: over random questions they never allow what the shipped rules refuse', () => {
    using folder = policyFolder()
    writeHomeRules(folder, GREEDY)
    const { engine, shipped } = openPolicy(folder).active()
    const samples = JSON.parse(folder.read('samples.json').toString()) as { input: Record<string, unknown> }[]
    const word = fc.oneof(fc.constantFrom('echo', 'survey-lead', 'operator', 'hub', 'agent', 'dispatcher'), fc.string())
    const any = fc.oneof(word, fc.boolean(), fc.constant(null), fc.array(word, { maxLength: 2 }), fc.integer())
    const mixed = fc
      .tuple(fc.constantFrom(...samples), fc.constantFrom(...samples), fc.constantFrom(...samples), fc.option(any))
      .map(([one, two, three, odd]) => ({
        ...{ operation: one.input.operation, principal: two.input.principal, mode: odd ?? 'normal' },
        resource: odd === null ? three.input.resource : { ...(three.input.resource as object), agent: odd, to: odd },
      }))
    const whole = fc.constantFrom(...samples).map(({ input }) => input)
    const seen = { allow: 0, ask: 0, deny: 0 }
    fc.assert(
      fc.property(fc.oneof(mixed, whole, fc.object()), (input) => {
        const text = JSON.stringify(input)
        const [one, both] = [shipped?.evaluate(text), engine.evaluate(text)]
        if (one === undefined) throw new Error('there are shipped rules')
        seen[both.effect] += 1
        expect(rank[both.effect]).toBeGreaterThanOrEqual(rank[one.effect])
        if (both.effect === 'deny') return
        for (const [key, most] of Object.entries(one.narrow ?? {})) {
          const held = both.narrow?.[key as 'ttlMs']
          if (Array.isArray(most)) expect(most).toEqual(expect.arrayContaining((held ?? ['missing']) as never))
          else expect(held).toBeLessThanOrEqual(most)
        }
      }),
      { numRuns: 500 },
    )
    expect(Math.min(seen.allow, seen.deny)).toBeGreaterThan(20)
  })

  test.for<[string, string, RegExp]>([
    [
      'call what is not allowed',
      'deny contains "x" if http.send({"url": "http://x", "method": "get"}).status_code == 1',
      /not allowed: http\.send/,
    ],
    ['need a clock', 'deny contains "x" if time.now_ns() > 0', /not allowed: time\.now_ns/],
    ['call themselves', 'f(x) := f(x)\n\ndeny contains "x" if f(1) == 2', /recursi/],
    ['deny with a truth', 'deny if input.mode == "draining"', /deny must be a set.*deny contains "why"/],
    ['deny with text', 'deny := "true"', /deny must be a set/],
    ['say nothing', 'allow := true', /say nothing/],
    ['are no Rego', 'deny contains', /opa refuses the rules in policy\/.*own\.rego/s],
    [
      'give reasons that are numbers',
      'deny contains 7 if input.operation == "task.submit"',
      /must be a set of reasons/,
    ],
    [
      'give a million reasons',
      'deny contains concat("", ["r", format_int(n, 10)]) if some n in numbers.range(1, 1000000)',
      /failed|more than/,
    ],
    [
      'go through millions of pairs',
      'deny contains "x" if {\n\tsome a in numbers.range(1, 3000)\n\tsome b in numbers.range(1, 3000)\n\ta * b == 7\n\tinput.mode == "draining"\n}',
      /failed|took \d+ ms|come to an end/,
    ],
    ['narrow in an unknown way', 'narrow contains {"memory": 1} if input.operation == "task.dispatch"', /unknown way/],
  ])('T20, T21: rules that %s never rule', ([, text, why]) => {
    using folder = policyFolder()
    const policy = openPolicy(folder)
    const before = policy.active()
    expect(
      refusal(() => {
        writeHomeRules(folder, text)
        policy.reload()
      }),
    ).toMatch(why)
    expect(policy.active()).toBe(before)
  })

  test('T21: rules that are slow, or answer a sample of the operator otherwise, never rule', () => {
    using folder = policyFolder()
    const home = dirname(folder.dataPath)
    const expects = (effect: string) =>
      writeFileSync(
        join(home, 'samples.json'),
        JSON.stringify([{ name: 'the survey', input: JSON.parse(submit('survey-lead')), expect: { effect } }]),
      )
    expects('maybe')
    writeHomeRules(folder, GREEDY)
    expect(refusal(() => openPolicy(folder))).toMatch(
      /samples\.json has the wrong form: 0\.expect\.effect: .*; correct or remove it, then `hub policy reload`/,
    )
    expects('allow')
    writeHomeRules(folder, GREEDY)
    expect(refusal(() => openPolicy(folder))).toMatch(
      /sample "the survey" must be answered with allow, the answer is deny: closed/,
    )
    expects('deny')
    writeHomeRules(folder, GREEDY)
    expect(openPolicy(folder).status().home).not.toBeNull()
    const { length } = JSON.parse(folder.read('samples.json').toString()) as unknown[]
    // Two readings a try; the shipped rules are tried twice before.
    let readings = 0
    const cpuMs = () => {
      readings += 1
      return readings <= 4 * length ? 0 : readings * 6
    }
    expect(refusal(() => openPolicy(folder, { cpuMs }))).toMatch(/took 6 ms, over 5; correct the operator's rules/)
  })

  test('T21: a bundle of the operator that is cut or changed anywhere is refused, and what was accepted rules on', () => {
    using folder = policyFolder()
    const home = dirname(folder.dataPath)
    writeHomeRules(folder, GREEDY)
    const { accepted, database } = acceptedTable()
    const policy = openPolicy(folder, { accepted })
    const kept = () => database.prepare('select count(*) as files, sum(length(bytes)) as bytes from policy_file').get()
    const [before, held] = [policy.active(), kept()]
    const names = readdirSync(home).filter((name) => /^(?:own\.rego|home\.wasm|bundle\.json|data\.json)$/.test(name))
    expect(names).toHaveLength(4)
    for (const name of names) {
      const whole = readFileSync(join(home, name))
      for (let at = 0; at < whole.length; at += Math.ceil(whole.length / 12)) {
        const changed = Buffer.from(whole)
        changed[at] = (changed[at] ?? 0) ^ 4
        for (const bytes of [whole.subarray(0, at), changed]) {
          writeFileSync(join(home, name), bytes)
          refusal(() => policy.reload())
        }
      }
      rmSync(join(home, name))
      refusal(() => policy.reload())
      writeFileSync(join(home, name), whole)
    }
    expect([policy.active(), kept()]).toEqual([before, held])

    // At a start, with every file of the operator gone or wrong.
    rmSync(join(home, 'home.wasm'))
    const again = openPolicy(folder, { accepted }, 0, { goesWithoutRules: true })
    expect(again.unloaded()?.message).toMatch(/home\.wasm cannot be read: it is not there/)
    expect(again.status()).toMatchObject({ from: 'accepted', home: { files: ['own.rego'] } })
    expect(again.active().engine.evaluate(submit('survey-lead')).reason).toBe('closed')
    expect(kept()).toEqual(held)
    // A row of it that was changed is no accepted bundle.
    database.prepare("update policy_file set bytes = x'00' where name = 'home.wasm'").run()
    expect(openPolicy(folder, { accepted }, 0, { goesWithoutRules: true }).status().from).toBe('none')
    writeHomeRules(folder, GREEDY)
    again.reload()
    expect([again.status().from, again.unloaded()]).toEqual(['files', undefined])
  })

  test('S1-13, T21: where a signature is required only the right one counts; a wrong one never does', () => {
    using folder = policyFolder()
    const home = dirname(folder.dataPath)
    const pair = () => {
      const { privateKey, publicKey } = generateKeyPairSync('ed25519')
      const file = join(home, `${Math.random()}.key`.replace('0.', ''))
      writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }))
      return { file, publicKey: publicKey.export({ type: 'spki', format: 'der' }).toString('base64') }
    }
    const [mine, theirs] = [pair(), pair()]
    const terms = { failClosed: true, requireSignature: true, publicKey: mine.publicKey }
    const open = (asked: Parameters<typeof openPolicy>[3] = { terms }) => openPolicy(folder, {}, 0, asked).status()
    expect(refusal(() => open())).toMatch(/has no signature.*hub policy seal --key FILE/)
    writeHomeRules(folder, GREEDY, mine.file)
    expect(open()).toMatchObject({ signed: true, home: { files: ['own.rego'] } })
    // What is sealed and fits is not sealed again without the key.
    expect(makeCandidate(home).made.size).toBe(0)
    writeHomeRules(folder, GREEDY, theirs.file)
    expect(refusal(() => open())).toMatch(/not by the key in policy\.publicKey/)
    expect(refusal(() => open({ terms: { ...terms, requireSignature: false } }))).toMatch(/not by the key/)
    writeHomeRules(folder, `${GREEDY}\n# changed`)
    expect(refusal(() => open())).toMatch(/has no signature/)
    expect(refusal(() => open({ terms: { failClosed: true, requireSignature: false, profile: 'strict' } }))).toMatch(
      /signature/,
    )
    expect(open({})).toMatchObject({ signed: false })
    // A module that was put beside rules it is not made of is not signed: what is signed is compiled of them.
    const swapped = makeCandidate(home)
    const other = readFileSync(join(home, 'home.wasm'))
    expect(swapped.made.size).toBe(0)
    writeFileSync(join(home, 'own.rego'), 'package hub.home\n\ndeny contains "shut" if true\n')
    const foreign = JSON.parse(readFileSync(join(home, 'bundle.json'), 'utf8')) as Record<string, unknown>
    foreign.sources = { 'own.rego': sha256Hex(readFileSync(join(home, 'own.rego'))) }
    writeFileSync(join(home, 'bundle.json'), JSON.stringify(foreign))
    expect(makeCandidate(home, mine.file).made.get('home.wasm')?.equals(other)).toBe(false)
    // Data alone can be signed too.
    rmSync(join(home, 'own.rego'))
    writeFileSync(join(home, 'bundle.json'), Buffer.from(makeCandidate(home, mine.file).made.get('bundle.json') ?? ''))
    expect(open()).toMatchObject({ signed: true, home: null })
  })

  test('S1-13, S1-16: what was accepted unsigned does not rule on once a signature is required; what was signed does, and is shown so', () => {
    using folder = policyFolder()
    const { accepted } = acceptedTable()
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const key = join(dirname(folder.dataPath), 'mine.key')
    writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    const der = publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
    const terms = { failClosed: true, requireSignature: true, publicKey: der }
    const signed = { terms, goesWithoutRules: true }
    const from = (how: Parameters<typeof openPolicy>[3]) => openPolicy(folder, { accepted }, 0, how).status()
    expect(from({})).toMatchObject({ from: 'files', signed: false })
    expect(from(signed).from).toBe('none')
    writeHomeRules(folder, GREEDY, key)
    expect(from(signed)).toMatchObject({ from: 'files', signed: true })
    writeHomeRules(folder, `${GREEDY}\n# changed`)
    expect(from(signed)).toMatchObject({ from: 'accepted', signed: true })
  })

  test('T21: rules that were not compiled, or stand in another package, are refused with what to do', () => {
    using folder = policyFolder()
    const home = dirname(folder.dataPath)
    writeFileSync(join(home, 'own.rego'), 'package hub.home\n\ndeny contains "x" if false\n')
    expect(refusal(() => openPolicy(folder))).toMatch(/own\.rego is not compiled.*hub policy reload/)
    writeFileSync(join(home, 'own.rego'), 'package hub.tasks\n\nanswer := {"allow": true}\n')
    expect(refusal(() => makeCandidate(home))).toMatch(/must be in package hub\.home/)
    // In a package below it nobody would ask them: they would be accepted, and say nothing.
    writeFileSync(join(home, 'own.rego'), 'package hub.home.money\n\ndeny contains "x" if input.mode == "safe"\n')
    writeFileSync(join(home, 'main.rego'), 'package hub.home\n\ndeny contains "y" if input.mode == "safe"\n')
    expect(refusal(() => makeCandidate(home))).toMatch(/own\.rego: deny counts only in package hub\.home itself/)
    rmSync(join(home, 'main.rego'))
    rmSync(join(home, 'own.rego'))
    writeFileSync(join(home, 'Own.rego'), '')
    expect(refusal(() => makeCandidate(home))).toMatch(/Own\.rego is no name for rules/)
  })
})
