/** `hub flag` and `hub submit --sensitivity`: what is sent, and what a person reads of the answer. */
import { describe, expect, it } from 'vitest'
import { commandHome } from '../../../support/command-home.ts'
import { refusal, TASK_ID, taskView } from '../../../support/fake-hub.ts'

const at = commandHome()
const flag = (more: object = {}) => ({
  ...{ name: 'dispatch', isOn: true, by: 'profile', means: 'tasks start', off: 'nothing starts', usual: true },
  ...{ heldBy: [], setAtMs: null, emergency: null, ...more },
})

describe('hub flag', () => {
  it('list shows each with its reason, and what is mandatory; --json is the answer as it is', async () => {
    const emergency = { reason: 'too\u001b[2J much', leftMs: 1_800_000, isOn: false }
    const answer = {
      profile: 'strict',
      flags: [
        flag(),
        flag({ name: 'restarts', isOn: false, by: 'emergency', emergency }),
        flag({ name: 'shells', isOn: false, by: 'held', heldBy: ['strict'] }),
        flag({ name: 'trials', by: 'set', heldBy: ['strict'] }),
      ],
      mandatory: [{ name: 'hardening', means: 'each container has the whole profile' }],
    }
    at.hub.on('GET /v1/flags', () => ({ body: answer }))
    const { code, stdout } = await at.run(['flag', 'list'])
    expect(code).toBe(0)
    const lines = stdout.split('\n').map((line) => line.trim().split(/ {2,}/))
    expect(lines).toEqual([
      ['profile strict'],
      ['FLAG', 'IS', 'BECAUSE', 'SO'],
      ['dispatch', 'on', 'default', 'tasks start'],
      ['restarts', 'off', expect.stringMatching(/^emergency for 30m more: too.*much$/), 'nothing starts'],
      ['shells', 'off', 'held by the profile strict', 'nothing starts'],
      ['trials', 'on', 'set; held by strict', 'tasks start'],
      ['hardening', 'on', 'mandatory', 'each container has the whole profile'],
      [''],
    ])
    expect(stdout).not.toContain('\u001b')
    expect(JSON.parse((await at.run(['flag', 'list', '--json'])).stdout)).toEqual(answer)
  })

  it.each([
    [['on'], { value: true }],
    [['off'], { value: false }],
    [['default'], { value: null }],
    [['off', '--emergency', 'too much', '--for', '90m'], { value: false, emergency: 'too much', forMs: 5_400_000 }],
  ])('set dispatch %j sends %j', async (words, body) => {
    at.hub.on('POST /v1/flags/:name', () => ({ body: { flag: flag({ isOn: false }) } }))
    const { code, stdout } = await at.run(['flag', 'set', 'dispatch', ...words])
    expect([code, stdout]).toEqual([0, 'dispatch is off: nothing starts\n'])
    expect(at.hub.asked.map((each) => [each.path, each.body])).toEqual([['/v1/flags/dispatch', body]])
  })

  it.each([
    [['dispatch', 'maybe'], /"maybe" is no value of a flag; write on, off or default/],
    [['dispatch', 'off', '--emergency', 'why'], /needs both its reason and its end/],
    [['dispatch', 'off', '--for', '1h'], /needs both its reason and its end/],
    [['dispatch', 'off', '--emergency', 'why', '--for', 'soon'], /--for: "soon" is not a span of time/],
  ])('set %j is a usage error, and nothing is sent', async (words, said) => {
    const { code, stderr } = await at.run(['flag', 'set', ...words])
    expect(code).toBe(2)
    expect(stderr).toMatch(said)
    expect(at.hub.asked).toEqual([])
  })

  it('a refusal says why and what to do; an emergency says that it goes back', async () => {
    at.hub.on('POST /v1/flags/:name', () => refusal('flag_locked', 'the profile strict holds shells'))
    const refused = await at.run(['flag', 'set', 'shells', 'on'])
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining('the profile strict holds shells')])
    const emergency = { reason: 'why', leftMs: 3_600_000, isOn: false }
    at.hub.on('POST /v1/flags/:name', () => ({ body: { flag: flag({ isOn: false, emergency }) } }))
    const { stdout } = await at.run(['flag', 'set', 'dispatch', 'off', '--emergency', 'why', '--for', '1h'])
    expect(stdout).toBe('dispatch is off for 1h; then it goes back by itself: nothing starts\n')
  })
})

it('hub submit --sensitivity sends the class, a wrong one is refused before anything is sent, and `hub task show` shows it', async () => {
  at.hub.on('GET /v1/agents', () => ({ body: { agents: [], problems: [] } }))
  at.hub.on('POST /v1/tasks', () => ({ body: { task: taskView() } }))
  expect((await at.run(['submit', '--needs', 'read', '--sensitivity', 'confidential'])).code).toBe(0)
  const sent = () => at.hub.asked.filter(({ path }) => path === '/v1/tasks')
  expect(sent()[0]?.body).toMatchObject({ needs: ['read'], sensitivity: 'confidential' })
  const wrong = await at.run(['submit', '--needs', 'read', '--sensitivity', 'secret'])
  expect(wrong.code).toBe(2)
  expect(sent()).toHaveLength(1)
  at.hub.on('GET /v1/tasks/:id', () => ({ body: { task: { ...taskView(), sensitivity: 'internal' }, attempts: [] } }))
  expect((await at.run(['task', 'show', TASK_ID])).stdout).toMatch(/^sensitivity +internal$/m)
})
