import { expect, test } from 'vitest'
import { type AgentSlot, canServe, planNext, type QueuedTask } from '../../../../hub/work/dispatch/slots.ts'

const LIMITS = { sessionsMax: 12, depthMax: 3 }
const queued = (change: Partial<QueuedTask> = {}): QueuedTask => ({
  id: 't1',
  agent: undefined,
  needs: [],
  among: ['a', 'b', 'c'],
  depth: 0,
  priority: 5,
  createdAtMs: 1000,
  ...change,
})
const slot = (change: Partial<AgentSlot> = {}): AgentSlot => ({
  name: 'a',
  capabilities: ['read'],
  ready: true,
  sessionsMax: 12,
  sessions: 0,
  ...change,
})
const next = (tasks: QueuedTask[], agents = [slot()], sessions = 0, limits = LIMITS) =>
  planNext(tasks, agents, sessions, limits)

test.each([
  [0, 9],
  [1, 10],
  [2, 11],
  [3, 12],
  [7, 12],
])('a task of depth %i starts only while fewer than %i of 12 sessions exist', (depth, ceiling) => {
  const agents = [slot({ sessionsMax: 100 })]
  expect(next([queued({ depth })], agents, ceiling - 1)).toEqual({ task: 't1', agent: 'a' })
  expect(next([queued({ depth })], agents, ceiling)).toBeUndefined()
})

test.each([
  ['the deeper one', { depth: 1, priority: 0, createdAtMs: 2000 }, {}],
  ['of one depth the one of higher priority', { priority: 6, createdAtMs: 2000 }, { priority: 5 }],
  ['of one priority the older one', { createdAtMs: 999 }, {}],
  ['of one age the first id', { id: 't0' }, {}],
] as const)('%s goes first, in whatever order they are given', (_name, first, second) => {
  const winner = queued({ id: 'w', ...first })
  const loser = queued({ id: 'x', ...second })
  expect(next([winner, loser])?.task).toBe(winner.id)
  expect(next([loser, winner])?.task).toBe(winner.id)
})

test.each([0, 1, 2, 3])('at depth %i an agent may have its own cap and that many more', (depth) => {
  const task = queued({ depth, agent: 'a' })
  expect(next([task], [slot({ sessionsMax: 2, sessions: 1 + depth })])?.agent).toBe('a')
  expect(next([task], [slot({ sessionsMax: 2, sessions: 2 + depth })])).toBeUndefined()
})

test('a task whose agent is full does not stand in the way of the next', () => {
  const agents = [slot({ sessionsMax: 1, sessions: 1 }), slot({ name: 'b' })]
  expect(next([queued({ agent: 'a' }), queued({ id: 't2', agent: 'b' })], agents)).toEqual({ task: 't2', agent: 'b' })
})

test('a deep task that has no free agent does not lend its place to a shallow one beyond the shallow limit', () => {
  const agents = [slot({ sessionsMax: 0 }), slot({ name: 'b' })]
  const tasks = [queued({ depth: 3, agent: 'a' }), queued({ id: 't2', agent: 'b' })]
  expect(next(tasks, [slot({ sessionsMax: 0, sessions: 9 }), slot({ name: 'b' })], 9)).toBeUndefined()
  expect(next(tasks, agents, 8)).toEqual({ task: 't1', agent: 'a' })
})

test('of several capable agents the least busy is taken, and of equals the first name', () => {
  const busy = slot({ name: 'a', sessions: 2 })
  expect(next([queued()], [busy, slot({ name: 'c' }), slot({ name: 'b' })])?.agent).toBe('b')
  expect(next([queued()], [slot({ name: 'c', sessions: 3 }), busy])?.agent).toBe('a')
})

test('an agent that is not ready, lacks a capability or was not asked for gets nothing', () => {
  expect(next([queued()], [slot({ ready: false })])).toBeUndefined()
  expect(next([queued({ needs: ['read', 'write'] })])).toBeUndefined()
  expect(next([queued({ agent: 'b' })])).toBeUndefined()
  expect(next([])).toBeUndefined()
  expect(canServe({ needs: ['read'], among: ['a'] }, slot())).toBe(true)
  // Nobody is chosen whom the rules did not name (fault F3).
  for (const among of [undefined, [], ['b']]) expect(canServe({ needs: ['read'], among }, slot())).toBe(false)
  expect(canServe({ agent: 'b', needs: [] }, slot())).toBe(false)
})
