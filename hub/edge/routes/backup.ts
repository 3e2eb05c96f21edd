/** `backup.run`: one at a time; the copying itself is handed in. */
import { HubError } from '../../base/errors.ts'
import { type Handlers, handler } from '../serve.ts'

export interface BackupMade {
  path: string
  files: number
  bytes: number
  auditSize: number
  auditHead: string
}

export function backupHandlers({ makeBackup }: { makeBackup: () => Promise<BackupMade> }): Handlers {
  let underWay = false
  return {
    'backup.run': handler({
      resource: () => 'hub',
      effect: () => {
        if (underWay) throw new HubError('conflict', 'a backup is being made; wait for it')
      },
      // Only now: one whose record was not committed is not made, and would keep every later one from being made.
      after: () => {
        underWay = true
        return makeBackup().finally(() => {
          underWay = false
        })
      },
    }),
  }
}
