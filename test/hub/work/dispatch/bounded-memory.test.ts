/** What the dispatcher remembers of sessions that are over has an end. */
import { expect, test } from 'vitest'
import { silentLog } from '../../../../hub/base/telemetry.ts'
import { mintStopGrant } from '../../../../hub/guard/grant.ts'
import { OPERATOR } from '../../../../hub/guard/principal.ts'
import { createRemovals, REMOVALS_MAX } from '../../../../hub/work/dispatch/reaper.ts'
import type { SessionRow } from '../../../../hub/work/dispatch/rows.ts'
import { createUnwrittenStops } from '../../../../hub/work/dispatch/shutdown.ts'

test('how a container went is known of the newest sessions, and forgotten of those before', () => {
  const removals = createRemovals()
  for (let nth = 0; nth <= REMOVALS_MAX; nth += 1) {
    removals.note(`s${nth}`, { outcome: 'failed', reason: 'busy' })
    removals.note('s1', { outcome: 'already_gone' })
  }
  expect(removals.of('s0')).toBeUndefined()
  expect(removals.of('s1')).toEqual({ outcome: 'already_gone' })
  expect(removals.of(`s${REMOVALS_MAX}`)).toEqual({ outcome: 'failed', reason: 'busy' })
})

test('I6: a stop without a store is begun once for each session, which is remembered until its row is closed', async () => {
  const open = new Set(['s1', 's2'])
  const row = (id: string) => ({ id, containerId: null, containerName: `c-${id}` }) as SessionRow
  const stopped: string[] = []
  const stops = createUnwrittenStops({
    rows: {
      children: () => [],
      sessionOfTask: (task) => row(task.replace('t', 's')),
      sessionsOpen: () => [...open].map(row),
    },
    containers: {
      recycle: (_grant, container) => {
        stopped.push(container)
        return Promise.resolve({ outcome: 'already_gone' })
      },
    },
    custody: {
      take: () => Promise.reject(new Error('nobody was stopped for security')),
      has: () => false,
      graceMsOf: () => 0,
    },
    release: () => undefined,
    log: silentLog(),
  })
  const grant = mintStopGrant({ principal: OPERATOR, operation: 'task.cancel', resource: 'task:t1' })
  for (const task of ['t1', 't1', 't2']) stops.stop(grant, task, 'cancelled')
  await expect.poll(() => stopped).toEqual(['c-s1', 'c-s2'])
  open.delete('s1')
  for (const task of ['t2', 't1']) stops.stop(grant, task, 'cancelled')
  await expect.poll(() => stopped).toEqual(['c-s1', 'c-s2', 'c-s1'])
})
