/** What the hub and the SDK say to each other beside the envelope: types only, nothing of this runs. */
import type { DataClass } from '../../protocol/data-class.ts'
import type { DriverName } from '../../protocol/drivers.ts'
import type { HandedEgress } from '../../protocol/egress/placeholders.ts'
import type { Delivery, FolderRef } from '../../protocol/envelope.ts'
import type { McpWay } from '../../protocol/mcp-ways.ts'
import type { StopReason } from '../../protocol/stop-reasons.ts'
import type { TaskSpec } from '../../protocol/task-spec.ts'
import type { KeptTranscript } from '../../protocol/transcripts.ts'
import type { Wishes } from '../../protocol/wish-places.ts'

export type Body = Record<string, unknown>

/** The task this session was started for. */
export interface TaskFacts {
  task: string
  /** 1 for the first try. */
  attempt: number
  params: Body
  inputs: FolderRef | null
  /** What it is about beside its parameters; absent for nothing. */
  spec?: TaskSpec
  capabilities: string[]
  /** Who delegated it; null when an operator submitted it. */
  parent: { agent: string; session: string } | null
  /** Delegations still allowed below this task. */
  depthLeft: number
  /** Tasks the tree below may still create. */
  tasksLeft: number
  /** Its place in a trace (W3C); absent where the hub keeps none. The SDK passes it on with every message. */
  traceparent?: string
}

export interface Program {
  driver: DriverName
  run: string[]
  env: Record<string, string>
  /** Only of a session that goes on after each turn, until it is closed. */
  mode?: 'chat'
  /** How the shim offers the hub's verbs as tools of MCP; absent where the card asks for none. */
  mcp?: McpWay[]
  /** In the place of `run` where it goes on with an earlier conversation. */
  resume?: string[]
}

export interface TokenAnswer {
  token: string
  tokenExpiresAtMs: number
  nowMs: number
}

export interface JoinAnswer extends TokenAnswer {
  session: string
  agent: string
  instance: string
  /** When its working time ends. While a question waits for a person that time stands still, for `waitLeftMs` in all. */
  deadlineMs: number
  /** Absent in the answer of an earlier hub: nothing. */
  waitLeftMs?: number
  program: Program
  /** Names of the secrets this session may fetch. */
  secrets: string[]
  /** What it may reach outside; absent for a session that has no such way. */
  egress?: HandedEgress
  /** The conversation that is kept for this start, null for none; absent where its card asks for none. */
  transcript?: KeptTranscript | null
  task: TaskFacts
}

export interface ArtifactRow {
  sha256: string
  size: number
  name: string
  task?: string
  dataClass?: DataClass
  /** Kept while its program worked or when it fell, and never confirmed by a result. */
  unfinished?: true
}

/** How a delegated child ended. */
export interface ChildOutcome {
  task: string
  outcome: 'succeeded' | 'failed' | 'cancelled' | 'timed_out'
  value?: unknown
  error?: string
  /** Why its model stopped, where its program told it. */
  stopReason?: StopReason
  artifacts: ArtifactRow[]
}

/** A message as a handler sees it; `from` was set by the hub from the sender's session, never by the sender. */
export interface Message extends Delivery {
  from: { agent: string; session: string }
}

export interface Delegation {
  /** The agent to run; without it the hub chooses one that has all of `needs`. */
  agent?: string
  needs?: string[]
  params?: Body
  /** Must be readable by this task; `task.inputs` passes its own on. */
  inputs?: FolderRef | null
  /** Never more than this task holds. */
  capabilities?: string[]
  ttlMs?: number
  priority?: number
  /** The class of its data; the parent's without it, and never lower. */
  sensitivity?: DataClass
  /** Which model the child is to use, its system prompt, its most turns, its budget in millionths of a US dollar. */
  spec?: Wishes
}
