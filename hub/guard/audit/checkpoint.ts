/** Signed heads of the audit log, each linked to the one before it, by a key the message path does not use. The watchdog is their witness. */
import { type KeyObject, sign } from 'node:crypto'
import { canonicalText } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { GENESIS } from '../../protocol/audit-chain.ts'
import { type Seal, sealLine } from '../../protocol/audit-segment.ts'
import { type Checkpoint, checkpointDigest, judgeCheckpoint, signedBytes } from '../../protocol/checkpoint.ts'
import type { Store } from '../../store/database.ts'
import type { AuditLog } from './log.ts'

/** A head is signed once in so many ms while records are added [audit-20]; sooner after as many records as log.ts says. */
export const CHECKPOINT_EVERY_MS = 2000

const checkpointOf = (document: string) => JSON.parse(document) as Checkpoint

export interface Checkpoints {
  /** Who signs, and the public key as PEM. */
  readonly signer: { instance: string; publicKey: string }
  /** Signs the present head, in the open transaction if there is one, if it moved since the last checkpoint; answers whether it did. */
  take(): boolean
  /** Up to 64 checkpoints of logs longer than `size`, oldest first. */
  since(size: number): Checkpoint[]
  /** What a witness of `size` is shown. One that knows nothing begins with the newest; otherwise it would be days behind a long log. */
  forWitness(size: number): Checkpoint[]
  /** Those over records after `after` and up to `upTo`, oldest first, each as the text that was signed and linked. */
  between(after: number, upTo: number, limit?: number): string[]
  /** Why this one does not follow the one of this digest, or is not the head of that record; or the digest that the next one follows. */
  judge(
    document: string,
    previous: string,
    hashAt: (seq: number) => string | undefined,
  ): string | { size: number; digest: string }
  /** The signed last line of a sealed month. */
  seal(unsigned: Omit<Seal, 'signature'>): string
  /** Deletes up to 500 that are also in the file of a dropped month and that the witness has seen; answers how many. */
  purge(upTo: number): number
  /** The newest of all, whatever instance signed it. */
  newest(): Checkpoint | undefined
  count(): number
  /** Checks signatures, links, and that each head is the hash of that record in the log; answers the first fault. */
  verify(hashAt: (seq: number) => string | undefined): string | undefined
}

export function createCheckpoints(parts: {
  store: Store
  audit: AuditLog
  clock: Clock
  instance: string
  privateKey: KeyObject
  publicKey: KeyObject
}): Checkpoints {
  const { store, audit, clock, instance, privateKey, publicKey } = parts
  const after = store
    .prepare(`select document from checkpoint where size > ? and document ->> 'instance' = ? order by size limit 64`)
    .pluck()
  const last = store.prepare('select document from checkpoint order by size desc limit 1').pluck()
  const purge = store.prepare(
    `delete from checkpoint where size in (select size from checkpoint where size <= ? and size < (select max(size) from checkpoint)
       order by size limit 500)`,
  )
  /** How far the witness has seen, by its last word. It must still be shown the rest. */
  let witnessed = 0
  const insert = store.prepare('insert into checkpoint values (?, ?, ?, ?)')
  const digest = (document: string | undefined) => (document === undefined ? GENESIS : checkpointDigest(document))

  const judge: Checkpoints['judge'] = (document, previous, hashAt) => {
    const checkpoint = checkpointOf(document)
    const fault = judgeCheckpoint(checkpoint, { previous, publicKey })
    if (fault !== undefined) return fault
    const found = hashAt(checkpoint.size)
    if (found !== checkpoint.head)
      return `record ${checkpoint.size} is ${found === undefined ? 'gone' : 'not the one that was signed'}`
    return { size: checkpoint.size, digest: checkpointDigest(document) }
  }

  return {
    signer: { instance, publicKey: publicKey.export({ type: 'spki', format: 'pem' }) as string },
    take() {
      const { size, head } = audit.head()
      const newest = last.get() as string | undefined
      if (size === 0 || (newest !== undefined && (JSON.parse(newest) as Checkpoint).size >= size)) return false
      const unsigned = { size, head, previous: digest(newest), instance, wallMs: clock.wallMs(), bootId: clock.bootId }
      const signature = sign(null, signedBytes(unsigned), privateKey).toString('base64url')
      const document = canonicalText({ ...unsigned, signature })
      const save = () => void insert.run(size, head, unsigned.previous, document)
      if (store.inTransaction) save()
      else store.transaction(save)
      return true
    },
    // Checkpoints that came with a restored home are of its former instance: no witness of this one can know them.
    since: (size) => (after.all(size, instance) as string[]).map(checkpointOf),
    forWitness: (size) => {
      witnessed = size
      if (size > 0) return (after.all(size, instance) as string[]).map(checkpointOf)
      const newest = last.get() as string | undefined
      const own = newest === undefined ? [] : [checkpointOf(newest)]
      return own.filter((checkpoint) => checkpoint.instance === instance)
    },
    between: (after, upTo, limit = -1) =>
      store
        .prepare('select document from checkpoint where size > ? and size <= ? order by size limit ?')
        .pluck()
        .all(after, upTo, limit) as string[],
    judge,
    seal: (unsigned) => sealLine(unsigned, privateKey),
    purge: (upTo) => store.transaction(() => purge.run(Math.min(upTo, witnessed)).changes),
    newest() {
      const document = last.get() as string | undefined
      return document === undefined ? undefined : checkpointOf(document)
    },
    count: () => store.prepare('select count(*) from checkpoint').pluck().get() as number,
    verify(hashAt) {
      let previous = GENESIS
      for (const document of store
        .prepare('select document from checkpoint order by size')
        .pluck()
        .iterate() as Iterable<string>) {
        const found = judge(document, previous, hashAt)
        if (typeof found === 'string') return found
        previous = found.digest
      }
      return undefined
    },
  }
}
