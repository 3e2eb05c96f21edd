/** What a new task and a new session of one are made of. */
import type { FolderRef } from '../../protocol/envelope.ts'
import type { Authority } from '../../protocol/task.ts'
import type { SessionRow, TaskRow } from './rows.ts'

export interface NewTask {
  agent: string | undefined
  needs: readonly string[]
  params: Record<string, unknown>
  inputs: FolderRef | null
  priority: number
  hold: boolean
  ttlMs: number | undefined
  requestedBy: string
  /** The key it was asked for with, of one principal, and the digest of that request. */
  once?: { key: string; digest: string }
  /** Without `delegateId` nobody waits for its outcome. */
  parent?: { task: TaskRow; session: SessionRow; delegateId: string | null; ceiling: Authority } | undefined
}

export interface Assignment {
  session: string
  agent: string
  containerName: string
  imageId: string
  /** User and group of its container. */
  uid: number
  authority: Authority
  expiresAtMs: number
  expiresBoot: string
  /** How long its questions may wait. */
  waitLeftMs: number
}
