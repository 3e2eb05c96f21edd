/**
 * Checks that a stored file still is what its name says (S1-69): before each read, and file by file in the background.
 *
 * C1. A file is served only if its whole content was hashed since it last changed: an answer that has begun cannot be taken back. The hash
 *     is remembered by inode, size and times, so many ranges of one pack cost one pass.
 * C2. The opened file is compared with the hashed one. If another file is in its place, it is refused.
 * C3. The scan reads at most `bytesPerRound` a round, and at least one file. It never reuses the result of an earlier pass.
 */

import { createHash } from 'node:crypto'
import { closeSync, createReadStream, fstatSync, openSync, type Stats, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { HubError } from '../base/errors.ts'
import type { Alerts } from '../guard/alerts/alerts.ts'

export interface ArtifactChecks {
  pathOf(sha256: string): string
  /** The file was just written and hashed. */
  written(sha256: string): void
  /** Whether the file is known to be right. Does not read the content. */
  isRight(sha256: string): boolean
  /** Reads and hashes the file unless that was done already. Throws `artifact_corrupt`. */
  verify(sha256: string): Promise<void>
  /** Opens a verified file. Throws `artifact_corrupt`. */
  open(sha256: string, range?: { start: number; end: number }): { stream: Readable; size: number }
  /** One round of the scan. It goes on after the last digest looked at, and answers the digests that are damaged or missing. */
  scan(): Promise<string[]>
}

const REMEMBERED_MAX = 10_000
const SCANNED_AT_ONCE = 64

const identityOf = ({ ino, size, mtimeMs, ctimeMs }: Stats): string => `${ino}:${size}:${mtimeMs}:${ctimeMs}`

export function createArtifactChecks(
  options: { folder: string; bytesPerRound: number },
  parts: {
    /** The next digests in order, after this one. */
    digestsAfter: (sha256: string, limit: number) => string[]
    /** Called for every file that was read whole, with the result. */
    judged: (sha256: string, isRight: boolean) => void
    /** Called when the scan has looked at every file once more. */
    passed?: () => void
  },
): ArtifactChecks {
  const { folder, bytesPerRound } = options
  const { digestsAfter, judged, passed } = parts
  const right = new Map<string, string>()
  let cursor = ''

  const pathOf = (sha256: string) => join(folder, sha256.slice(0, 2), sha256)
  const corrupt = (sha256: string, why: string) =>
    new HubError('artifact_corrupt', `artifact ${sha256} ${why}`, { facts: { sha256 } })
  const found = (sha256: string) => statSync(pathOf(sha256), { throwIfNoEntry: false })

  function remember(sha256: string, stats: Stats): void {
    right.delete(sha256)
    right.set(sha256, identityOf(stats))
    const [oldest] = right.keys()
    if (right.size > REMEMBERED_MAX && oldest !== undefined) right.delete(oldest)
  }
  const isRight = (sha256: string) => {
    const stats = found(sha256)
    return stats !== undefined && right.get(sha256) === identityOf(stats)
  }

  /** Hashes the file, remembers the result and reports it. */
  async function read(sha256: string): Promise<boolean> {
    const before = found(sha256)
    let isWhole = false
    if (before !== undefined) {
      const hash = createHash('sha256')
      try {
        for await (const chunk of createReadStream(pathOf(sha256))) hash.update(chunk as Buffer)
        isWhole = hash.digest('hex') === sha256
      } catch {
        // An unreadable file counts as damaged: nothing of it can be served.
      }
    }
    if (isWhole && before !== undefined) remember(sha256, before)
    else right.delete(sha256)
    judged(sha256, isWhole)
    return isWhole
  }

  return {
    pathOf,
    written(sha256) {
      const stats = found(sha256)
      if (stats !== undefined) remember(sha256, stats)
      judged(sha256, true)
    },
    isRight,
    async verify(sha256) {
      if (isRight(sha256) || (await read(sha256))) return
      throw corrupt(sha256, found(sha256) === undefined ? 'is missing on disk' : 'is damaged on disk')
    },
    open(sha256, range) {
      let fd: number
      try {
        fd = openSync(pathOf(sha256), 'r')
      } catch {
        throw corrupt(sha256, 'cannot be opened')
      }
      const stats = fstatSync(fd)
      if (right.get(sha256) !== identityOf(stats)) {
        closeSync(fd)
        throw corrupt(sha256, 'changed since it was checked')
      }
      return { stream: createReadStream('', { fd, ...range }), size: stats.size }
    },
    async scan() {
      const damaged: string[] = []
      let bytes = 0
      const digests = digestsAfter(cursor, SCANNED_AT_ONCE)
      if (digests.length === 0) {
        cursor = ''
        passed?.()
      }
      for (const sha256 of digests) {
        if (!(await read(sha256))) damaged.push(sha256)
        cursor = sha256
        bytes += found(sha256)?.size ?? 0
        if (bytes >= bytesPerRound) break
      }
      return damaged
    },
  }
}

/** More damaged files than this means that the folder is at fault, not each file (fault G10). */
const TOLD_MAX = 5
const MANY = 'artifacts_damaged'

/**
 * Raises the alerts for damaged files: one for each file, and one for all of them beyond a few. It hears of every file that was read whole,
 * and of the end of each full pass.
 */
export function createDamageAlerts(folder: string, alerts: Pick<Alerts, 'raise' | 'resolve' | 'isOpen'>) {
  const damaged = new Set<string>()
  return {
    judged(sha256: string, isRight: boolean): void {
      const cause = `artifact_corrupt:${sha256}` as const
      if (isRight) {
        damaged.delete(sha256)
        if (alerts.isOpen(cause)) alerts.resolve(cause)
        return
      }
      damaged.add(sha256)
      if (damaged.size <= TOLD_MAX || alerts.isOpen(cause))
        alerts.raise(
          cause,
          'warning',
          `artifact ${sha256} is damaged on disk and is not served: look at the disk (dmesg), then store the same bytes again or put the file back from a backup`,
        )
      else
        alerts.raise(
          MANY,
          'warning',
          `more than ${TOLD_MAX} artifacts are damaged or missing and are not served: put ${folder} back from a backup (backups/*/artifacts)`,
        )
    },
    passed(): void {
      if (damaged.size <= TOLD_MAX && alerts.isOpen(MANY)) alerts.resolve(MANY)
    },
  }
}
