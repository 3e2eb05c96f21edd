/** `backup.run`: one at a time, and nothing is pruned meanwhile. The copying itself is handed in. */
import { HubError } from '../../base/errors.ts'
import type { Pauses } from '../../work/retention/pauses.ts'
import { type Handlers, handler } from '../serve.ts'

export interface BackupMade {
  path: string
  files: number
  bytes: number
  auditSize: number
  auditHead: string
  /** What is in the home but not in the backup, and why. */
  leftOut: { path: string; why: string; damaged?: true }[]
}

export function backupHandlers(parts: {
  makeBackup: () => Promise<BackupMade>
  /** The database is copied first; the files that its rows name must still be there when they are copied after it. */
  pauses?: Pick<Pauses, 'hold'>
}): Handlers {
  const { makeBackup, pauses } = parts
  let underWay = false
  return {
    'backup.run': handler({
      resource: () => 'hub',
      effect: () => {
        if (underWay) throw new HubError('conflict', 'a backup is being made; wait for it')
      },
      // Only now: a backup whose record was not committed is not made, and would block every later one.
      after: () => {
        underWay = true
        const release = pauses?.hold('a backup')
        return makeBackup().finally(() => {
          release?.()
          underWay = false
        })
      },
    }),
  }
}
