/** `hub events` reads until the hub has nothing more to say, however slow it is to begin. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { events } from '../../../../../hub/client/cli/looking/events.ts'
import type { Connection } from '../../../../../hub/client/connection.ts'
import type { HubEvent } from '../../../../../hub/protocol/events.ts'
import { fakeContext, fakeTerminal } from '../../../../support/fake-terminal.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

it('waits for a hub that takes seconds to answer, and ends half a second after its last event', async () => {
  const event: HubEvent = {
    ...{ specversion: '1.0', id: 'e4', sequence: 4, source: 'hub', time: '2026-01-01T00:00:00Z', subject: 'task:1' },
    ...{ type: 'hub.task.queued.v1', data: {} },
  }
  const shown: unknown[] = []
  const hub: Pick<Connection, 'events'> = {
    async *events(_from, signal, on) {
      await new Promise((resolve) => setTimeout(resolve, 3000))
      if (signal.aborted) return
      on?.opened?.()
      yield event
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    },
  }
  const terminal = fakeTerminal({ json: (value) => void shown.push(value) })
  const done = events(fakeContext('/nowhere', terminal, hub, true), [], {})
  await vi.advanceTimersByTimeAsync(3499)
  expect(shown).toEqual([])
  await vi.advanceTimersByTimeAsync(1)
  expect([await done, shown]).toEqual([0, [[event]]])
})
