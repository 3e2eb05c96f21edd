/**
 * Durable outputs and inputs: files named by their SHA-256, rows that say whose they are (S1-68, S1-69).
 *
 * A1. A file is written beside its place, synced and renamed; a digest that does not match never gets a row.
 * A2. Reading follows one rule: a task's own, its inputs, and its children's.
 * A3. What is read is what was hashed: size is checked at open, content by the reader, who knows the digest.
 */
import { createHash } from 'node:crypto'
import { createReadStream, mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Clock } from '../base/clock.ts'
import { HubError } from '../base/errors.ts'
import { base32, type Random } from '../base/random.ts'
import { assertGrant, type Grant } from '../guard/grant.ts'
import type { Store } from '../store/database.ts'
import type { TaskRow } from './dispatch/rows.ts'

export interface ArtifactView {
  name: string
  sha256: string
  size: number
}
/** A file that has arrived whole but is nobody's yet. */
export interface Arrived {
  path: string
  sha256: string
  size: number
}
/** Where the operator's inputs stand until a task names them. */
export const UPLOADS = 'operator'

export interface Artifacts {
  /** Streams into a temporary file. Throws `too_large` at the cap, `schema_invalid` when the digest is another. */
  receive(source: Readable, sha256: string, bytesMax: number): Promise<Arrived>
  discard(arrived: Arrived): void
  /** Makes it an artifact of the owner under this name. Throws `too_large` past the owner's total. */
  put(
    grant: Grant,
    owner: string,
    name: string,
    arrived: Arrived,
    session: string | null,
    totalBytesMax: number,
  ): ArtifactView
  list(owner: string): ArtifactView[]
  find(sha256: string): ArtifactView | undefined
  /** Why a task may read this digest: its own, one of its inputs or its children's, or not at all. */
  access(task: TaskRow, sha256: string): 'own' | 'inherited' | 'none'
  /** Opens the bytes from `start` to `end` inclusive. Throws `unknown_artifact`. */
  read(sha256: string, range?: { start: number; end: number }): { stream: Readable; size: number }
}

export function createArtifacts(
  options: { folder: string },
  parts: { store: Store; clock: Clock; random: Random },
): Artifacts {
  const { store, clock, random } = parts
  const arriving = join(options.folder, 'arriving')
  rmSync(arriving, { recursive: true, force: true })
  mkdirSync(arriving, { recursive: true, mode: 0o700 })

  const pathOf = (sha256: string) => join(options.folder, sha256.slice(0, 2), sha256)
  const find = store.prepare('select name, sha256, size from artifact where sha256 = ? limit 1')
  const listed = store.prepare('select name, sha256, size from artifact where task = ? order by name')
  const owns = store.prepare('select 1 from artifact where task = ? and sha256 = ?')
  const childOwns = store.prepare(
    'select 1 from artifact join task on artifact.task = task.id where task.parent = ? and sha256 = ?',
  )

  return {
    async receive(source, sha256, bytesMax) {
      const path = join(arriving, base32(random, 16))
      const file = await open(path, 'wx', 0o600)
      const hash = createHash('sha256')
      let size = 0
      try {
        for await (const chunk of source as AsyncIterable<Buffer>) {
          size += chunk.length
          if (size > bytesMax) throw new HubError('too_large', `an artifact here holds at most ${bytesMax} bytes`)
          hash.update(chunk)
          await file.write(chunk)
        }
        if (hash.digest('hex') !== sha256)
          throw new HubError('schema_invalid', 'the content does not match the digest in the path')
        await file.sync()
        await file.close()
        return { path, sha256, size }
      } catch (thrown) {
        await file.close().catch(() => undefined)
        rmSync(path, { force: true })
        throw thrown
      }
    },
    discard: (arrived) => rmSync(arrived.path, { force: true }),

    put(grant, owner, name, arrived, session, totalBytesMax) {
      assertGrant(grant, 'artifact.put')
      requireName(name)
      const { sha256, size } = arrived
      const total = listed
        .all(owner)
        .reduce((sum: number, row) => sum + ((row as ArtifactView).name === name ? 0 : (row as ArtifactView).size), 0)
      if (total + size > totalBytesMax)
        throw new HubError('too_large', `the artifacts of one task hold at most ${totalBytesMax} bytes`)
      const place = pathOf(sha256)
      if (statSync(place, { throwIfNoEntry: false })?.size === size) rmSync(arrived.path, { force: true })
      else {
        mkdirSync(join(options.folder, sha256.slice(0, 2)), { recursive: true, mode: 0o700 })
        renameSync(arrived.path, place)
      }
      store
        .prepare(
          `insert into artifact values (?, ?, ?, ?, ?, ?) on conflict (task, name) do update
             set sha256 = excluded.sha256, size = excluded.size, session = excluded.session, created_at_ms = excluded.created_at_ms`,
        )
        .run(owner, name, sha256, size, session, clock.wallMs())
      return { name, sha256, size }
    },
    list: (owner) => listed.all(owner) as ArtifactView[],
    find: (sha256) => find.get(sha256) as ArtifactView | undefined,

    access(task, sha256) {
      if (owns.get(task.id, sha256) !== undefined) return 'own'
      if (task.inputs !== null && (task.inputs.manifest === sha256 || task.inputs.pack === sha256)) return 'inherited'
      return childOwns.get(task.id, sha256) === undefined ? 'none' : 'inherited'
    },

    read(sha256, range) {
      const row = find.get(sha256) as ArtifactView | undefined
      if (row === undefined) throw new HubError('unknown_artifact', `no artifact is named ${sha256}`)
      const found = statSync(pathOf(sha256), { throwIfNoEntry: false })
      if (found?.size !== row.size)
        throw new HubError('internal', 'the file of this artifact is damaged', {
          reason: `artifact ${sha256} is not of ${row.size} bytes on disk`,
        })
      return { stream: createReadStream(pathOf(sha256), range ?? {}), size: row.size }
    },
  }
}

/** A relative path of ordinary segments (T69): whoever unpacks checks again. */
export function requireName(name: string): void {
  const segments = name.split('/')
  const bad =
    name.length === 0 ||
    name.length > 1024 ||
    /[\p{Cc}\\]/u.test(name) ||
    segments.some((part) => part === '' || part === '.' || part === '..')
  if (bad)
    throw new HubError(
      'schema_invalid',
      'name: a relative path without empty, . or .. segments, control characters or backslashes',
    )
}
