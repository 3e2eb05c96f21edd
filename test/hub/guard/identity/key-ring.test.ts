/** Rotation of the token keys on a real folder and database: overlap, load, crashes between the two files, old files put back (T14, T77). */
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createKeyRing, OVERLAP_MS, PREVIOUS_MAX } from '../../../../hub/guard/identity/key-ring.ts'
import type { SessionFacts } from '../../../../hub/guard/identity/tokens.ts'
import { OPERATOR } from '../../../../hub/guard/principal.ts'
import { fullDiskGate, type GuardHome, openGuardHome } from '../../../support/guard-home.ts'

const SESSION = 'saaaaaaaaaaaaaaa'
const FACTS: SessionFacts = {
  session: SESSION,
  agent: 'reader',
  task: '018f0000-0000-7000-8000-000000000001',
  generation: 1,
  containerId: 'c0ffee',
  publicKey: Buffer.alloc(32, 3).toString('base64url'),
  capabilities: [],
  depthLeft: 0,
  live: true,
}
const rotate = ({ guard }: GuardHome, gate = guard.gate) =>
  gate.admit({ principal: OPERATOR, operation: 'keys.rotate', resource: 'keys' }, (grant) => {
    const keys = guard.keyRing.rotate(grant)
    return { keys, auditEffect: `key:${keys[0]?.kid}` }
  }).keys
const mint = async (home: GuardHome) => (await home.guard.tokens.mint(FACTS, 3_600_000)).token
const judge = (home: GuardHome, token: string) =>
  home.guard.tokens
    .verify(token, SESSION, () => FACTS)
    .then(
      () => 'taken',
      (thrown) => String((thrown as { reason: string }).reason),
    )
const kidOf = (token: string) =>
  (JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as { kid: string }).kid
const expiryOf = (token: string) =>
  (JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { exp: number }).exp * 1000
const keyFile = ({ folder }: GuardHome, name = 'token') => join(folder, 'keys', `${name}.key`)

describe('a rotation', () => {
  it('of a hundred under load refuses no token that is still good, and none that is not taken (T14)', async () => {
    using home = openGuardHome()
    const { clock } = home
    const good: { token: string; untilMs: number }[] = []
    let checked = 0
    for (let nth = 0; nth < 100; nth += 1) {
      // On their way while the key changes: some are signed before it, some after, and some are verified across it.
      const before = Array.from({ length: 4 }, () => mint(home))
      const verified = good.map(({ token }) => judge(home, token))
      rotate(home)
      const minted = await Promise.all([...before, mint(home), mint(home)])
      expect(await Promise.all(verified)).toEqual(good.map(() => 'taken'))
      expect(await Promise.all(minted.map((token) => judge(home, token)))).toEqual(minted.map(() => 'taken'))
      checked += verified.length + minted.length
      // As long as their claims say, and the skew that is forgiven.
      good.push(...minted.slice(3, 5).map((token) => ({ token, untilMs: expiryOf(token) + 30_000 })))
      await clock.advance(9_700)
      const over = good.filter(({ untilMs }) => untilMs <= clock.wallMs())
      for (const { token } of over) expect(await judge(home, token)).not.toBe('taken')
      good.splice(0, over.length)
    }
    expect(checked).toBeGreaterThan(5000)
    expect(home.records().filter(({ action }) => action === 'keys.rotated')).toHaveLength(100)
  })

  it('leaves the key before it verifying for 5 min 30 s to the millisecond, across a restart too, and never signing (T14)', async () => {
    using home = openGuardHome()
    const token = await mint(home)
    const [active, previous] = rotate(home)
    expect(previous).toEqual({ kid: kidOf(token), state: 'previous', untilMs: home.clock.wallMs() + OVERLAP_MS })
    expect(kidOf(await mint(home))).toBe(active?.kid)
    home.reopen()
    expect(home.guard.keyRing.list()).toEqual([active, previous])
    await home.clock.advance(OVERLAP_MS - 1)
    expect(home.guard.keyRing.find(kidOf(token))).toBeDefined()
    await home.clock.advance(1)
    expect(home.guard.keyRing.find(kidOf(token))).toBeUndefined()
    expect(await judge(home, token)).toContain('unknown key')
    expect(home.guard.keyRing.list()).toEqual([active])
  })

  it('keeps only the public part of what was rotated out, shows no private part, and its file is closed to others', async () => {
    using home = openGuardHome()
    const old = readFileSync(keyFile(home), 'utf8')
    const secret = old.split('\n')[1] ?? ''
    const shown = rotate(home)
    expect(readFileSync(keyFile(home), 'utf8')).not.toBe(old)
    const database = readFileSync(join(home.folder, 'hub.db'), 'latin1')
    const log = join(home.folder, 'hub.db-wal')
    const everything = database + (existsSync(log) ? readFileSync(log, 'latin1') : '') + JSON.stringify(shown)
    expect(everything).toContain('BEGIN PUBLIC KEY')
    expect(everything).not.toContain('PRIVATE')
    expect(everything).not.toContain(secret)
    expect(statSync(keyFile(home)).mode & 0o777).toBe(0o600)
  })

  it('is recorded with the new key, and one that cannot be recorded did not happen', async () => {
    using home = openGuardHome()
    const [first] = rotate(home)
    expect(home.records().at(-1)).toMatchObject({ action: 'keys.rotated', outcome: 'ok', effect: `key:${first?.kid}` })
    const file = readFileSync(keyFile(home), 'utf8')
    expect(() => rotate(home, fullDiskGate(home))).toThrow(expect.objectContaining({ code: 'store_unavailable' }))
    expect(home.guard.keyRing.active().kid).toBe(first?.kid)
    expect(readFileSync(keyFile(home), 'utf8')).toBe(file)
    home.reopen()
    expect(home.guard.keyRing.active().kid).toBe(first?.kid)
    expect(existsSync(keyFile(home, 'token.next'))).toBe(false)
  })

  it('past 128 within one overlap is refused with when to come back', async () => {
    using home = openGuardHome()
    for (let nth = 0; nth < PREVIOUS_MAX; nth += 1) rotate(home)
    expect(() => rotate(home)).toThrow(
      expect.objectContaining({ code: 'rate_limited', facts: { retryAfterMs: OVERLAP_MS } }),
    )
    await home.clock.advance(OVERLAP_MS)
    expect(rotate(home)).toHaveLength(2)
  })
})

describe('a start', () => {
  /** The three states a crash can leave: the new key written, committed, in place (T77). */
  it('after a crash between the two files finds the one key the database names', async () => {
    using home = openGuardHome()
    const before = join(home.folder, 'before')
    copyFileSync(keyFile(home), before)
    const [active] = rotate(home)
    const token = await mint(home)

    // Committed, and cut before the rename.
    renameSync(keyFile(home), keyFile(home, 'token.next'))
    copyFileSync(before, keyFile(home))
    home.reopen()
    expect(home.guard.keyRing.active().kid).toBe(active?.kid)
    expect(existsSync(keyFile(home, 'token.next'))).toBe(false)
    expect(await judge(home, token)).toBe('taken')

    // Written, and cut before the commit: it never was a key of this hub.
    copyFileSync(before, keyFile(home, 'token.next'))
    home.reopen()
    expect(home.guard.keyRing.active().kid).toBe(active?.kid)
    expect(existsSync(keyFile(home, 'token.next'))).toBe(false)
  })

  it('with an old key file put back, a strange one, or none is refused, naming the file (T14, T35)', async () => {
    using home = openGuardHome()
    const old = readFileSync(keyFile(home))
    rotate(home)
    const present = readFileSync(keyFile(home))
    const strange = readFileSync(join(home.folder, 'keys', 'checkpoint.key'))
    const { store, meta } = home.guard
    const open = () => createKeyRing({ folder: join(home.folder, 'keys') }, { store, meta, clock: home.clock })
    for (const [bytes, why] of [
      [old, /is the key [0-9a-f]{16}, but the active one is/],
      [strange, /but the active one is/],
      [Buffer.from('no key'), /not an Ed25519 key/],
    ] as const) {
      writeFileSync(keyFile(home), bytes)
      expect(open).toThrow(expect.objectContaining({ code: 'config_invalid', message: expect.stringMatching(why) }))
    }
    rmSync(keyFile(home))
    expect(open).toThrow(/token\.key is missing/)
    writeFileSync(keyFile(home), present, { mode: 0o600 })
    home.reopen()
  })
})
