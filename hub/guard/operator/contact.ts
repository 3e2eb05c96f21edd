/**
 * The backup contact's card: made, revoked, tested, and recognised (docs/safety.md 6). Owns the table `contact_card`.
 *
 * C1. Of the words only a digest is kept; they leave this file once, in the answer that makes them.
 * C2. The card in force is in memory too: it stops the hub while the store fails, and a revocation counts before it can be written.
 * C3. Digests are compared in constant time (T16), and the caller is not told why a text is refused.
 * C4. One card at a time: making one ends the one before it in the same transaction.
 */
import { timingSafeEqual } from 'node:crypto'
import { entropyToMnemonic } from '@scure/bip39'
import { wordlist } from '@scure/bip39/wordlists/english.js'
import { digestOf } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { cardIdOf, digestOfWords, proofKeyOf } from '../../protocol/card-words.ts'
import type { Store } from '../../store/database.ts'
import { assertGrant, assertStopGrant, type Grant, type StopGrant } from '../grant.ts'

const CREDENTIAL_BYTES = 16
const CODE_LIFE_MS = 7 * 24 * 3_600_000
const CODE_TRIES_MAX = 5
/** Earlier cards that are remembered, so that the use of one is recognised. */
const REVOKED_KEPT_MAX = 64
/** The page may be opened often; that is recorded at most this often. */
const REACHED_EVERY_MS = 3_600_000

interface Row {
  digest: string
  name: string
  operator: string
  madeAtMs: number
  expiresAtMs: number | null
  revokedAtMs: number | null
  testedAtMs: number | null
  confirmedAtMs: number | null
  usedAtMs: number | null
  reachedAtMs: number | null
}
/** What may be shown of a card. */
export interface Card extends Omit<Row, 'digest' | 'revokedAtMs'> {
  id: string
}
export type Judged =
  | { kind: 'accepted'; card: Card }
  /** Why, for the record only (C3). */
  | { kind: 'refused'; reason: string }

export interface Contact {
  current(): Card | undefined
  /** Makes the card, and ends the one before; the words are in the answer and nowhere else. */
  issue(
    grant: Grant,
    card: { name: string; operator: string; expiresAtMs: number | null },
  ): { words: string; card: Card }
  /** Ends the card in force, even while the store fails; undefined if there is none. */
  revoke(grant: StopGrant): Card | undefined
  /** A code of six digits for the contact to read out. Throws `conflict` without a card. */
  startTest(grant: Grant): string
  /** Answers whether it was the code; the fifth wrong one ends it. Throws `conflict` if no code waits. */
  confirm(grant: Grant, code: string): boolean
  /** Whether this is the card in force. `words` as `exactWords` spells them, or undefined for anything else. */
  judge(words: string | undefined): Judged
  /** The card in force, and the key by which `hub-stop` and the hub prove themselves to each other; undefined if there is no card. */
  provable(): { card: Card; key: string } | undefined
  noteUsed(): void
  /** The stop page was opened through its public name. */
  noteReached(): void
  /** What the watchdog must still be told: the card in force, or that there is none; undefined when it knows. */
  untold():
    | { digest: string; name: string; operator: string; madeAtMs: number; expiresAtMs: number | null }
    | 'none'
    | undefined
  noteTold(): void
}

const COLUMNS = `digest, name, operator, made_at_ms as madeAtMs, expires_at_ms as expiresAtMs, revoked_at_ms as revokedAtMs,
  tested_at_ms as testedAtMs, confirmed_at_ms as confirmedAtMs, used_at_ms as usedAtMs, reached_at_ms as reachedAtMs`

const codeDigest = (card: string, code: string): string => digestOf('hub-contact-test-v1', { card, code })
const isSame = (a: string, b: string): boolean => {
  const [left, right] = [Buffer.from(a, 'hex'), Buffer.from(b, 'hex')]
  return left.length === right.length && timingSafeEqual(left, right)
}
const shown = ({ digest, revokedAtMs: _, ...rest }: Row): Card => ({ id: cardIdOf(digest), ...rest })

export function createContact(parts: { store: Store; clock: Pick<Clock, 'wallMs'>; random: Random }): Contact {
  const { store, clock, random } = parts
  const readCurrent = store.prepare(`select ${COLUMNS} from contact_card where revoked_at_ms is null`)
  const readRevoked = store
    .prepare(
      `select digest from contact_card where revoked_at_ms is not null order by revoked_at_ms desc limit ${REVOKED_KEPT_MAX}`,
    )
    .pluck()
  const revokeAll = store.prepare(
    'update contact_card set revoked_at_ms = ?, test_digest = null, watchdog_told = 0 where revoked_at_ms is null',
  )
  let current = readCurrent.get() as Row | undefined
  let revoked = readRevoked.all() as string[]
  // A watchdog that has lost its file is told again at each start of the hub.
  let isTold =
    current === undefined && store.prepare('select 1 from contact_card where watchdog_told = 0').get() === undefined

  function follow(): void {
    current = readCurrent.get() as Row | undefined
    revoked = readRevoked.all() as string[]
  }
  /** A date on the card in force; what cannot be written is kept in memory. */
  function note(column: 'used_at_ms' | 'reached_at_ms', key: 'usedAtMs' | 'reachedAtMs'): void {
    if (current === undefined) return
    const atMs = clock.wallMs()
    current = { ...current, [key]: atMs }
    const { digest } = current
    const write = () => void store.prepare(`update contact_card set ${column} = ? where digest = ?`).run(atMs, digest)
    try {
      if (store.inTransaction) write()
      else store.transaction(write)
    } catch (thrown) {
      if (!(thrown instanceof HubError) || thrown.code !== 'store_unavailable') throw thrown
    }
  }

  return {
    current: () => current && shown(current),
    issue(grant, { name, operator, expiresAtMs }) {
      assertGrant(grant, 'contact.card')
      const words = entropyToMnemonic(random.bytes(CREDENTIAL_BYTES), wordlist).replaceAll(' ', '-')
      const digest = digestOfWords(words)
      const nowMs = clock.wallMs()
      revokeAll.run(nowMs)
      // A new card keeps that the address was reached. It does not keep that the contact was: they need the new paper.
      store
        .prepare(
          'insert into contact_card (digest, name, operator, made_at_ms, expires_at_ms, reached_at_ms) values (?, ?, ?, ?, ?, ?)',
        )
        .run(digest, name, operator, nowMs, expiresAtMs, current?.reachedAtMs ?? null)
      const row = readCurrent.get() as Row
      store.afterCommit(() => {
        isTold = false
        follow()
      })
      return { words, card: shown(row) }
    },
    revoke(grant) {
      assertStopGrant(grant, 'contact.revoke')
      const ended = current
      // Also if only the memory knows of it, because it was revoked while the store could not be written.
      if (store.inTransaction) revokeAll.run(clock.wallMs())
      if (ended === undefined) return undefined
      // At once if there is no transaction, because the store fails (C2).
      store.afterCommit(() => {
        current = undefined
        revoked = [ended.digest, ...revoked]
        isTold = false
      })
      return shown(ended)
    },
    startTest(grant) {
      assertGrant(grant, 'contact.test')
      if (current === undefined)
        throw new HubError('conflict', 'there is no card to test; make one: `hub contact card`')
      const code = String(random.bytes(4).readUInt32BE() % 1_000_000).padStart(6, '0')
      store
        .prepare('update contact_card set test_digest = ?, test_tries = 0, tested_at_ms = ? where digest = ?')
        .run(codeDigest(current.digest, code), clock.wallMs(), current.digest)
      store.afterCommit(follow)
      return code
    },
    confirm(grant, code) {
      assertGrant(grant, 'contact.confirm')
      const waiting = store
        .prepare('select test_digest as digest, test_tries as tries from contact_card where revoked_at_ms is null')
        .get() as { digest: string | null; tries: number } | undefined
      const isOpen = current !== undefined && clock.wallMs() - (current.testedAtMs ?? 0) < CODE_LIFE_MS
      if (current === undefined || !isOpen || !waiting?.digest || waiting.tries >= CODE_TRIES_MAX)
        throw new HubError('conflict', 'no code waits to be read out; send one: `hub contact test`')
      const isRight = isSame(waiting.digest, codeDigest(current.digest, code))
      if (isRight)
        store
          .prepare('update contact_card set confirmed_at_ms = ?, test_digest = null where digest = ?')
          .run(clock.wallMs(), current.digest)
      else store.prepare('update contact_card set test_tries = test_tries + 1 where digest = ?').run(current.digest)
      store.afterCommit(follow)
      return isRight
    },
    judge(words) {
      const digest = digestOfWords(words ?? '')
      const isCurrent = isSame(digest, current?.digest ?? digestOfWords('no card'))
      if (words !== undefined && current !== undefined && isCurrent) {
        if (current.expiresAtMs !== null && clock.wallMs() >= current.expiresAtMs)
          return { kind: 'refused', reason: `card ${cardIdOf(digest)} has expired` }
        return { kind: 'accepted', card: shown(current) }
      }
      if (words !== undefined && revoked.some((one) => isSame(one, digest)))
        return { kind: 'refused', reason: `card ${cardIdOf(digest)} was revoked` }
      return { kind: 'refused', reason: words === undefined ? 'not twelve words' : 'these words belong to no card' }
    },
    provable() {
      if (current === undefined || clock.wallMs() >= (current.expiresAtMs ?? Number.POSITIVE_INFINITY)) return undefined
      return { card: shown(current), key: proofKeyOf(current.digest) }
    },
    noteUsed: () => note('used_at_ms', 'usedAtMs'),
    noteReached() {
      if (clock.wallMs() - (current?.reachedAtMs ?? 0) >= REACHED_EVERY_MS) note('reached_at_ms', 'reachedAtMs')
    },
    untold() {
      if (isTold) return undefined
      if (current === undefined) return 'none'
      const { digest, name, operator, madeAtMs, expiresAtMs } = current
      return { digest, name, operator, madeAtMs, expiresAtMs }
    },
    noteTold() {
      isTold = true
      if (store.failure() === undefined)
        store.transaction(
          () => void store.prepare('update contact_card set watchdog_told = 1 where watchdog_told = 0').run(),
        )
    },
  }
}
