import path from 'node:path'
import { expect, it } from 'vitest'
import { commandHome } from '../../../../support/command-home.ts'
import { runHub, watchdogView } from '../../../../support/fake-hub.ts'

const at = commandHome(() => {
  at.watchdog.on('GET /v1/status', () => ({ body: watchdogView() }))
}, true)

it('init says in words what it made, and as JSON only when it is asked to', async () => {
  const fresh = path.join(at.home, 'fresh')
  const words = await runHub(fresh, ['init'], { cwd: at.home })
  expect([words.code, words.stdout]).toEqual([
    0,
    `${fresh} is a new home: keys, rules, agents, database. Next: hub up\n`,
  ])
  const again = await runHub(fresh, ['init'], { cwd: at.home })
  expect(again.stdout).toBe(`${fresh} is a home already, and nothing is missing. Next: hub up\n`)
  expect(JSON.parse((await runHub(fresh, ['init', '--json'], { cwd: at.home })).stdout)).toMatchObject({ made: [] })
})

it('`hub up` with both there starts nothing and still tells the watchdog; the stop that holds is named', async () => {
  at.hub.on('GET /healthz', () => ({ body: { mode: 'safe' } }))
  at.watchdog.on('POST /v1/up', () => ({ body: { conditions: ['unattended_stop'] } }))
  const { code, stdout, stderr } = await at.run(['up'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/hub: already up.*\nwatchdog: already up/)
  expect(stderr).toContain('the unattended stop holds until your heartbeat: `hub heartbeat`')
  expect(at.watchdog.asked.filter(({ method }) => method === 'POST').map(({ path }) => path)).toEqual(['/v1/up'])
})
