/** What doctor says of the second person: red where they could not stop this tonight, amber where nobody has tried it for long. */
import { expect, it } from 'vitest'
import { judgeContact } from '../../../../hub/edge/doctor/contact.ts'
import type { Told } from '../../../../hub/edge/routes/contact.ts'
import type { Card } from '../../../../hub/guard/operator/contact.ts'

const DAY = 24 * 3_600_000
const NOW = 1000 * DAY
const ID = '0123456789ab'
const card = (over: Partial<Card> = {}): Card => ({
  id: ID,
  name: 'Bea',
  operator: 'Ada',
  madeAtMs: NOW - 2 * DAY,
  expiresAtMs: null,
  testedAtMs: NOW - DAY,
  confirmedAtMs: NOW - DAY,
  usedAtMs: null,
  reachedAtMs: NOW - DAY,
  ...over,
})
const KNOWN: Told = { told: true, card: { id: ID }, publicUrl: null, reachedAtMs: null }
const judge = (
  of: Card | undefined,
  watchdog: Told = KNOWN,
  publicUrl: string | undefined = 'https://hub.example.net',
) => judgeContact({ card: of, watchdog, publicUrl, hasHubStop: true }, NOW).map(({ name, ok }) => [name, ok])

const GREEN = [
  ['contact', true],
  ['contact at the watchdog', true],
  ['stop address', true],
  ['hub-stop', true],
]
const but = (name: string, ok: boolean | null) => GREEN.map((row) => (row[0] === name ? [name, ok] : row))

it.each<[string, unknown[], unknown[]]>([
  ['all is well', judge(card()), GREEN],
  ['nobody is named', judge(undefined), [['contact', null]]],
  ['no code was read out yet', judge(card({ confirmedAtMs: null })), but('contact', null)],
  ['180 days ago', judge(card({ confirmedAtMs: NOW - 180 * DAY })), GREEN],
  ['181 days ago', judge(card({ confirmedAtMs: NOW - 181 * DAY })), but('contact', null)],
  ['the card has expired', judge(card({ expiresAtMs: NOW })), but('contact', false)],
  ['the card has a minute left', judge(card({ expiresAtMs: NOW + 60_000 })), GREEN],
  ['the watchdog is away', judge(card(), { told: false, reason: 'no socket' }), but('contact at the watchdog', false)],
  [
    'the watchdog has another card',
    judge(card(), { ...KNOWN, card: { id: 'f'.repeat(12) } }),
    but('contact at the watchdog', false),
  ],
  ['the watchdog has none', judge(card(), { ...KNOWN, card: null }), but('contact at the watchdog', false)],
  [
    'no address',
    judgeContact({ card: card(), watchdog: KNOWN, publicUrl: undefined, hasHubStop: true }, NOW).map(({ name, ok }) => [
      name,
      ok,
    ]),
    but('stop address', false),
  ],
  [
    'no hub-stop for every account (fault C18)',
    judgeContact({ card: card(), watchdog: KNOWN, publicUrl: 'https://hub.example.net', hasHubStop: false }, NOW).map(
      ({ name, ok }) => [name, ok],
    ),
    but('hub-stop', null),
  ],
  ['never reached', judge(card({ reachedAtMs: null })), but('stop address', false)],
  ['reached 35 days ago', judge(card({ reachedAtMs: NOW - 35 * DAY })), GREEN],
  ['reached 36 days ago', judge(card({ reachedAtMs: NOW - 36 * DAY })), but('stop address', false)],
  [
    "the watchdog's own address was reached",
    judge(card({ reachedAtMs: null }), { ...KNOWN, publicUrl: 'https://stop.example.net', reachedAtMs: NOW - DAY }),
    GREEN,
  ],
])('S1-31: the contact in doctor: %s [contact-26, contact-27]', (_, found, expected) => {
  expect(found).toEqual(expected)
})

it('each that is not green says what mends it', () => {
  const all = [
    judgeContact({ card: undefined, watchdog: KNOWN, publicUrl: undefined, hasHubStop: false }, NOW),
    judgeContact(
      {
        card: card({ confirmedAtMs: null, reachedAtMs: null }),
        watchdog: { told: false },
        publicUrl: undefined,
        hasHubStop: false,
      },
      NOW,
    ),
  ]
  for (const { ok, detail, mend } of all.flat())
    expect([ok === true, detail.length > 10, mend.length > 5]).toEqual([false, true, true])
})
