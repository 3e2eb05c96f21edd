/** Which user a session gets (fault F14), and who on this machine may stand in the range. */
import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { type AccountSource, holdersOf, requireFreeUsers } from '../../../../hub/work/sandbox/host-accounts.ts'
import {
  canaryUser,
  FIRST_USER,
  isUser,
  mayBegin,
  nextUser,
  SESSION_USERS,
  USERS,
  userOf,
} from '../../../../hub/work/sandbox/users.ts'

const anyFirst = fc.integer({ min: 1000, max: 60_000 })

test('the next user is of the range, held by nobody and never the canarys; there is none only where all are held', () => {
  fc.assert(
    fc.property(
      anyFirst,
      fc.array(fc.nat(SESSION_USERS + 20)),
      fc.option(fc.nat(SESSION_USERS + 20)),
      (first, offsets, at) => {
        const held = offsets.map((offset) => first + offset)
        const next = nextUser(first, held, at === null ? null : first - 10 + at)
        const isFull = new Set(offsets.filter((offset) => offset < SESSION_USERS)).size === SESSION_USERS
        if (next === undefined) return isFull
        return next >= first && next < first + SESSION_USERS && !held.includes(next) && next !== canaryUser(first)
      },
    ),
  )
  const all = Array.from({ length: SESSION_USERS }, (_, at) => FIRST_USER + at)
  expect(nextUser(FIRST_USER, all, null)).toBeUndefined()
  expect(nextUser(FIRST_USER, all.slice(1), FIRST_USER + 7)).toBe(FIRST_USER)
})

test('a user rests as long as it can: as many sessions one after the other as there are users have one each', () => {
  let last: number | null = null
  const seen = new Set<number>()
  for (let session = 0; session < SESSION_USERS; session += 1) {
    last = nextUser(FIRST_USER, [], last) ?? null
    seen.add(last as number)
  }
  expect(seen.size).toBe(SESSION_USERS)
  expect(nextUser(FIRST_USER, [], last)).toBe(FIRST_USER)
})

test.each([
  ['60928:60928', 60_928],
  ['1000:1000', 1000],
  ['999:999', undefined],
  ['0:0', undefined],
  ['65534:65534', undefined],
  ['65535:65535', undefined],
  ['60928:60929', undefined],
  ['060928:060928', undefined],
  ['60928', undefined],
  ['agent:agent', undefined],
  ['', undefined],
  [undefined, undefined],
])('%s is the user %s', (text, id) => {
  expect(userOf(text)).toBe(id)
  if (id !== undefined) expect(isUser(id)).toBe(true)
})

test.each([
  [FIRST_USER, true],
  [1000, true],
  [999, false],
  [0, false],
  [65_279, false],
  [65_278, true],
  [65_535, false],
  [65_536, true],
  [2 ** 31 - USERS, true],
  [2 ** 31 - USERS + 1, false],
  [1000.5, false],
])('a range that begins at %s may be: %s', (first, isGood) => expect(mayBegin(first)).toBe(isGood))

describe('accounts of this machine in the range', () => {
  const source = (files: Record<string, string>): AccountSource => ({
    named: (kind) => files[kind] ?? '',
    subordinate: (kind) => files[kind] ?? '',
  })
  it.each([
    ['nobody', {}, []],
    ['others', { passwd: 'root:x:0:0::/:/x\nlow:x:1999:1::/:/x\nhigh:x:2256:1::/:/x\n' }, []],
    ['the first id', { passwd: 'alice:x:2000:1::/:/x\n' }, ['account alice (2000)']],
    ['the last id', { passwd: 'bob:x:2255:1::/:/x' }, ['account bob (2255)']],
    ['a group', { group: 'staff:x:2100:alice' }, ['group staff (2100)']],
    ['lent to containers', { subuid: 'alice:2200:65536' }, ['/etc/subuid of alice (2200 to 67735)']],
    ['lent beside it', { subuid: 'alice:2256:10\nbob:1000:1000' }, []],
    ['no such lines', { passwd: '+::::::\n# x\n:::2000', subuid: '::\nx' }, []],
  ])('%s', (_, files, holders) => {
    expect(holdersOf(2000, source(files))).toEqual(holders)
    const require = () => requireFreeUsers(2000, source(files))
    if (holders.length === 0) expect(require).not.toThrow()
    else
      expect(require).toThrow(
        expect.objectContaining({ code: 'config_invalid', message: expect.stringContaining(holders[0] ?? '') }),
      )
  })

  it('are looked up on this machine by name: the range as shipped has none, and that of root has root', () => {
    expect(holdersOf(FIRST_USER)).toEqual([])
    expect(holdersOf(0)).toContain('account root (0)')
  })
})
