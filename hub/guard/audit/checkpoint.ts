/** Signed heads of the audit log, each linked to the one before it, by a key the message path does not use. The watchdog is their witness. */
import { type KeyObject, sign } from 'node:crypto'
import { canonicalText } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { GENESIS } from '../../protocol/audit-chain.ts'
import { type Checkpoint, checkpointDigest, judgeCheckpoint, signedBytes } from '../../protocol/checkpoint.ts'
import type { Store } from '../../store/database.ts'
import type { AuditLog } from './log.ts'

const checkpointOf = (document: string) => JSON.parse(document) as Checkpoint

export interface Checkpoints {
  /** Who signs, and the public key as PEM. */
  readonly signer: { instance: string; publicKey: string }
  /** Signs the present head if it moved since the last checkpoint; answers whether it did. */
  take(): boolean
  /** Up to 64 checkpoints of logs longer than `size`, oldest first. */
  since(size: number): Checkpoint[]
  /** What a witness of `size` is shown; one that knows nothing begins with the newest, or it would be days behind a long log. */
  forWitness(size: number): Checkpoint[]
  /** Those over records after `after` and up to `upTo`, oldest first, each as the text that was signed and linked. */
  between(after: number, upTo: number): string[]
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
  const insert = store.prepare('insert into checkpoint values (?, ?, ?, ?)')
  const digest = (document: string | undefined) => (document === undefined ? GENESIS : checkpointDigest(document))

  return {
    signer: { instance, publicKey: publicKey.export({ type: 'spki', format: 'pem' }) as string },
    take() {
      const { size, head } = audit.head()
      const newest = last.get() as string | undefined
      if (size === 0 || (newest !== undefined && (JSON.parse(newest) as Checkpoint).size >= size)) return false
      const unsigned = { size, head, previous: digest(newest), instance, wallMs: clock.wallMs(), bootId: clock.bootId }
      const signature = sign(null, signedBytes(unsigned), privateKey).toString('base64url')
      const document = canonicalText({ ...unsigned, signature })
      store.transaction(() => void insert.run(size, head, unsigned.previous, document))
      return true
    },
    // Those that a restored home brought along are of its former instance: no witness of this one can know them.
    since: (size) => (after.all(size, instance) as string[]).map(checkpointOf),
    forWitness: (size) => {
      if (size > 0) return (after.all(size, instance) as string[]).map(checkpointOf)
      const newest = last.get() as string | undefined
      const own = newest === undefined ? [] : [checkpointOf(newest)]
      return own.filter((checkpoint) => checkpoint.instance === instance)
    },
    between: (after, upTo) =>
      store
        .prepare('select document from checkpoint where size > ? and size <= ? order by size')
        .pluck()
        .all(after, upTo) as string[],
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
        const checkpoint = JSON.parse(document) as Checkpoint
        const fault = judgeCheckpoint(checkpoint, { previous, publicKey })
        if (fault !== undefined) return fault
        const found = hashAt(checkpoint.size)
        if (found !== checkpoint.head)
          return `record ${checkpoint.size} is ${found === undefined ? 'gone' : 'not the one that was signed'}`
        previous = digest(document)
      }
      return undefined
    },
  }
}
