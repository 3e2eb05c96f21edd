/** docs/safety.md 6: every message to the backup contact, word for word, in both languages, and free of the system's own words. */
import { expect, test } from 'vitest'
import { parseConfig } from '../../watchdog/config/config.ts'
import { noticeLetter } from '../../watchdog/tell/notices/letter.ts'
import type { Notice } from '../../watchdog/tell/notices/plan.ts'

const NOW = Date.UTC(2026, 2, 28, 22)
const HOUR = 3_600_000
const configOf = (language: 'en' | 'de', over: object = {}) =>
  parseConfig({
    operator: { name: 'Olga Berg', phone: '+49 30 1234567' },
    contact: {
      name: 'Carl',
      language,
      zone: 'Europe/Berlin',
      channels: [{ kind: 'push', url: 'https://ntfy.example.org/c' }],
    },
    ...over,
  })
const notice = (kind: Notice['kind'], over: Partial<Notice> = {}): Notice => ({
  kind,
  step: kind,
  lastSeenAtMs: NOW - 26 * HOUR,
  nextAtMs: NOW + 24 * HOUR,
  unconfirmed: 0,
  note: '',
  ...over,
})
const write = (language: 'en' | 'de', one: Notice, over: object = {}, nowMs = NOW) => {
  const config = configOf(language, over)
  return noticeLetter({ id: 'n1', notice: one, severity: 'warning', wallMs: NOW }, { instance: 'i', ...config }, nowMs)
}

const ALL: readonly Notice[] = [
  notice('missed'),
  notice('reminder'),
  notice('stopped', { nextAtMs: null }),
  notice('stopped', { nextAtMs: null, unconfirmed: 2 }),
  notice('critical', { nextAtMs: null, lastSeenAtMs: NOW - HOUR }),
  notice('away', { nextAtMs: NOW + 9 * 24 * HOUR, note: 'on the train until Sunday' }),
  notice('paused', { nextAtMs: null }),
  notice('checked_in', { lastSeenAtMs: NOW - 60_000 }),
  notice('all_clear', { lastSeenAtMs: NOW - 5_000, nextAtMs: null }),
  notice('all_clear', { lastSeenAtMs: null, nextAtMs: null }),
  notice('test', { lastSeenAtMs: null, nextAtMs: null, note: '4711' }),
  notice('rehearsal', { lastSeenAtMs: null, nextAtMs: null }),
]

test.each(['en', 'de'] as const)('the messages in %s, word for word [cond-20, contact-34]', async (language) => {
  const text = ALL.map((one) => write(language, one))
    .map(({ subject, text }) => `# ${subject}\n\n${text}`)
    .join('\n----\n\n')
  await expect(text).toMatchFileSnapshot(`contact-letters-${language}.txt`)
})

const JARGON =
  /\b(hub|containers?|lease[ds]?|heartbeats?|tokens?|watchdog|docker|daemon|agents?|agenten|sessions?|process(es)?|prozess|sockets?|servers?|api|cli|safe.?mode|modus|instance|instanz|orphans?|unattended|deadline|kill(ed)?|recycle|undefined|null|NaN)\b/i

test.each(ALL.flatMap((one) => [['en', one] as const, ['de', one] as const]))(
  'no jargon, no link, no gap in %s %o [contact-36]',
  (language, one) => {
    for (const over of [{}, { operator: {} }]) {
      const { subject, text } = write(language, one, over)
      expect(`${subject}\n${text}`).not.toMatch(JARGON)
      expect(`${subject}\n${text}`).not.toMatch(/https?:|:\/\/|www\.|\[|\]|\$\{/)
      expect(`${subject}\n${text}`).not.toMatch(/ {2}|,\s*\.| \./)
    }
  },
)

test('what asks for something says why it came, what has happened, what comes when, that doing nothing is safe, and whom to call [contact-35, alert-29]', () => {
  for (const kind of ['missed', 'reminder'] as const) {
    const { text } = write('en', notice(kind))
    expect(text).toMatch(/Why you get this: /)
    expect(text).toMatch(/What has happened: /)
    // The clock is put forward that night.
    expect(text).toContain('on Monday, 30 March 2026 at 00:00 CEST (in 24 h)')
    expect(text).toMatch(/doing nothing is safe/)
    expect(text).toContain('Whom to call: Olga Berg, +49 30 1234567.')
  }
})

test('the distance is that of the moment of sending, not of raising [contact-35]', () => {
  expect(write('en', notice('missed'), {}, NOW + 4 * HOUR).text).toContain('(in 20 h)')
  expect(write('de', notice('missed'), {}, NOW + 4 * HOUR).text).toContain('(in 20 Std.)')
})

test("the contact's last resort is the sentence of the configuration, where there is one", () => {
  const config = {
    contact: {
      name: 'Carl',
      lastResort: 'Pull the plug of the grey box.',
      channels: [{ kind: 'push', url: 'https://n.example/c' }],
    },
  }
  expect(write('en', notice('missed'), config).text).toContain('Pull the plug of the grey box.')
  expect(write('en', notice('missed')).text).toContain('you may switch the machine off')
})
