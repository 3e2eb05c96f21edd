/** `backup.run`: one at a time, and nothing is pruned meanwhile; the copying itself is handed in. */
import { HubError } from '../../base/errors.ts'
import type { Pauses } from '../../work/retention/pauses.ts'
import { type Handlers, handler } from '../serve.ts'

export interface BackupMade {
  path: string
  files: number
  bytes: number
  auditSize: number
  auditHead: string
  /** What is not in it although it stands in the home, and why. */
  leftOut: { path: string; why: string }[]
}

export function backupHandlers(parts: {
  makeBackup: () => Promise<BackupMade>
  /** A row of the copied database must find the file it names when that is copied after it. */
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
      // Only now: one whose record was not committed is not made, and would keep every later one from being made.
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
