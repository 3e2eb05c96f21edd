/** Plays the shim in the place of a canary session's container: joins, says that its hungry program was ended, waits to be stopped. */

import type { FakeContainer } from './fake-engine.ts'
import type { Harness } from './hub-harness.ts'
import { ask } from './hub-harness.ts'
import { createSigningClient } from './signing-client.ts'

export interface CanaryPlay {
  /** Joins at all. */
  joins: boolean
  /** What the shim says of the program that took too much memory. */
  says: 'killed' | 'survived' | 'nothing'
  /** Whether the engine tells of the memory kill. */
  reported: boolean
}

/** From now on canaries are played like this; answers those that were started. */
export function playCanary(h: Harness, play: CanaryPlay = { joins: true, says: 'killed', reported: true }) {
  const seen = { started: [] as FakeContainer[], play }
  const { onStart } = h.engine
  h.engine.onStart = (container) => {
    if (container.body.Labels['hub.agent'] !== 'runtime-probe') return onStart(container)
    seen.started.push(container)
    container.ended.addEventListener('abort', () => {
      container.oomKilled = seen.play.reported
    })
    if (seen.play.joins) void run(h, container, seen.play.says).catch(() => undefined)
    return undefined
  }
  return seen
}

async function run(h: Harness, { socketPath, ended }: FakeContainer, says: CanaryPlay['says']): Promise<void> {
  await createSigningClient({ socketPath, clock: h.clock, ended }).join()
  const words = {
    killed: { kind: 'log', body: { text: 'the command was ended by SIGKILL' } },
    survived: { kind: 'result', body: { outcome: 'succeeded' } },
    nothing: undefined,
  }[says]
  // The first line of a program's log decides nothing, and is answered, so that the next can be said.
  await ask(socketPath, 'POST', '/v1/send', { kind: 'log', body: { text: 'a warning' } }, {})
  if (words !== undefined) await ask(socketPath, 'POST', '/v1/send', words, {})
}
