/** `hub agent resolve`, and what `hub agent list` says of cards that count for nothing (S4-35). */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { agentRow, commandHome } from '../../../../support/command-home.ts'

const at = commandHome()

function serve(more: object, lacks: object[] = [], row: object | null = null) {
  const card = join(at.home, 'agents', 'echo.yaml')
  mkdirSync(join(at.home, 'agents'), { recursive: true })
  writeFileSync(card, 'name: echo\ndescription: d\nimage: hub/echo\nrun: [x]\nmay: { message: [other] }\n')
  const agent = {
    ...agentRow,
    place: 'home',
    card,
    shadows: ['/etc/hub/agents/echo.yaml'],
    from: 'mine:1 sha256:ab',
    ...more,
  }
  at.hub.on('GET /v1/agents/:name', () => ({ body: { agent, row, lacks } }))
  return card
}

it('agent resolve shows the card and what it hides, image, driver, rights and all that is missing (S4-35)', async () => {
  const card = serve({ packages: ['npm:@openai/codex@0.1.0 sha512-x'] }, [
    { what: 'it has no row in policy/data.json', mend: 'hub agent allow echo' },
  ])
  const { code, stdout, stderr } = await at.run(['agent', 'resolve', 'echo'])
  expect(code).toBe(0)
  for (const line of [
    new RegExp(`^card +${card} \\(of this home\\)$`, 'm'),
    /^not used +\/etc\/hub\/agents\/echo\.yaml$/m,
    /^made from +mine:1 sha256:ab$/m,
    /^packages +npm:@openai\/codex@0\.1\.0 sha512-x$/m,
    /^its driver +the program is given the messages/m,
    /^message +other +- +\+ other$/m,
    /^missing: it has no row in policy\/data\.json: hub agent allow echo$/m,
  ])
    expect(stdout).toMatch(line)
  expect(stderr).toContain('Codex 0.1.0 is older than')
})

it('agent resolve with --json answers the same, and says so where nothing is missing', async () => {
  serve({}, [], { submit: true, message: ['other'] })
  expect((await at.run(['agent', 'resolve', 'echo'])).stdout).toMatch(/\nnothing keeps it from starting\n$/)
  expect(JSON.parse((await at.run(['agent', 'resolve', 'echo', '--json'])).stdout)).toMatchObject({
    ...{
      agent: { place: 'home' },
      driver: { name: 'sdk', features: expect.arrayContaining(['takesMessages']) },
      notes: [],
      lacks: [],
    },
    rights: expect.arrayContaining([{ right: 'message', wish: 'other', grant: 'other', change: '' }]),
  })
})

it('agent resolve does not call an agent ready of which an earlier hub says less', async () => {
  at.hub.on('GET /v1/agents/:name', () => ({ body: { agent: agentRow } }))
  const { code, stderr } = await at.run(['agent', 'resolve', 'echo'])
  expect([code, stderr]).toEqual([3, expect.stringContaining('older than this command')])
})

it('agent list names cards that count for nothing', async () => {
  const shadowed = [{ agent: 'echo', card: '/etc/hub/agents/echo.yaml', by: '/h/agents/echo.yaml' }]
  at.hub.on('GET /v1/agents', () => ({
    body: { agents: [{ ...agentRow, provenance: 'built' }], problems: [], shadowed },
  }))
  expect((await at.run(['agent', 'list'])).stderr).toBe(
    'not used: /etc/hub/agents/echo.yaml: /h/agents/echo.yaml names echo too, and comes first\n',
  )
})
