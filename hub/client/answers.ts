/** What the hub and the watchdog answer, as far as the command shows it. Types only. */
import type { Remains } from '../base/container-processes.ts'

export interface TaskView {
  id: string
  state: 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'timed_out'
  agent: string | null
  needs: string[]
  params: Record<string, unknown>
  priority: number
  held: boolean
  depth: number
  parent: string | null
  attempts: number
  restarts: number
  outcome: { outcome: string; value?: unknown; error?: unknown } | null
  error: { code: string; detail: string } | null
  createdAtMs: number
  startedAtMs: number | null
  endedAtMs: number | null
  requestedBy: string
  artifacts: { name: string; sha256: string; size: number }[]
  progress: { text?: string; done?: number; total?: number; atMs: number } | null
  session: string | null
  children: number
}
export interface AttemptView {
  attempt: number
  state: string
  session: string | null
  startedAtMs: number | null
  endedAtMs: number | null
  exit: string | null
  exitCode: number | null
}
export interface SessionView {
  id: string
  agent: string
  task: string | null
  attempt: number | null
  state: string
  generation: number
  containerId: string | null
  exit: string | null
  createdAtMs: number
  expiresAtMs: number
  mailbox: number
  /** It does nothing, and nothing is known that it waits for. */
  stalledSinceMs?: number | null
}
export interface AgentView {
  name: string
  description: string
  image: string
  imageId: string | null
  /** Its image's name means another image by now, which was not taken. Absent in the answer of an earlier version. */
  imageNote?: string | null
  state: 'registered' | 'unhealthy' | 'halted' | 'suspended' | 'retired'
  reason: string | null
  capabilities: string[]
  driver: string
  /** Its image holds a shell. */
  shell?: boolean
  mode: string
  sessions: number
  restarts: number
  limits?: { ttlMs: number }
  ttlIsDefault?: boolean
}
export interface AgentListing {
  agents: AgentView[]
  problems: { file: string; line: number | null; column?: number; message: string }[]
}
export interface ModeView {
  mode: string
  conditions: { name: string; mode: string; sinceMs: number; reason: string; sticky: boolean; endsBy: string }[]
  since: number
  dispatched: number
  queued: number
  /** Of the queued, those that wait for the operator's word. */
  held?: number
  running: number
  sessions: number
  auditHead: string
  auditSize: number
  /** Absent in the answer of an earlier version. */
  drill?: { daysSinceGood: number | null; overdue: boolean; lastOk: boolean | null }
  /** The last canary session on this engine; absent in the answer of an earlier version. */
  canary?: { state: 'waiting' | 'passed' | 'failed'; tookMs: number | null; atMs: number | null; findings: string[] }
  /** How large the home is; null before it was counted, absent in the answer of an earlier version. */
  room?: {
    parts: Record<string, number>
    bytes: number
    leftBytes: number | null
    growthPerDayBytes: number | null
    daysToFull: number | null
    sampledAtMs: number
  } | null
  /** Containers that do not go. Absent in the answer of an earlier version. */
  stuck?: { container: string; reason: string; remains: Remains; forMs: number }[]
  lease: { remainingMs: number; heartbeatAgeMs: number; deadlineInMs: number } | null
  instance: string
  version: string
  uptimeMs: number
}
export interface HeartbeatView {
  acceptedAtMs: number
  dueAtMs: number
  safeAtMs: number
  stopAtMs: number
  /** The operator's zone; absent: this machine's. */
  zone?: string
  /** What holds at the watchdog in spite of it. */
  conditions?: string[]
  /** Tasks that wait for `hub task release`; absent when the watchdog answered itself. */
  held?: number
  /** What agents ask and wait for; absent when the watchdog answered itself, and of an earlier version. */
  questions?: Pick<ApprovalView, 'id' | 'agent' | 'question'>[]
}
export interface StoppedContainer {
  container: string
  session: string | null
  outcome: 'gone' | 'already_gone' | 'failed'
  reason?: string
  /** Of one that failed: what of it runs, where that was looked for. */
  remains?: Remains
}
export interface StopView {
  path: string
  requested: number
  containers: StoppedContainer[]
  /** Why the engine could not say that nothing is left; absent where it did. */
  unproven?: string
}
export interface AuditRecord {
  seq: number
  atMs: number
  principal: string
  action: string
  resource: string
  outcome: string
  reason: string | null
  decisionId: string | null
  payloadHash: string | null
  hash: string
}
/** Of a look through the whole log that is still under way. */
export interface AuditProgress {
  ok: null
  running: { size: number; of: number }
}
export interface AuditVerdict {
  ok: boolean
  size: number
  head: string
  firstBad: { seq: number; reason: string } | null
  checkpoints: number
  /** What the watchdog says to it; null from a hub of before that was asked. */
  witness: { asked: boolean; size: number | null; reason: string | null } | null
}
export interface KeyView {
  kid: string
  state: 'active' | 'previous'
  untilMs: number | null
}
export interface CheckView {
  name: string
  ok: boolean | null
  detail: string
  mend: string | null
}
export interface ArtifactView {
  sha256: string
  size: number
  name: string
  task: string | null
}

export interface ApprovalView {
  id: string
  state: 'asked' | 'approved' | 'refused' | 'expired'
  agent: string | null
  task: string
  /** The task at the top of its tree; absent in the answer of an earlier version. */
  root?: string | null
  session: string
  question: string
  answer: string
  askedAtMs: number
  endedAtMs: number | null
}

/** A device or a token. */
export interface DeviceView {
  name: string
  kind: 'webhook' | 'app' | 'console' | 'token'
  /** Rights of a device, actions of a token. */
  scope: string[]
  createdAtMs: number
  expiresAtMs: number | null
  usedAtMs: number | null
  revokedAtMs: number | null
}

export interface AlertView {
  id: string
  cause: string
  severity: 'info' | 'warning' | 'critical'
  state: 'raised' | 'sent' | 'given_up'
  text: string
  holds: boolean
  raisedAtMs: number
  resolvedAtMs: number | null
  /** Of the watchdog's own, which have no id: `watchdog`. */
  whose?: string
}
export interface ChannelTestView {
  channel?: string
  kind?: string
  ok: boolean
  answer?: string
  tookMs?: number
}
export interface AlertTestView {
  hub: ChannelTestView[]
  /** The watchdog's own answer, or null where it gave none. */
  watchdog: unknown
  watchdogProblem: string | null
  /** It did not answer at all. */
  watchdogAway: boolean
}
