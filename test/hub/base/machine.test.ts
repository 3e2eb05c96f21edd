import { describe, expect, it } from 'vitest'
import type { createMachine } from '../../../hub/base/machine.ts'
import { attemptMachine, sessionMachine, taskMachine } from '../../../hub/protocol/task.ts'

// Written out, not imported: a step that comes or goes is seen here.
const TASK = {
  queued: ['running', 'cancelled', 'timed_out', 'failed'],
  running: ['queued', 'succeeded', 'failed', 'cancelled', 'timed_out'],
  succeeded: [],
  failed: [],
  cancelled: [],
  timed_out: [],
}
const ATTEMPT = {
  assigned: ['starting', 'lost', 'stopped'],
  starting: ['running', 'lost', 'stopped'],
  running: ['settled', 'lost', 'stopped'],
  settled: [],
  lost: [],
  stopped: [],
}
const SESSION = {
  provisioning: ['starting', 'recycling'],
  starting: ['ready', 'recycling'],
  ready: ['working', 'input_required', 'recycling'],
  working: ['ready', 'input_required', 'recycling'],
  input_required: ['working', 'ready', 'recycling'],
  recycling: ['recycled'],
  recycled: [],
}

describe.each([
  ['task', taskMachine, TASK],
  ['attempt', attemptMachine, ATTEMPT],
  ['session', sessionMachine, SESSION],
] as const)('the %s table', (name, machine, table: Record<string, readonly string[]>) => {
  const states = Object.keys(table)
  const pairs = states.flatMap((from) => states.map((to) => [from, to] as const))
  const every = machine as unknown as ReturnType<typeof createMachine<string>>

  it('has exactly the written states', () => {
    expect([...every.states].sort()).toEqual([...states].sort())
    expect(every.name).toBe(name)
  })

  it.each(pairs)('judges %s -> %s as written, and refuses the rest as conflict', (from, to) => {
    const may = table[from]?.includes(to) ?? false
    expect(every.may(from, to)).toBe(may)
    if (may) every.require(from, to)
    else expect(() => every.require(from, to)).toThrow(expect.objectContaining({ code: 'conflict' }))
  })

  it('calls a state terminal exactly when nothing follows it', () => {
    for (const state of states) expect(every.isTerminal(state)).toBe(table[state]?.length === 0)
    expect(states.some((state) => every.isTerminal(state))).toBe(true)
  })

  it('leads from its first state to every other', () => {
    const reached = new Set([states[0] ?? ''])
    for (const state of reached) for (const next of table[state] ?? []) reached.add(next)
    expect([...reached].sort()).toEqual([...states].sort())
  })
})
