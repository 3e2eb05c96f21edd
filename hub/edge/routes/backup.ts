/** `backup.run`: one at a time, and nothing is pruned meanwhile. Secrets are copied for the operator alone. The copying itself is handed in. */
import { HubError } from '../../base/errors.ts'
import type { BackupRequest } from '../../protocol/operations.ts'
import type { Pauses } from '../../work/retention/pauses.ts'
import { type Handlers, handler } from '../serve.ts'

export interface BackupMade {
  path: string
  files: number
  bytes: number
  auditSize: number
  auditHead: string
  /** What is in the home but not in the backup, and why. */
  leftOut: { path: string; why: string; damaged?: true; secret?: true }[]
}

export function backupHandlers(parts: {
  makeBackup: (how: { withSecrets: boolean }) => Promise<BackupMade>
  /** The database is copied first; the files that its rows name must still be there when they are copied after it. */
  pauses?: Pick<Pauses, 'hold'>
}): Handlers {
  const { makeBackup, pauses } = parts
  let underWay = false
  return {
    'backup.run': handler({
      resource: () => 'hub',
      effect: (_grant, { withSecrets }: BackupRequest, { principal }) => {
        if (withSecrets && principal.kind !== 'operator')
          throw new HubError(
            'policy_denied',
            'a backup with secrets is made for the operator alone: hub backup --with-secrets',
          )
        if (underWay) throw new HubError('conflict', 'a backup is being made; wait for it')
        return withSecrets ? { auditEffect: 'with secrets' } : undefined
      },
      // Only now: a backup whose record was not committed is not made, and would block every later one.
      after: (_, { withSecrets }: BackupRequest) => {
        underWay = true
        const release = pauses?.hold('a backup')
        return makeBackup({ withSecrets }).finally(() => {
          release?.()
          underWay = false
        })
      },
    }),
  }
}
