/** An own rule that reads what is not there is refused by name: it would never fire, and nobody would hear of it (S1-13). */

import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { requireFields } from '../../../hub/home/policy-fields.ts'
import { makeCandidate, runOpa } from '../../../hub/home/policy-seal.ts'
import { ruleInputShape } from '../../../hub/protocol/rule-input.ts'
import { hasOpa, writeHomeRules } from '../../support/policy-fixture.ts'

const POLICIES = fileURLToPath(new URL('../../../policies/', import.meta.url))

const homes: string[] = []
afterAll(() => {
  for (const home of homes) rmSync(home, { recursive: true })
})
/** The folder `policy/` of a new home. */
function policyOf(): string {
  const home = mkdtempSync(join(tmpdir(), 'hub-fields-'))
  homes.push(home)
  mkdirSync(join(home, 'policy'))
  cpSync(join(POLICIES, 'data.json'), join(home, 'policy', 'data.json'))
  return join(home, 'policy')
}

/** What is said to a rule with this body, which begins in line 4; empty where nothing is. */
function saidTo(body: string): string {
  const folder = policyOf()
  writeFileSync(join(folder, 'own.rego'), `package hub.home\n\ndeny contains "no" if {\n${body}\n}\n`)
  try {
    makeCandidate(folder)
    return ''
  } catch (thrown) {
    return (thrown as Error).message
  }
}

describe.skipIf(!hasOpa)('of an own rule', () => {
  test.for<[string, string, string]>([
    [
      'a field of the thing',
      'input.resource.agnet == "shop"',
      '4: input.resource.agnet does not exist; did you mean agent?',
    ],
    [
      'a part of the question',
      '1 == 1\ninput.resurce.agent',
      '5: input.resurce does not exist; did you mean resource?',
    ],
    [
      'a field behind a not',
      'not input.resource.dataclas',
      '4: input.resource.dataclas does not exist; did you mean dataClass?',
    ],
    [
      'a field of what may be null',
      'input.resource.child.imgae',
      '4: input.resource.child.imgae does not exist; did you mean image?',
    ],
    [
      'a field in a list',
      'some x in input.resource.nedes\nx == "a"',
      '4: input.resource.nedes does not exist; did you mean needs?',
    ],
    [
      'a field in brackets',
      'input["principal"]["knd"] == "agent"',
      '4: input.principal.knd does not exist; did you mean kind?',
    ],
    [
      'a field of a variable',
      'r := input.resource\nr.to.agnt == "a"',
      '5: r.to.agnt does not exist; did you mean agent?',
    ],
    [
      'a field of a text',
      'input.resource.agent.name == "a"',
      '4: input.resource.agent is one value (string) and holds no name',
    ],
    [
      'a field that is nothing like any',
      'input.resource.zebra',
      '4: input.resource.zebra does not exist; input.resource has actions, agent,',
    ],
    [
      'a row of the data',
      'data.agents[input.resource.agent].sumbit',
      '4: data.agents[…].sumbit does not exist; did you mean submit?',
    ],
    ['a part of the data', 'data.agnets.shop', '4: data.agnets does not exist; did you mean agents?'],
    [
      'an operation',
      'input.operation == "task.submitt"',
      '4: input.operation is never "task.submitt"; did you mean task.submit?',
    ],
    [
      'a word of a set',
      'input.principal.kind in {"agent", "automaton"}',
      '4: input.principal.kind is never "automaton"; did you mean automation?',
    ],
    ['a mode on the right', '"runing" != input.mode', '4: input.mode is never "runing"'],
    ['a number for a text', 'input.resource.topic == 1', '4: match error'],
  ])('%s that is not there is named with file, line and what was meant', ([, body, said]) => {
    expect(saidTo(body)).toContain(`policy/own.rego:${said}`)
  })

  test('what is there, in every way to write it, is taken', () => {
    const body = `
      some a in input.resource.chain
      a == "x"
      input.resource.child == null
      input.resource.agent == null
      input.resource.origin.parent == null
      data.agents[input.resource.agent].submit
      object.get(input, ["resource", "agent"], "") == "a"
      input.principal.kind in {"agent", "device"}
      "view" in input.principal.rights
      not input.principal.proven == false
      input.resource.body.HostConfig.Privileged
      input.resource.wanted.ttlMs > 3
      r := input.resource
      r.to.agent == "x"
      every n in r.needs { n != "a" }`
    expect(saidTo(body)).toBe('')
  })

  test.for(['check', 'seal'])('`hub policy %s` says it, and the rules that ruled go on', (verb) => {
    const folder = policyOf()
    writeHomeRules({ dataPath: join(folder, 'data.json') }, 'ask contains "x" if input.operation == "token.create"')
    const before = readFileSync(join(folder, 'bundle.json'))
    writeFileSync(
      join(folder, 'own.rego'),
      'package hub.home\n\nask contains "x" if input.operation == "token.creat"\n',
    )
    const tool = fileURLToPath(new URL('../../../hub/policy-tool.ts', import.meta.url))
    const { stdout } = spawnSync(process.execPath, [tool, verb, '--home', dirname(folder)], { encoding: 'utf8' })
    expect(stdout).toMatch(/policy\/own\.rego:3: input\.operation is never .*token\.creat.*did you mean token\.create/)
    expect(readFileSync(join(folder, 'bundle.json'))).toEqual(before)
  })

  test('rules that were sealed before anybody looked are named too', () => {
    const folder = policyOf()
    writeFileSync(join(folder, 'own.rego'), 'package hub.home\n\nask contains "x" if input.resource.agnet\n')
    expect(() => requireFields(['own.rego'], (words) => runOpa(folder, words))).toThrow(
      /own\.rego:3: input\.resource\.agnet does not exist/,
    )
  })
})

test('the shipped rules read nothing that is not in the shape, so it leaves out no field of theirs', () => {
  for (const name of readdirSync(POLICIES).filter((each) => each.endsWith('.rego') && !each.endsWith('_test.rego')))
    for (const [, field = ''] of readFileSync(join(POLICIES, name), 'utf8').matchAll(/input\.resource\.(\w+)/g))
      expect(Object.keys(ruleInputShape.shape.resource.shape), `${name} reads ${field}`).toContain(field)
})
