/**
 * Where a step stands in a trace (S0-11): W3C's ids, and what the rings say to whoever keeps spans. No library is known here.
 *
 * V1. A task's trace has the id of the task at the root of its tree, without its dashes, and each task has the place in it that its own id
 *     gives: so one id finds a task in audit log, events and traces, after a restart too, and nothing is stored for it.
 * V2. Attributes are ids and words of the hub's own tables, never text of a person or an agent.
 */
import type { Example } from '../base/meters.ts'
import { traceparentShape } from './ids.ts'

/** Every span, and when it begins and ends. */
export const SPANS = {
  'orch.task.submit': 'a task is made, by a person, an agent, a retry or for a service; one for each task',
  'orch.agent.spawn': 'from the place for a session until its program has joined, or the start has failed',
  'orch.agent.create': 'below it: until its container is to be started',
  'orch.agent.join': 'below it: from there until the program has joined',
  'orch.msg.send': 'one envelope of an agent, from its arrival to its answer',
  'orch.policy.decide': 'below a message, a start, or a request that brings a trace: one question to the rules',
  'orch.approval.wait':
    'below a task: a person is waited for, from the question until the answer, or until nobody waits any more',
  'orch.shutdown': 'everything is stopped, until all is confirmed',
  'orch.shutdown.finish': 'below it: sessions are told to finish',
  'orch.shutdown.confirm': 'below it: what is left is stopped and removed',
} as const
export type SpanName = keyof typeof SPANS

/** What an attribute may be called, without its prefix `hub.`. */
export type SpanIds = Readonly<
  Partial<
    Record<
      | 'task'
      | 'parent'
      | 'session'
      | 'agent'
      | 'message'
      | 'approval'
      | 'kind'
      | 'operation'
      | 'decision'
      | 'answer'
      | 'reason'
      | 'exit'
      | 'requested',
      string | number
    >
  >
>

/** A step of a trace; W3C's ids in hex. */
export interface Place {
  readonly traceId: string
  readonly spanId: string
}

export interface Span {
  readonly place: Place
  /** Ends it; `code` is the error it ended with. `atMs`: when it ended, wall clock; now without it. A second end does nothing. */
  end(code?: string, ids?: SpanIds, atMs?: number): void
}

/** What the rings are handed where traces are kept; absent otherwise. Never throws. */
export interface Tracer {
  /** `own`: the place it must have. `fromMs`: when it began, wall clock; now without it. `link`: another trace that led here. */
  begin(
    name: SpanName,
    about: {
      parent?: Place | undefined
      own?: Place
      link?: Place | undefined
      ids: SpanIds
      fromMs?: number
    },
  ): Span
  /** Runs `work`, synchronous, as a part of what stands at `place`. */
  within<Result>(place: Place, work: () => Result): Result
  /** What runs now as a part of something. */
  current(): Place | undefined
  /** As it is passed on, with the decision whether the trace is kept. */
  traceparentOf(place: Place): string
  /** By what a time can be found that was measured now at `place`, without one at what runs now; undefined if its trace is not kept. */
  example(place?: Place): Example | undefined
}

/** The place of a task in the trace of the task at the root of its tree. Ids are UUIDs. Pure. */
export function placeOfTask(root: string, task: string): Place {
  const hex = (id: string) => id.replaceAll('-', '')
  return { traceId: hex(root), spanId: hex(task).slice(16) }
}

/** The place that a `traceparent` means; undefined for one that means none (version 255, ids of zeros, another shape). Pure. */
export function readTraceparent(text: unknown): Place | undefined {
  const { success, data } = traceparentShape.safeParse(text)
  if (!success) return undefined
  const [version, traceId = '', spanId = ''] = data.split('-')
  return version === 'ff' || /^0+$/.test(traceId) || /^0+$/.test(spanId) ? undefined : { traceId, spanId }
}
