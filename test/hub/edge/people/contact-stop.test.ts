/** The stop of the backup contact behind its page: guesses, honesty about what is left, and the page's own rules. */
import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemRandom } from '../../../../hub/base/random.ts'
import { createContactStop, type StopCall, type StopReport } from '../../../../hub/edge/people/contact-stop.ts'
import { type StopView, stopPage } from '../../../../hub/edge/people/stop-page.ts'
import { PROVEN_MS, proofOf } from '../../../../hub/edge/people/stop-proof.ts'
import { OPERATOR } from '../../../../hub/guard/principal.ts'
import { stopPage as watchdogPage } from '../../../../watchdog/door/stop-page.ts'
import { costMs } from '../../../support/fastest.ts'
import { type GuardHome, openGuardHome } from '../../../support/guard-home.ts'
import { onceOf } from '../../../support/plain-http.ts'

let home: GuardHome
beforeEach(() => {
  home = openGuardHome()
})
afterEach(() => home[Symbol.dispose]())

function scene(report: StopReport | Error = { containers: [] }) {
  const { contact, gate, modes } = home.guard
  const told: string[] = []
  let stops = 0
  const contactStop = createContactStop({
    instance: 'i',
    random: systemRandom,
    contact,
    gate,
    modes,
    clock: home.clock,
    begin: (reason) => modes.raise('emergency_stop', reason),
    async stop() {
      stops += 1
      if (report instanceof Error) throw report
      return report
    },
    progress: () => ({ requested: 12, confirmed: 7 }),
    isAnythingLeft: () => false,
    raise: (cause) => void told.push(cause),
  })
  const call = { principal: OPERATOR, operation: 'contact.card', resource: 'contact' } as const
  const { words } = gate.admit(call, (grant) =>
    contact.issue(grant, { name: 'Bea', operator: 'Ada <b>', expiresAtMs: null }),
  )
  const look = { method: 'GET', path: undefined, typed: undefined, once: undefined, client: undefined } as const
  /** As the button does it. */
  const ask = async (over: Partial<StopCall>) => {
    const { html } = await contactStop.answer({ ...look, isPrefetch: false, source: '127.0.0.1' })
    const press = { ...look, method: 'POST', path: words, once: onceOf(html) } as const
    return contactStop.answer({ ...press, isPrefetch: false, source: '127.0.0.1', ...over })
  }
  return { contactStop, words, ask, told, stops: () => stops }
}
const recordsOfStops = () => home.records().filter(({ action }) => action === 'hub.shutdown_asked')

describe('the stop of the backup contact', () => {
  it('T17: ten thousand wrong tries leave a few records and one warning, and the right words still stop at once [contact-21]', async () => {
    const { words, ask, told, stops } = scene()
    const wrong = words.split('-').reverse().join('-')
    let last = await ask({ path: wrong })
    for (let tries = 1; tries < 10_000; tries += 1) {
      last = await ask({ path: wrong, source: `10.0.${tries % 256}.${tries % 13}` })
      if (tries % 100 === 0) await home.clock.advance(1000)
    }
    expect([last.status, last.headers['retry-after']]).toEqual([403, '60'])
    expect(recordsOfStops().length).toBeLessThan(20)
    expect(new Set(told)).toEqual(new Set(['contact_guessing']))
    expect((await ask({})).headers['hub-stop']).toBe('stopped 0 0')
    expect(stops()).toBe(1)
  })

  it('T17: the first wrong tries wait for nothing, and ten minutes without one are enough to begin anew', async () => {
    const { ask } = scene()
    const wait = async () => (await ask({ path: 'x' })).headers['retry-after']
    const waits = []
    for (let tries = 0; tries < 9; tries += 1) waits.push(await wait())
    expect(waits).toEqual([undefined, undefined, undefined, undefined, undefined, '1', '2', '4', '8'])
    await home.clock.advance(600_001)
    expect(await wait()).toBeUndefined()
  })

  it('T16: right and wrong words take the same time to be told apart [contact-21]', async () => {
    const { contact } = home.guard
    const { words } = scene()
    const wrong = words.split('-').reverse().join('-')
    const timeOf = (text: string) =>
      costMs(() => {
        for (let turn = 0; turn < 5000; turn += 1) contact.judge(text)
      })
    await timeOf(words)
    const pairs: number[] = []
    for (let turn = 0; turn < 7; turn += 1) pairs.push((await timeOf(words)) / (await timeOf(wrong)))
    pairs.sort((a, b) => a - b)
    // A smoke test: the median of pairs of processor time.
    expect(pairs[3]).toBeGreaterThan(0.3)
    expect(pairs[3]).toBeLessThan(3)
  })

  it.each<[string, StopReport | Error, string]>([
    ['all are gone', { containers: [{ outcome: 'gone' }, { outcome: 'already_gone' }] }, 'stopped 2 2'],
    ['one is still there', { containers: [{ outcome: 'gone' }, { outcome: 'failed' }] }, 'failed 1 2'],
    ['the engine shows nothing', { containers: [{ outcome: 'gone' }], unproven: 'no engine' }, 'failed 1 1'],
    ['the stop itself failed', new Error('no disk'), 'failed 0 0'],
  ])(
    'S1-32: it says that everything has stopped only when it was confirmed: %s [contact-15]',
    async (_, report, word) => {
      const { ask } = scene(report)
      expect((await ask({})).headers['hub-stop']).toBe(word)
      expect((await ask({ method: 'GET' })).headers['hub-stop']).toBe(word)
    },
  )

  it('S1-31: the card stops with a store that cannot be written, and a card revoked meanwhile does not [contact-24]', async () => {
    const { ask, stops } = scene()
    home.guard.store.prepare('pragma query_only = on').run()
    expect((await ask({})).headers['hub-stop']).toBe('stopped 0 0')
    expect(stops()).toBe(1)
    expect(home.guard.modes.has('emergency_stop')).toBe(true)
    const call = { principal: OPERATOR, operation: 'contact.revoke', resource: 'contact' } as const
    home.guard.gate.admitStop(call, (grant) => home.guard.contact.revoke(grant))
    expect((await ask({})).status).toBe(403)
  })
})

describe('what a press needs', () => {
  const CHALLENGE = 'c'.repeat(64)
  function client() {
    const { contactStop, stops, ask, words } = scene()
    const key = home.guard.contact.provable()?.key ?? ''
    const say = async (act: 'look' | 'stop', once = '') => {
      const proof = act === 'look' ? proofOf(key, 'look', CHALLENGE) : proofOf(key, 'stop', CHALLENGE, once)
      const said = { act, challenge: CHALLENGE, proof } as const
      const call = { method: 'POST', path: undefined, typed: undefined, once, isPrefetch: false } as const
      return (await contactStop.answer({ ...call, client: said, source: '127.0.0.1' })).headers
    }
    return { contactStop, words, ask, say, stops }
  }
  const onceIn = (headers: Record<string, string>) => headers['hub-stop-once'] ?? ''

  it('fault F13: a proven stop holds for two minutes, a suspend counted, and the answer to one too late brings what the next one names', async () => {
    const { say, stops } = client()
    const once = onceIn(await say('look'))
    home.clock.suspend(PROVEN_MS + 1)
    const late = await say('stop', once)
    expect([late['hub-stop'], stops()]).toEqual(['ask', 0])
    await home.clock.advance(PROVEN_MS)
    expect([(await say('stop', onceIn(late)))['hub-stop'], stops()]).toEqual(['stopped 0 0', 1])
  })

  it("a page's press carries the words and grows no older: a page that lay open for a day stops, and its field tells no time", async () => {
    const { ask, contactStop, stops, words } = client()
    const look = { method: 'GET', path: words, typed: undefined, client: undefined, isPrefetch: false } as const
    const onces = []
    for (let page = 0; page < 2; page += 1)
      onces.push(onceOf((await contactStop.answer({ ...look, once: undefined, source: '127.0.0.1' })).html))
    expect(onces[0]?.slice(0, 8)).not.toBe(onces[1]?.slice(0, 8))
    await home.clock.advance(24 * 3_600_000)
    expect((await ask({ once: onces[0] })).headers['hub-stop']).toBe('stopped 0 0')
    expect(stops()).toBe(1)
  })

  it("fault F13: the field of a page stands in no client's stop, nor a client's in a page", async () => {
    const { ask, say, contactStop, stops, words } = client()
    const look = { method: 'GET', path: words, typed: undefined, client: undefined, isPrefetch: false } as const
    const { html } = await contactStop.answer({ ...look, once: undefined, source: '127.0.0.1' })
    expect((await say('stop', onceOf(html)))['hub-stop']).toBe('ask')
    expect((await ask({ once: onceIn(await say('look')) })).headers['hub-stop']).toBe('ask')
    expect(stops()).toBe(0)
  })
})

const VIEWS: StopView[] = [
  { state: 'ask', operator: 'Ada <b>', once: 'ab', next: '/stop/a-b' },
  { state: 'type', once: 'ab' },
  { state: 'stopping', confirmed: 0, total: 0, next: '/stop/x' },
  { state: 'stopping', confirmed: 7, total: 12, next: '/stop/a-b' },
  { state: 'stopped', confirmed: 12, operator: 'Ada & "Eve"' },
  { state: 'already', confirmed: 12, operator: 'Ada' },
  { state: 'failed', confirmed: 10, total: 12 },
  { state: 'failed', confirmed: 0, total: 0 },
  { state: 'refused' },
]

describe('the page', () => {
  it('is the same at hub and watchdog, to the letter [contact-13]', () => {
    for (const view of VIEWS) expect(watchdogPage(view)).toEqual(stopPage(view))
  })

  it('S1-31: is whole without a script and without anything from elsewhere, and lets nothing else in [contact-11]', () => {
    for (const view of VIEWS) {
      const { headers, html } = stopPage(view)
      expect(html).not.toMatch(/<script|\bon\w+=|src=|https?:|url\(|@import|<link|<img/i)
      const style = /<style>([\s\S]*)<\/style>/.exec(html)?.[1] ?? ''
      const digest = createHash('sha256').update(style).digest('base64')
      expect(headers['content-security-policy']).toBe(
        `default-src 'none'; style-src 'sha256-${digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
      )
      expect(headers['cache-control']).toBe('no-store')
      expect(html).toContain('name="viewport"')
    }
  })

  it('shows one sentence and one red button, names the operator safely, and goes on by itself only while it stops [contact-7, contact-14]', () => {
    const { html } = stopPage({ state: 'ask', operator: 'Ada <b>', once: 'ab', next: '/stop/a-b' })
    const text = html
      .replace(/<head>[\s\S]*<\/head>/, '')
      .replace(/<[^>]*>/g, '')
      .trim()
    expect(text).toBe(
      'Press the red button to stop everything; nothing is deleted, and Ada &#60;b&#62; can start it again.\nStop everything',
    )
    for (const view of VIEWS)
      expect(stopPage(view).html.includes('http-equiv="refresh"')).toBe(view.state === 'stopping')
    expect(stopPage({ state: 'stopping', confirmed: 7, total: 12, next: '/stop/a-b' }).html).toContain(
      'Stopping: 7 of 12 confirmed',
    )
  })
})
