/** Relaxations under a whole hub (docs/sandbox.md 8): what no card asks for changes nothing, and what a session got at its start is all it has. */
import { expect, test } from 'vitest'
import { sha256Hex } from '../../hub/base/canonical.ts'
import { createHarness, type Harness, puppet } from '../support/hub-harness.ts'

/** The one body that the engine was told, with what differs from one session to the next taken out. */
function bodyText(h: Harness): string {
  const [container] = [...h.engine.containers.values()]
  if (container === undefined) throw new Error('there is no container')
  const { Labels, Env, HostConfig } = container.body
  const own = [
    HostConfig.Mounts[0]?.Source ?? '',
    ...Object.values(Labels),
    ...Env.map((each) => each.split('=')[1] ?? ''),
  ]
  // The name of the agent and what is always the same stay.
  const varying = own.filter((value) => value.length >= 12 && value !== '/run/hub/hub.sock')
  return varying.reduce((text, value) => text.replaceAll(value, 'X'), JSON.stringify(container.body))
}

test('T48: the container of a card without relaxations is made byte for byte as before there were any', async () => {
  await using h = await createHarness({ agents: { plain: { script: puppet } } })
  await h.bring('plain')
  // Taken from the last commit without them. Whoever changes the profile of all sessions takes it anew.
  expect(sha256Hex(bodyText(h))).toBe('20bd9ef6dfcb663d5237acf613c17278ec4d1c50ba2951952e3d9f8ec47e9c47')
})
