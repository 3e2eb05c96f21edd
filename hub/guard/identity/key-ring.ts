/**
 * The token keys: one that signs, and those before it, which verify until the last token they signed has ended (T14).
 *
 * K1. The database says which key is active and which may still verify, in the transaction that records the rotation. The key file follows
 *     the commit: until it is in place, the new key is beside it as `token.next.key`, and the next start finishes the move.
 * K2. A key file that the database does not name stops the start: an old key that was put back would verify old tokens.
 * K3. Only the public part of a rotated key is kept; nothing can be signed with it again.
 */
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { replaceFile, syncFolder } from '../../base/whole-file.ts'
import type { Store } from '../../store/database.ts'
import type { Meta } from '../../store/meta.ts'
import { assertGrant, type Grant } from '../grant.ts'
import { CLOCK_SKEW_MS } from './clock-skew.ts'
import { keepPublicFile, kidOf, pem, readSigningKey, remedyOf, type SigningKey } from './keys.ts'
import { TOKEN_LIFE_MS } from './tokens.ts'

/** How long a key verifies after it has stopped signing: the longest token life plus the allowed clock skew. */
export const OVERLAP_MS = TOKEN_LIFE_MS + CLOCK_SKEW_MS
/** More rotations than this within one overlap are refused. */
export const PREVIOUS_MAX = 128

export interface KeyView {
  kid: string
  state: 'active' | 'previous'
  /** Epoch milliseconds until which it verifies; null for the one that signs. */
  untilMs: number | null
}

export interface KeyRing {
  /** The key that signs now. */
  active(): SigningKey
  /** The public key of this id while it verifies. */
  find(kid: string): KeyObject | undefined
  list(): KeyView[]
  /** Makes a new active key; the one before verifies for `OVERLAP_MS`. In a transaction. Throws `rate_limited` after 128 within one overlap. */
  rotate(grant: Grant): KeyView[]
}

const kidShape = z.string().regex(/^[0-9a-f]{16}$/)
const standShape = z.strictObject({
  active: kidShape,
  previous: z.array(z.strictObject({ kid: kidShape, untilMs: z.int(), publicKey: z.string() })).max(PREVIOUS_MAX),
})
type Stand = z.output<typeof standShape>

/** Reads the keys; throws `config_invalid` when the key file is missing, open to others, or not the active one. */
export function createKeyRing(
  options: { folder: string },
  parts: {
    store: Store
    meta: Meta
    clock: Pick<Clock, 'wallMs'>
    /** Called with what a rotation left half-done, and what became of it. */
    onDropped?: (what: string) => void
  },
): KeyRing {
  const { folder } = options
  const { store, meta, clock, onDropped = () => undefined } = parts
  const activePath = join(folder, 'token.key')
  const nextPath = join(folder, 'token.next.key')

  let stand: Stand
  let signing: SigningKey
  let verifying: Map<string, { key: KeyObject; untilMs: number }>
  const take = (next: Stand, key: SigningKey) => {
    stand = next
    signing = key
    verifying = new Map(
      next.previous.map(({ kid, untilMs, publicKey }) => [kid, { key: createPublicKey(publicKey), untilMs }]),
    )
  }
  const view = ({ active, previous }: Stand): KeyView[] => [
    { kid: active, state: 'active', untilMs: null },
    ...previous.map(({ kid, untilMs }) => ({ kid, state: 'previous', untilMs }) as const).reverse(),
  ]
  /** Those that verify at this moment, oldest first. */
  const standing = () => stand.previous.filter(({ untilMs }) => untilMs > clock.wallMs())

  function open(): void {
    const said = meta.get('token_keys')
    const known = said === undefined ? undefined : readStand(said, activePath)
    if (existsSync(nextPath)) {
      // A rotation was cut short. If it had committed, the new key takes its place now; else the old key goes on.
      const next = readableKey(nextPath)
      if (next !== undefined && known?.active === next.kid) renameSync(nextPath, activePath)
      else {
        rmSync(nextPath)
        onDropped(
          `${nextPath} was ${next === undefined ? 'no whole key' : 'never made the active key'}; the rotation that left it did not happen`,
        )
      }
      syncFolder(folder)
    }
    const key = readSigningKey(activePath)
    if (known !== undefined && known.active !== key.kid)
      throw new HubError(
        'config_invalid',
        `${activePath} is the key ${key.kid}, but the active one is ${known.active}; ${remedyOf(activePath)}`,
      )
    keepPublicFile(folder, 'token')
    take(known ?? { active: key.kid, previous: [] }, key)
    if (known === undefined) meta.set('token_keys', JSON.stringify(stand))
  }
  open()

  return {
    active: () => signing,
    find(kid) {
      if (kid === signing.kid) return signing.publicKey
      const found = verifying.get(kid)
      return found !== undefined && found.untilMs > clock.wallMs() ? found.key : undefined
    },
    list: () => view({ ...stand, previous: standing() }),
    rotate(grant) {
      assertGrant(grant, 'keys.rotate')
      const previous = standing()
      if (previous.length >= PREVIOUS_MAX)
        throw new HubError('rate_limited', `${PREVIOUS_MAX} keys still verify`, {
          facts: { retryAfterMs: (previous[0]?.untilMs ?? 0) - clock.wallMs() },
        })
      const { privateKey, publicKey } = generateKeyPairSync('ed25519')
      const key = { kid: kidOf(publicKey), privateKey, publicKey }
      const last = { kid: signing.kid, untilMs: clock.wallMs() + OVERLAP_MS, publicKey: pem(signing.publicKey) }
      const next: Stand = { active: key.kid, previous: [...previous, last] }
      // Not removed if the transaction fails: only the next start can tell whether a failed commit is on disk after all.
      replaceFile(nextPath, pem(privateKey))
      meta.set('token_keys', JSON.stringify(next))
      store.afterCommit(() => {
        take(next, key)
        renameSync(nextPath, activePath)
        syncFolder(folder)
        try {
          keepPublicFile(folder, 'token')
        } catch (thrown) {
          // The rotation counts anyway, and the next start repairs the public half.
          onDropped(`token.pub still belongs to the key before: ${(thrown as Error).message}`)
        }
      })
      return view(next)
    },
  }
}

function readStand(text: string, path: string): Stand {
  try {
    return standShape.parse(JSON.parse(text))
  } catch (thrown) {
    throw new HubError('config_invalid', `what the database says of the token keys cannot be read; ${remedyOf(path)}`, {
      cause: thrown,
    })
  }
}

function readableKey(path: string): SigningKey | undefined {
  try {
    return readSigningKey(path)
  } catch {
    return undefined
  }
}

/**
 * A new active key in place of a lost one (fault G4), before any ring is built. Every earlier token ends; nothing else does.
 * In a transaction; the key file is in place when this returns. Answers its id.
 */
export function renewTokenKey(options: { folder: string }, { meta }: { meta: Meta }): string {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  rmSync(join(options.folder, 'token.next.key'), { force: true })
  // The file first: if the database was not updated, the next start names the same remedy again.
  replaceFile(join(options.folder, 'token.key'), pem(privateKey))
  keepPublicFile(options.folder, 'token')
  const kid = kidOf(publicKey)
  meta.set('token_keys', JSON.stringify({ active: kid, previous: [] } satisfies Stand))
  return kid
}
