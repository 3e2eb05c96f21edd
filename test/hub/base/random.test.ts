import { describe, expect, it } from 'vitest'
import { base32, newNonce, newSessionId, newUuid, scrub, systemRandom } from '../../../hub/base/random.ts'
import { sessionIdShape, uuidShape } from '../../../hub/protocol/ids.ts'
import { createSeededRandom } from '../../support/seeded-random.ts'

describe('ids and nonces', () => {
  it('makes UUIDs of version 7 and variant 2 that carry their instant and sort by it (RFC 9562)', () => {
    const random = createSeededRandom('uuid')
    let before = ''
    for (const wallMs of [0, 1, 1_767_603_600_000, 1_767_603_600_001, 2 ** 48 - 1]) {
      const uuid = newUuid(random, wallMs)
      expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      expect(uuidShape.safeParse(uuid).success).toBe(true)
      expect(Number.parseInt(uuid.replaceAll('-', '').slice(0, 12), 16)).toBe(wallMs)
      expect(uuid > before).toBe(true)
      before = uuid
    }
    expect(newUuid(random, 5)).not.toBe(newUuid(random, 5))
  })

  it('makes session ids of s and 15 base32 characters, every character used', () => {
    const seen = new Set<string>()
    for (let times = 0; times < 200; times += 1) {
      const id = newSessionId(systemRandom)
      expect(sessionIdShape.safeParse(id).success).toBe(true)
      for (const letter of id.slice(1)) seen.add(letter)
    }
    expect([...seen].sort().join('')).toBe('234567abcdefghijklmnopqrstuvwxyz')
    expect(base32(systemRandom, 7)).toHaveLength(7)
  })

  it('makes nonces of 128 bits, canonical base64url', () => {
    const nonce = newNonce(systemRandom)
    expect(nonce).toMatch(/^[A-Za-z0-9_-]{22}$/)
    expect(Buffer.from(nonce, 'base64url').toString('base64url')).toBe(nonce)
    expect(new Set(Array.from({ length: 1000 }, () => newNonce(systemRandom))).size).toBe(1000)
  })

  it('replays the same ids from the same seed and others from another', () => {
    const ids = (seed: string) =>
      Array.from(
        { length: 5 },
        (
          (random) => () =>
            newUuid(random, 1)
        )(createSeededRandom(seed)),
      )
    expect(ids('a')).toEqual(ids('a'))
    expect(ids('a')).not.toEqual(ids('b'))
  })

  it('leaves nothing of a scrubbed secret', () => {
    const secret = Buffer.from('the secret')
    scrub(secret)
    expect(secret).toEqual(Buffer.alloc(10))
  })
})
