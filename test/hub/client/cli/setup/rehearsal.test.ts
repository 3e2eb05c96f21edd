/** `hub setup --rehearse`: what the rehearsal came to is a field of its own and decides the exit, whatever the words about it begin with. */
import { expect, test } from 'vitest'
import { commandHome } from '../../../../support/command-home.ts'
import { modeView, refusal, watchdogView, writeRules } from '../../../../support/fake-hub.ts'

const at = commandHome(() => {
  writeRules(at.home)
  at.watchdog.on('GET /v1/status', () => ({ body: watchdogView() }))
  at.hub.on('GET /v1/mode', () => ({ body: modeView() }))
}, true)

test.each([
  ['refused', refusal('mode_safe', 'the hub is safe: operator_request'), [1, false]],
  ['not good', { body: { atMs: 1, ok: false, skipped: null, withContact: false, steps: [] } }, [1, false]],
  ['good', { body: { atMs: 1, ok: true, skipped: null, withContact: false, steps: [] } }, [0, true]],
])('a rehearsal that is %s', async (_, answer, wanted) => {
  at.hub.on('POST /v1/drill', () => answer)
  const { code, stdout } = await at.runAsProcess(['setup', '--rehearse', '--json'])
  const view = JSON.parse(stdout.slice(stdout.lastIndexOf('\n{') + 1)) as { rehearsed: boolean }
  expect([code, view.rehearsed]).toEqual(wanted)
})
