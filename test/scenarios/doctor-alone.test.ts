/** The doctor prints its whole table with the hub dead too (S0-26): the same rows, and what can be known without it is known. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { createSystemClock } from '../../hub/base/clock.ts'
import { readConfig } from '../../hub/config.ts'
import { doctorAlone } from '../../hub/edge/doctor/alone.ts'
import { createHarness, type Harness, worker } from '../support/hub-harness.ts'

const bundleFolder = fileURLToPath(new URL('../../policies', import.meta.url))
const scene = () =>
  createHarness({
    agents: { echo: { script: worker(() => 0) } },
    config: {
      engine: { socket: '/nowhere/engine.sock' },
      audit: { forward: [{ kind: 'file', path: 'logs/copy.jsonl' }] },
    },
  })
const alone = async (h: Harness) => {
  const rows = await doctorAlone({ home: h.home, bundleFolder }, { clock: createSystemClock(), readConfig })
  return { rows, row: (name: string) => rows.find((each) => each.name === name) }
}

test('with the hub dead every row of the living table is there, and each that is not good has its mending', async () => {
  await using h = await scene()
  const { checks } = (await h.operator('GET', '/v1/doctor')).body as { checks: { name: string }[] }
  const living = checks.map(({ name }) => name)
  expect(living).toEqual(expect.arrayContaining(['engine', 'runc', 'kernel', 'node', 'port of the hub', 'canary']))
  await h.stop()
  const { rows, row } = await alone(h)
  const names = rows.map(({ name }) => name)
  // A channel has a row of its own only in the running hub.
  expect(living.filter((name) => !names.includes(name) && !name.startsWith('alerts '))).toEqual([])
  for (const { name, ok, mend } of rows) if (ok !== true) expect(mend, name).not.toBe('')
  expect(row('hub')).toMatchObject({ ok: false, detail: 'it does not run' })
  for (const name of ['configuration', 'keys', 'store', 'policy', 'kernel', 'node'])
    expect(row(name), name).toMatchObject({ ok: true })
  for (const name of ['canary', 'mode', 'audit', 'forward file'])
    expect(row(name)).toMatchObject({ ok: null, detail: 'known only while the hub runs' })
  expect(row('engine')).toMatchObject({ ok: false, mend: 'scripts/engine up' })
  expect(row('watchdog')).toMatchObject({ ok: false, mend: 'hub up' })
})

test('what keeps it from starting is red in its own row, with its place', async () => {
  await using h = await scene()
  await h.stop()
  const good = JSON.stringify({ http: { port: 0 }, metrics: { port: 0 } })
  writeFileSync(join(h.home, 'hub.yaml'), 'http: { port: 0 }\nengine: { soket: x }\n')
  expect((await alone(h)).row('configuration')).toMatchObject({
    ok: false,
    detail: expect.stringMatching(/hub\.yaml line 2.*soket/),
  })
  writeFileSync(join(h.home, 'hub.yaml'), good)
  writeFileSync(join(h.home, 'policy', 'data.json'), '{"agents": 5}')
  expect((await alone(h)).row('policy')?.ok).toBe(false)
  rmSync(join(h.home, 'hub.db'))
  writeFileSync(join(h.home, 'hub.db'), 'no database at all')
  rmSync(join(h.home, 'keys'), { recursive: true })
  writeFileSync(join(h.home, 'logs', 'hub.log'), '{"level":30}\nhub: port 7300 is in use; set http.port\n')
  const { row } = await alone(h)
  expect([row('store')?.ok, row('keys')?.ok]).toEqual([false, false])
  expect(row('hub')?.detail).toBe('it does not run; its last message: port 7300 is in use; set http.port')
})
