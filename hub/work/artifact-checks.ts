/**
 * That a stored file still is what its name says (S1-69): before it is read, and in turn while nobody reads it.
 *
 * C1. No byte is served of a file whose whole content has not been hashed since it last changed: an answer that has begun cannot be taken
 *     back. What was hashed is remembered by inode, size and times, so that many ranges of one pack cost one pass.
 * C2. What is opened is compared with what was hashed; another file in its place is refused.
 * C3. The scan reads at most `bytesPerRound` a round, and at least one file; it takes no memory of an earlier pass for an answer.
 */
import { createHash } from 'node:crypto'
import { closeSync, createReadStream, fstatSync, openSync, type Stats, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { HubError } from '../base/errors.ts'

export interface ArtifactChecks {
  pathOf(sha256: string): string
  /** It was just written and hashed. */
  written(sha256: string): void
  /** Whether the file in its place is known to be right; the content is not read. */
  isRight(sha256: string): boolean
  /** Reads and hashes it unless it was. Throws `artifact_corrupt`. */
  verify(sha256: string): Promise<void>
  /** Opens what was verified. Throws `artifact_corrupt`. */
  open(sha256: string, range?: { start: number; end: number }): { stream: Readable; size: number }
  /** One round of the scan over the digests after the last one looked at. Answers those that are damaged or missing. */
  scan(): Promise<string[]>
}

const REMEMBERED_MAX = 10_000
const SCANNED_AT_ONCE = 64

const identityOf = ({ ino, size, mtimeMs, ctimeMs }: Stats): string => `${ino}:${size}:${mtimeMs}:${ctimeMs}`

export function createArtifactChecks(
  options: { folder: string; bytesPerRound: number },
  parts: {
    /** Digests in their order, after this one. */
    digestsAfter: (sha256: string, limit: number) => string[]
    /** Told of every file that was read whole: right or not. */
    judged: (sha256: string, isRight: boolean) => void
    /** Told when the scan has come round: every file has been looked at since the last time. */
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

  /** Hashes the file; remembers and tells the outcome. */
  async function read(sha256: string): Promise<boolean> {
    const before = found(sha256)
    let isWhole = false
    if (before !== undefined) {
      const hash = createHash('sha256')
      try {
        for await (const chunk of createReadStream(pathOf(sha256))) hash.update(chunk as Buffer)
        isWhole = hash.digest('hex') === sha256
      } catch {
        // Unreadable is as good as damaged: nothing of it can be served.
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
