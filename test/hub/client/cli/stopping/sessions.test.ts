/** `hub safe-mode` and `hub session stop`. */
import { expect, it } from 'vitest'
import { agentRow, commandHome, sessionRow } from '../../../../support/command-home.ts'
import { SESSION_ID } from '../../../../support/fake-hub.ts'

const at = commandHome()

it('safe-mode carries its reason', async () => {
  at.hub.on('POST /v1/mode/safe', () => ({ body: { mode: 'safe' } }))
  const { stdout } = await at.run(['safe-mode', '--reason', 'going out'])
  expect(stdout).toContain('the mode is safe')
  expect(at.hub.asked[0]?.body).toEqual({ reason: 'going out' })
})

it('session stop --all asks for every page, has nothing new start, stops each, and needs --yes without a person [stop-53]', async () => {
  const other = { ...sessionRow, id: 'sbbbbbbbbbbbbbbb', agent: 'other' }
  at.hub.on('GET /v1/sessions', ({ query }) => ({
    body: query.get('cursor') === null ? { sessions: [sessionRow], next: 'c2' } : { sessions: [other], next: null },
  }))
  at.hub.on('POST /v1/sessions/:id/stop', () => ({ body: {} }))
  at.hub.on('POST /v1/mode/safe', () => ({ body: { mode: 'safe' } }))
  expect((await at.run(['session', 'stop', '--all'])).code).toBe(2)
  expect(at.hub.asked.every(({ method }) => method === 'GET')).toBe(true)
  expect((await at.run(['session', 'stop', '--all', '--yes'])).code).toBe(0)
  const posts = () => at.posted()
  const stopped = () => posts().flatMap((each) => each.match(/sessions\/(\w+)\/stop/)?.slice(1) ?? [])
  expect(posts()[0]).toBe('/v1/mode/safe')
  expect(stopped()).toEqual([sessionRow.id, other.id])
})

it.each([
  ['all, with nothing that runs', ['--all'], [], [], 'there is no session to stop'],
  ['one agent, with nothing of it that runs', ['--agent', 'other'], [sessionRow], [], 'no session of other to stop'],
  ['one agent', ['--agent', 'echo'], [sessionRow], [`/v1/sessions/${SESSION_ID}/stop`], `${SESSION_ID} told to stop`],
])('session stop of %s leaves the mode of the hub alone (fault C5)', async (_, args, sessions, posts, said) => {
  at.hub.on('GET /v1/agents', () => ({ body: { agents: [agentRow, { ...agentRow, name: 'other' }], problems: [] } }))
  at.hub.on('GET /v1/sessions', () => ({ body: { sessions, next: null } }))
  at.hub.on('POST /v1/sessions/:id/stop', () => ({ body: {} }))
  const { code, stdout } = await at.run(['session', 'stop', ...args, '--yes'])
  expect([code, stdout]).toEqual([0, `${said}\n`])
  expect(at.posted()).toEqual(posts)
})
