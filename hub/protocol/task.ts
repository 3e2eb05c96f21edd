/** Task, attempt and session: their states, tables and shapes. Moved only by work/dispatch/tasks.ts. */
import { createMachine } from '../base/machine.ts'
import type { Relaxation } from './relax.ts'
import type { ResultFault } from './result-faults.ts'
import type { StopReason } from './stop-reasons.ts'

export type TaskState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'timed_out'
export type AttemptState = 'assigned' | 'starting' | 'running' | 'settled' | 'lost' | 'stopped'
export type SessionState =
  | 'provisioning'
  | 'starting'
  | 'ready'
  | 'working'
  | 'input_required'
  | 'recycling'
  | 'recycled'
export const EXIT_REASONS = [
  'done',
  'failed',
  'cancelled',
  'ttl',
  'unhealthy',
  'crashed',
  'orphan',
  'operator',
  'shutdown',
  'security',
] as const
export type ExitReason = (typeof EXIT_REASONS)[number]

export const taskMachine = createMachine<TaskState>('task', {
  queued: ['running', 'cancelled', 'timed_out', 'failed'],
  // Back to queued: a crash whose restart is due, as a new attempt.
  running: ['queued', 'succeeded', 'failed', 'cancelled', 'timed_out'],
  succeeded: [],
  failed: [],
  cancelled: [],
  timed_out: [],
})

export const attemptMachine = createMachine<AttemptState>('attempt', {
  assigned: ['starting', 'lost', 'stopped'],
  starting: ['running', 'lost', 'stopped'],
  running: ['settled', 'lost', 'stopped'],
  settled: [],
  lost: [],
  stopped: [],
})

export const sessionMachine = createMachine<SessionState>('session', {
  provisioning: ['starting', 'recycling'],
  starting: ['ready', 'recycling'],
  ready: ['working', 'input_required', 'recycling'],
  working: ['ready', 'input_required', 'recycling'],
  input_required: ['working', 'ready', 'recycling'],
  recycling: ['recycled'],
  recycled: [],
})

/** What a session may do: the intersection along its whole chain, never wider, never longer (docs/protocol.md 5). */
export interface Authority {
  capabilities: string[]
  /** Agents it may message. */
  message: string[]
  /** Agents it may delegate to. */
  delegate: string[]
  topics: string[]
  secrets: string[]
  egress: string[]
  /** Walls of its container that are moved; absent for none. */
  relax?: Relaxation[]
  ttlMs: number
  /** Delegations still allowed below it. */
  depthLeft: number
  /** Tasks the whole tree below may still create. */
  tasksLeft: number
}

/** What the agent handed in. */
export interface TaskOutcome {
  outcome: 'succeeded' | 'failed'
  value?: unknown
  error?: string
  /** Why its model stopped, where its program told it. */
  stopReason?: StopReason
  /** What kind of failure, where the shim found one. */
  code?: ResultFault
}
