/** Rules looked at before they rule, by the command: what they change, what they would have answered, and why an answer is as it is (S1-13). */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { hub } from '../support/command-here.ts'
import { createHarness, puppet, worker } from '../support/hub-harness.ts'
import { hasOpa } from '../support/policy-fixture.ts'

const may = { message: ['other'], delegate: ['child', 'echo'] }
const agents = {
  echo: { script: worker(() => 'done') },
  child: { script: worker(() => 'done'), card: { shell: true, capabilities: ['count'] } },
  other: { script: puppet, card: { may }, policy: { submit: true, delegate: ['child', 'echo'], message: [] } },
}

test.skipIf(!hasOpa)(
  'S1-13: a change of the rules is seen, tried over what was asked, tested, put in force and explained',
  async () => {
    await using h = await createHarness({ agents, startWallMs: Date.now() })
    const folder = join(h.home, 'policy')
    await h.ended(await h.submit('echo'))
    const file = join(folder, 'data.json')
    const data = JSON.parse(readFileSync(file, 'utf8'))

    // A refusal, as it was made, and what would change it.
    const refused = (await h.operator('POST', '/v1/tasks', { agent: 'nobody' })).body
    const explained = (await hub(h, 'policy', 'explain', String(refused.decisionId), '--json')).json()
    expect(explained).toMatchObject({
      effect: 'deny',
      rule: 'hub.tasks.submit',
      rows: { nobody: null },
      home: null,
      changes: [{ change: 'add agents.nobody with submit in policy/data.json', effect: 'allow' }],
      recorded: { id: refused.decisionId, result: { effect: 'deny' } },
    })
    expect((await hub(h, 'policy', 'explain', '01919191-9191-7191-9191-919191919191')).err).toMatch(
      /no decision has this id|there is no decision/i,
    )

    // A made-up question that needs two changes: the row, and the card.
    const authority = {
      capabilities: [],
      message: [],
      delegate: [],
      topics: [],
      secrets: [],
      egress: [],
      ttlMs: 1,
      depthLeft: 1,
      tasksLeft: 1,
    }
    const input = {
      operation: 'message.send',
      principal: { kind: 'agent', id: 'other', agent: 'other', session: 's', generation: 1, authority },
      resource: { kind: 'request', type: 't', to: { agent: 'echo' }, relation: 'none' },
      mode: 'normal',
    }
    writeFileSync(join(h.home, 'question.json'), JSON.stringify(input))
    const made = (await hub(h, 'policy', 'explain', '--input', join(h.home, 'question.json'), '--json')).json()
    expect(made.changes).toEqual([
      {
        change: expect.stringMatching(
          /^add "echo" to agents\.other\.message in policy\/data\.json and add "echo" to may\.message of the card of agent other/,
        ),
        effect: 'allow',
      },
    ])
    const shown = await hub(h, 'policy', 'explain', '--operation', 'task.submit', '--agent', 'echo')
    expect(shown.out).toMatch(/answer +allow[\s\S]*set agents\.echo\.submit to false in policy\/data\.json +deny/)

    // Why a delegation needs a container of its own is in its decision (S1-40).
    const [other] = await h.bring('other')
    for (const agent of ['child', 'echo']) await h.pumped(other.delegate({ agent, params: {} }))
    const asked = (await h.operator('GET', '/v1/decisions?limit=100')).body.decisions as {
      input: { operation: string; resource: { agent?: string } }
      result: unknown
    }[]
    const paths = asked
      .filter((each) => each.input?.operation === 'task.delegate')
      .map(({ input, result }) => [input.resource.agent, result])
    expect(Object.fromEntries(paths)).toMatchObject({
      child: { effect: 'allow', path: { kind: 'external', because: ['capabilities', 'untrusted'] } },
      echo: { effect: 'allow', path: { kind: 'internal', because: [] } },
    })

    // The candidate: seen, tried, tested. Nothing is in force yet.
    data.agents.other.submit = false
    writeFileSync(file, JSON.stringify(data))
    writeFileSync(
      join(folder, 'own.rego'),
      'package hub.home\n\ndeny contains "echo rests" if {\n\tinput.operation == "task.submit"\n\tinput.resource.agent == "echo"\n}\n',
    )
    writeFileSync(
      join(folder, 'own_test.rego'),
      'package hub.home_test\n\nimport data.hub.home\n\ntest_echo if home.deny == {"echo rests"} with input as {"operation": "task.submit", "resource": {"agent": "echo"}}\n',
    )
    const { lines } = (await hub(h, 'policy', 'diff', '--json')).json()
    expect(lines).toEqual(
      expect.arrayContaining([
        'agents.other.submit: true -> false',
        '+ own.rego',
        '  + deny contains "echo rests" if {',
      ]),
    )
    const simulated = (await hub(h, 'policy', 'simulate', '--json')).json()
    const otherwise = simulated.changed.map(({ input, was, now }: Record<string, Record<string, never>>) => [
      input?.operation,
      (input?.resource as { agent?: string } | undefined)?.agent,
      was?.effect,
      now?.effect,
    ])
    expect(otherwise).toEqual(
      expect.arrayContaining([
        ['task.submit', 'echo', 'allow', 'deny'],
        ['task.dispatch', 'other', 'allow', 'deny'],
      ]),
    )
    // Rules are shown as they are written, with their tabs.
    expect((await hub(h, 'policy', 'diff')).out).toContain('  + \tinput.resource.agent == "echo"\n')
    expect(simulated.otherwise).toBe(simulated.changed.length)
    expect(simulated.same).toBeGreaterThan(3)
    expect(simulated.notKept).toBe(0)
    expect((await hub(h, 'policy', 'simulate')).out).toMatch(/operator task\.submit echo +allow +deny: echo rests/)
    const cut = await hub(h, 'policy', 'simulate', '--most', '2')
    expect([cut.out, cut.err].join()).toMatch(
      /2 questions asked again[\s\S]*older questions were left out; for more of them: --most 20/,
    )
    expect((await hub(h, 'policy', 'simulate')).err).not.toMatch(/left out/)
    expect((await hub(h, 'policy', 'test')).out).toMatch(/^1 test, 0 samples of your own: all pass/m)
    expect((await hub(h, 'policy', 'check')).out).toMatch(/data\.json is valid/)
    await h.ended(await h.submit('echo'))

    expect((await hub(h, 'policy', 'reload')).out).toMatch(
      /reloaded\nagents\.other\.submit: true -> false\n\+ own\.rego/,
    )
    const now = (await hub(h, 'policy', 'explain', '--operation', 'task.submit', '--agent', 'echo', '--json')).json()
    expect(now).toMatchObject({
      effect: 'deny',
      rule: 'hub.home.deny',
      shipped: { effect: 'allow' },
      home: { deny: ['echo rests'], ask: [], narrow: [] },
      changes: [{ change: 'take the rule out of own.rego', effect: 'allow' }],
    })
    expect((await hub(h, 'policy', 'diff')).out).toMatch(/policy\/ is as it is in force/)

    // Rules with a fault: said by every one of them, and nothing changes.
    writeFileSync(join(folder, 'own.rego'), 'package hub.home\n\ndeny if true\n')
    for (const verb of ['simulate', 'reload'])
      expect(await hub(h, 'policy', verb), verb).toMatchObject({
        code: 3,
        err: expect.stringMatching(/deny must be a set/),
      })
    expect((await hub(h, 'policy', 'check')).out).toMatch(/deny must be a set/)
    expect((await h.operator('POST', '/v1/tasks', { agent: 'echo' })).body.detail).toBe('echo rests')
  },
)
