/** `hub agent list`, `show` and `reload`. */
import { expect, it } from 'vitest'
import { agentRow, commandHome } from '../../../../support/command-home.ts'
import { refusal } from '../../../../support/fake-hub.ts'

const at = commandHome()

it('agent reload names the cards that did not load and ends with 3', async () => {
  const problems = [{ file: 'agents/bad.yaml', line: 3, message: 'unknown key' }]
  at.hub.on('POST /v1/agents/reload', () => ({ body: { agents: [agentRow], problems } }))
  const { code, stderr } = await at.run(['agent', 'reload'])
  expect([code, stderr]).toEqual([3, 'not loaded: agents/bad.yaml line 3: unknown key\n'])
})

it('agent reload says what a card asks for and does not get, and takes the card all the same (fault C34)', async () => {
  const cardNote = 'restarts: 3 counts only until the program has its task'
  at.hub.on('POST /v1/agents/reload', () => ({ body: { agents: [{ ...agentRow, cardNote }], problems: [] } }))
  const { code, stderr } = await at.run(['agent', 'reload'])
  expect([code, stderr]).toEqual([0, `note: echo: ${cardNote}\n`])
})

it.each([
  [{ provenance: 'built' }, 'built', 'built here'],
  [{ provenance: 'signed' }, 'signed', 'its signature was checked'],
  [
    { provenance: null },
    'unknown',
    'unknown: its image was not built here, and no program for signatures passed it \\(`hub agent build`, or images.signature in hub.yaml\\)',
  ],
])('agent list and show say where an image comes from: %j (S1-56)', async (change, listed, shown) => {
  at.hub.on('GET /v1/agents', () => ({ body: { agents: [{ ...agentRow, ...change }], problems: [] } }))
  at.hub.on('GET /v1/agents/:name', () => ({ body: { agent: { ...agentRow, ...change } } }))
  const list = await at.run(['agent', 'list'])
  expect(list.stdout).toMatch(new RegExp(`^AGENT .* RESTARTS +IMAGE +CAPABILITIES .*\\necho .* ${listed} +`))
  expect(list.stderr).toMatch(listed === 'unknown' ? new RegExp(`^provenance of the image is ${shown}: echo\n$`) : /^$/)
  expect((await at.run(['agent', 'show', 'echo'])).stdout).toMatch(new RegExp(`^provenance +${shown}$`, 'm'))
})

it.each([
  [{ restarts: 3, repeatable: true }, '3', 'tried again 3 times'],
  [
    { restarts: 3, repeatable: false },
    'no',
    'tried again 3 times until it has its task; then never, because it is not repeatable',
  ],
  [{ restarts: 3, repeatable: false, mode: 'service' }, '3', 'started again'],
  [{ restarts: 0, repeatable: true }, '0', 'not tried again'],
  [{ restarts: 2 }, '2', 'tried again 2 times'],
])('agent list and show say what becomes of a crash under %j (fault C34)', async (change, listed, shown) => {
  at.hub.on('GET /v1/agents', () => ({ body: { agents: [{ ...agentRow, ...change }], problems: [] } }))
  at.hub.on('GET /v1/agents/:name', () => ({ body: { agent: { ...agentRow, ...change } } }))
  expect((await at.run(['agent', 'list'])).stdout).toMatch(
    new RegExp(`^AGENT +STATE +DRIVER +SESSIONS +RESTARTS .*\\necho +registered +sdk +0 +${listed} `),
  )
  expect((await at.run(['agent', 'show', 'echo'])).stdout).toMatch(
    new RegExp(`^after a crash +${shown.replace(/[()]/g, '\\$&')}$`, 'm'),
  )
})

it('agent list says of an agent without an image that it is missing, and how each is made; show does not speak of its provenance', async () => {
  const rows = [
    { ...agentRow, imageId: null, provenance: null, place: 'package' },
    { ...agentRow, name: 'mine', imageId: null, provenance: null, place: 'home' },
  ]
  at.hub.on('GET /v1/agents', () => ({ body: { agents: rows, problems: [] } }))
  at.hub.on('GET /v1/agents/:name', () => ({ body: { agent: rows[1] } }))
  const { stdout, stderr } = await at.run(['agent', 'list'])
  expect(stdout).toMatch(/^mine .* missing /m)
  expect(stdout).not.toContain('unknown')
  expect(stderr).toBe(
    'without an image that can be used: echo: `node scripts/build-images.ts; hub agent reload`\nwithout an image that can be used: mine: `hub agent build FOLDER`\n',
  )
  expect((await at.run(['agent', 'show', 'mine'])).stdout).not.toMatch(/provenance/)
})

it.each(['show', 'resolve'])('agent %s of one that was made and not built yet names the build', async (verb) => {
  at.hub.on('GET /v1/agents', () => ({ body: { agents: [agentRow], problems: [] } }))
  at.hub.on('GET /v1/agents/:name', () => refusal('unknown_agent', 'no such agent'))
  await at.run(['agent', 'new', 'greeter', '--lang', 'shell'])
  const made = await at.run(['agent', verb, 'greeter'])
  expect([made.code, made.stderr]).toEqual([
    3,
    'hub: agent greeter is not built yet\nnext: `hub agent build greeter`\n',
  ])
  const none = await at.run(['agent', verb, 'somebody'])
  expect(none.stderr).toBe(
    'hub: no agent is named somebody\nnext: `hub agent list` shows all agents; a new one needs `hub agent build FOLDER`\n',
  )
})
