/** The backup contact at the watchdog, which accepts the card by itself: the kept card, the stop, and its page over a real port. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import {
  cardIdOf as hubCardIdOf,
  digestOfWords as hubDigestOf,
  typedWords as hubTypedWords,
} from '../../hub/protocol/card-words.ts'
import { pathsOf } from '../../watchdog/base/home.ts'
import { parseConfig } from '../../watchdog/config/config.ts'
import { cardIdOf, digestOfWords, openContact, typedWords } from '../../watchdog/door/contact-card.ts'
import { cardOf, OTHER, WORDS } from '../support/stop-scene.ts'
import { makeHome } from '../support/watchdog-home.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close()
})
function homeOf() {
  const home = makeHome()
  closers.push(() => home.remove())
  return pathsOf(home.home)
}

it('reads and digests the words exactly as the hub does, which shares no code with it [contact-1]', () => {
  for (const text of [
    WORDS,
    ` 1. ${WORDS.toUpperCase().replaceAll('-', '\n 2) ')}!`,
    `${WORDS}-more`,
    'x',
    '',
    'é'.repeat(40),
    'a'.repeat(301),
  ])
    expect(typedWords(text) ?? undefined).toBe(hubTypedWords(text))
  expect(digestOfWords(WORDS)).toBe(hubDigestOf(WORDS))
  expect(cardIdOf(digestOfWords(WORDS))).toBe(hubCardIdOf(hubDigestOf(WORDS)))
})

describe('the kept card', () => {
  it('S1-31: only its digest is in the file, which is private and survives a restart [contact-3]', () => {
    const paths = homeOf()
    const file = openContact(paths.contact, 1)
    expect(file.judge(WORDS, 5)).toEqual({ kind: 'refused', reason: 'these words belong to no card' })
    file.set(cardOf(WORDS))
    expect(statSync(paths.contact).mode & 0o777).toBe(0o600)
    expect(readFileSync(paths.contact, 'utf8')).not.toContain('bacon')
    expect(openContact(paths.contact, 1).judge(WORDS, 5).kind).toBe('accepted')
    expect(readdirSync(paths.own).filter((name) => name.includes('new'))).toEqual([])
  })

  it('another card ends the one before; what was revoked here is never taken again; an expired one is refused [contact-5, contact-25]', () => {
    const paths = homeOf()
    const file = openContact(paths.contact, 1)
    file.set(cardOf(WORDS))
    expect(file.set(cardOf(OTHER, 100))).toBe(true)
    const id = cardIdOf(digestOfWords(WORDS))
    expect(file.judge(WORDS, 5)).toEqual({ kind: 'refused', reason: `card ${id} was revoked` })
    expect(file.judge(OTHER, 99).kind).toBe('accepted')
    expect(file.judge(OTHER, 100)).toMatchObject({ reason: expect.stringMatching(/has expired$/) })
    file.revoke()
    const again = openContact(paths.contact, 1)
    expect([again.card(), again.set(cardOf(OTHER)), again.judge(OTHER, 5).kind]).toEqual([null, false, 'refused'])
  })

  it.each([
    '',
    '{',
    '[]',
    '{"version":2}',
    '{"version":1,"card":{"digest":"x"},"revoked":[],"usedAtMs":null,"reachedAtMs":null}',
  ])(
    'a file that cannot be understood accepts nothing, is kept aside, and is written anew with the next card: %j',
    (text) => {
      const paths = homeOf()
      writeFileSync(paths.contact, text)
      const file = openContact(paths.contact, 77)
      expect([file.damaged, file.judge(WORDS, 5).kind]).toEqual([`${paths.contact}.corrupt-77`, 'refused'])
      expect(readFileSync(`${paths.contact}.corrupt-77`, 'utf8')).toBe(text)
      file.set(cardOf(WORDS))
      expect([file.damaged, openContact(paths.contact, 1).judge(WORDS, 5).kind]).toEqual([null, 'accepted'])
    },
  )

  it('a card that the disk did not take does not count', () => {
    const paths = homeOf()
    const file = openContact(paths.contact, 1)
    mkdirSync(`${paths.contact}.new`)
    expect(() => file.set(cardOf(WORDS))).toThrow()
    expect(file.judge(WORDS, 5).kind).toBe('refused')
  })
})

it.each([
  { reach: { publicUrl: 'ftp://x' } },
  { reach: { publicUrl: 'https://x/y' } },
  { reach: { hosts: ['https://x'] } },
  { reach: { hosts: 'x' } },
  { reach: { trustedProxy: 'yes' } },
  { reach: { url: 'x' } },
])('a reach that leads nowhere stops the start: %j', (config) => {
  expect(() => parseConfig(config)).toThrow(/reach\./)
})
