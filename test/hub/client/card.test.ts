/** The backup contact's card: the five steps in their order, a code that other means can read, and nothing fetched from anywhere. */
import jsQR from 'jsqr'
import { describe, expect, it } from 'vitest'
import { type CardFacts, cardPage, cardSteps, cardText, urlOf } from '../../../hub/client/cli/stopping/card.ts'
import { dateWords, spanInWords } from '../../../hub/client/cli/stopping/contact.ts'

const FACTS: CardFacts = {
  words: 'able bacon cabin dad eager fabric gain habit icon jar keen label'.split(' '),
  address: 'https://stop.example.net',
  contact: 'Bea',
  operator: 'Ada',
  phone: '+49 30 1234',
  lastResort: '',
  stopsAfter: '2 days 2 hours',
  command: 'hub-stop',
  id: '0123456789ab',
  madeAt: 'Tuesday 24 November 2026, 09:00 CET',
}
const textOf = (html: string) =>
  html
    .replace(/<head>[\s\S]*<\/head>/, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')

describe('the card', () => {
  it('S1-32: says its five steps in this order, in plain words, on the terminal and on paper [contact-28, contact-32]', () => {
    const steps = cardSteps(FACTS).map(({ strong, text }) => `${strong} ${text}`)
    expect(steps).toEqual([
      'You need not hurry. Nothing new starts, and it stops by itself 2 days 2 hours after Ada was last there. A message to you names the day.',
      'Call Ada, +49 30 1234. Ask Ada to check in; then nothing else is needed.',
      'To stop now: scan the code, press the red button, and wait for “everything has stopped”. Without a camera: open https://stop.example.net/stop and type the 12 words.',
      'No answer within 2 minutes: at the machine open a terminal (Ctrl, Alt and T together, or “Terminal” among the programs), type hub-stop, press Enter, then type the 12 words. Or switch it off (hold its power button down for ten seconds): that is allowed and harms nothing.',
      'Do not switch it on again. Ada does that.',
    ])
    const [text, page] = [cardText(FACTS), textOf(cardPage(FACTS))]
    let [inText, inPage] = [0, 0]
    for (const [at, { strong }] of cardSteps(FACTS).entries()) {
      inText = text.indexOf(`${at + 1}. ${strong}`, inText)
      inPage = page.indexOf(strong, inPage)
      expect(Math.min(inText, inPage), strong).toBeGreaterThan(0)
    }
    for (const jargon of ['agent', 'container', 'hub ', 'session', 'token', 'watchdog', 'docker', 'daemon'])
      expect(page.toLowerCase().replaceAll('hub-stop', ''), jargon).not.toContain(jargon)
    for (const [at, word] of FACTS.words.entries()) expect(page).toContain(`${at + 1} ${word}`)
  })

  it('without an address, a number, a date or a sentence of their own it still says what to do [contact-29, contact-31]', () => {
    const bare = {
      ...FACTS,
      address: null,
      phone: '',
      stopsAfter: null,
      lastResort: 'Or pull the plug behind the door.',
      command: 'hub-stop 7411 7410',
    }
    const steps = cardSteps(bare).map(({ strong, text }) => `${strong} ${text}`)
    expect(steps[0]).toBe('You need not hurry. Nothing new starts, and it stops by itself when nobody looks after it.')
    expect(steps[1]).toMatch(/^Call Ada\. /)
    expect(steps[2]).toBe(
      'To stop now: go to the machine. Open a terminal (Ctrl, Alt and T together, or “Terminal” among the programs), type hub-stop 7411 7410, press Enter, then type the 12 words. Wait for “everything has stopped”.',
    )
    expect(steps[3]).toBe('If that does not work within 2 minutes: Or pull the plug behind the door.')
    expect(cardSteps({ ...bare, lastResort: '' })[3]?.text).toBe(
      'Switch it off (hold its power button down for ten seconds): that is allowed and harms nothing.',
    )
    expect(cardPage(bare)).not.toContain('<svg')
  })

  it('fault C18: holds no day but the one on which it was made, which no heartbeat moves', () => {
    const days = /\b(mon|tues|wednes|thurs|fri|satur|sun)day\b|\b20\d\d\b/gi
    for (const shown of [cardText(FACTS), textOf(cardPage(FACTS))])
      expect(shown.replace(FACTS.madeAt, '').match(days), shown).toBeNull()
  })

  it('its code is read by other means than it was made, as printed and as shown on a terminal [contact-2, contact-30]', () => {
    const url = urlOf(FACTS)
    expect(url).toBe(`https://stop.example.net/stop/${FACTS.words.join('-')}`)
    const page = cardPage(FACTS)
    const size = Number(/viewBox="0 0 (\d+) \d+" shape/.exec(page)?.[1])
    const dark = new Set([...page.matchAll(/M(\d+) (\d+)h1v1h-1z/g)].map(([, x, y]) => `${x} ${y}`))
    expect(read(size, (x, y) => dark.has(`${x} ${y}`))).toBe(url)
    const rows = cardText(FACTS)
      .split('\n')
      .filter((line) => /^[█▀▄ ]{20,}$/.test(line))
    const isLight = (x: number, y: number) => {
      const sign = rows[Math.floor(y / 2)]?.[x] ?? ' '
      return sign === '█' || sign === (y % 2 === 0 ? '▀' : '▄')
    }
    expect(read(rows[0]?.length ?? 0, (x, y) => !isLight(x, y))).toBe(url)
  })

  it('fetches nothing, runs nothing, and shows names as text', () => {
    const page = cardPage({
      ...FACTS,
      contact: '<script>alert(1)</script>',
      operator: 'A & "B"',
      lastResort: '<img>',
    })
    expect(page).not.toMatch(/<script|<img|<link|src=|@import|url\(|\bon\w+=/)
    expect(page.replaceAll('https://stop.example.net', '')).not.toMatch(/https?:/)
    expect(page).toContain("default-src 'none'")
    expect(page).toContain('&#60;script&#62;')
  })

  it('S1-32: dates carry weekday, zone and year, spans are words', () => {
    expect(dateWords(Date.UTC(2026, 10, 26, 10), 'Europe/Berlin')).toBe('Thursday, 26 November 2026, 11:00 CET')
    expect([50 * 3_600_000, 3_600_000, 24 * 3_600_000, 90_000, 1].map(spanInWords)).toEqual([
      '2 days 2 hours',
      '1 hour',
      '1 day',
      '2 minutes',
      'minutes',
    ])
  })
})

/** Draws it, eight points a module, and reads it back. */
function read(size: number, isDark: (x: number, y: number) => boolean): string | undefined {
  const scale = 8
  const side = size * scale
  const pixels = new Uint8ClampedArray(side * side * 4).fill(255)
  for (let y = 0; y < side; y += 1)
    for (let x = 0; x < side; x += 1)
      if (isDark(Math.floor(x / scale), Math.floor(y / scale)))
        pixels.fill(0, (y * side + x) * 4, (y * side + x) * 4 + 3)
  const decode = jsQR as unknown as { default?: typeof jsQR } & typeof jsQR
  return (decode.default ?? decode)(pixels, side, side)?.data
}
