/** The stop page at the watchdog, over a real port and its socket. */
import { afterEach, describe, expect, it } from 'vitest'
import { cardIdOf, digestOfWords } from '../../watchdog/door/contact-card.ts'
import { FORM, onceOf } from '../support/plain-http.ts'
import { cardOf, OTHER, scene as openScene, WORDS } from '../support/stop-scene.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})
const scene: typeof openScene = async (config, kept) => {
  const opened = await openScene(config, kept)
  closers.push(opened.close)
  return opened
}
const word = (page: { headers: Record<string, unknown> }) => String(page.headers['hub-stop'])

describe('the page', () => {
  it('S1-31: stops by POST alone and once, shows how far it is, and works again once the operator has resumed (T19) [contact-8, contact-17]', async () => {
    const s = await scene()
    await s.contact({ action: 'set', ...cardOf(WORDS) })
    const path = `/stop/${WORDS}`
    for (const method of ['GET', 'HEAD']) expect(word(await s.ask(method, path))).toBe('ask')
    for (const headers of [{ 'sec-purpose': 'prefetch' }, { 'x-moz': 'prefetch' }])
      expect(word(await s.press(path, headers))).toBe('ask')
    expect(s.stops).toEqual([])

    expect(word(await s.press(path))).toBe('stopping 0 12')
    for (const id of [...s.engine.present.keys()].slice(0, 7)) s.engine.present.delete(id)
    expect((await s.ask('GET', path)).text).toContain('Stopping: 7 of 12 confirmed')
    expect(word(await s.press(path))).toBe('stopping 7 12')
    s.finish()
    await expect.poll(async () => word(await s.ask('GET', path))).toBe('stopped 12 12')
    expect((await s.ask('GET', path)).text).toContain(
      'Stopped. Nothing was deleted. If this was a mistake, tell Ada; it can be started again.',
    )
    expect((await s.press(path)).text).toContain('Already stopped')
    expect(s.stops).toEqual([expect.stringMatching(/^the backup contact pressed stop \(card [0-9a-f]{12}\)$/)])
    s.resume()
    expect(word(await s.ask('GET', path))).toBe('ask')
    expect(s.logged.join()).not.toContain('bacon')
  })

  it('S1-32: it says that everything has stopped only when the engine shows nothing, and pressing again tries again [contact-15, contact-18]', async () => {
    const s = await scene()
    await s.contact({ action: 'set', ...cardOf(WORDS) })
    const [stuck = ''] = s.engine.present.keys()
    s.engine.stubborn.add(stuck)
    const path = `/stop/${WORDS}`
    await s.press(path)
    s.finish()
    await expect.poll(async () => word(await s.ask('GET', path))).toBe('stopping 11 12')
    // The rounds after it try again; only when they have had their time is it called a failure.
    s.clock.move(44_000)
    expect(word(await s.ask('GET', path))).toBe('stopping 11 12')
    s.clock.move(2000)
    expect(word(await s.ask('GET', path))).toBe('failed 11 12')
    s.engine.down = true
    expect(word(await s.ask('GET', path))).toBe('failed 0 0')
    expect((await s.ask('GET', path)).text).toContain('switch the machine off')
    s.engine.down = false
    s.engine.stubborn.clear()
    await s.press(path)
    s.finish()
    await expect.poll(async () => word(await s.ask('GET', path))).toBe('stopped 1 1')
    expect(s.stops).toHaveLength(2)
  })

  it('T16, T17: wrong words get one constant page, five hundred of them are counted and not listed, and the right ones stop [watch-15, contact-21]', async () => {
    const s = await scene()
    await s.contact({ action: 'set', ...cardOf(OTHER) })
    await s.contact({ action: 'set', ...cardOf(WORDS) })
    const pages = []
    for (const path of [
      OTHER,
      WORDS.toUpperCase(),
      `${WORDS}/`,
      WORDS.replace('a', '%61'),
      '',
      `${WORDS}-x`,
      'constructor',
      `a/../${WORDS}`,
    ])
      for (const method of ['GET', 'POST']) pages.push(await s.ask(method, `/stop/${path}`))
    pages.push(await s.ask('POST', '/stop', { 'content-type': 'application/x-www-form-urlencoded' }, `words=${OTHER}`))
    expect(new Set(pages.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
    expect(pages[0]?.status).toBe(403)
    expect(s.own()).toEqual([])
    for (let batch = 0; batch < 20; batch += 1)
      await Promise.all(Array.from({ length: 25 }, () => s.ask('POST', `/stop/${OTHER}`)))
    expect(s.logged.length).toBeLessThan(4)
    expect(s.own().map(([id]) => id)).toEqual(['contact_guessing'])
    s.clock.move(3_600_000)
    expect(s.own(), 'an hour later it is over').toEqual([])
    expect(s.stops).toEqual([])
    const typed = ` 1 ${WORDS.replaceAll('-', '  ')}`.toUpperCase()
    await s.press('/stop', {}, { words: typed })
    expect(s.stops).toHaveLength(1)
  })

  it("fault C30: a program that posts to the address stops nothing, whatever it sends; only the page's own one-time field does, and once [contact-9]", async () => {
    const s = await scene()
    await s.contact({ action: 'set', ...cardOf(WORDS) })
    const path = `/stop/${WORDS}`
    const stranger = 'a'.repeat(64)
    const bodies = [
      undefined,
      '',
      'stop=1',
      `words=${WORDS}`,
      'once=',
      `once=${stranger}`,
      `once=${stranger}&once=${stranger}`,
    ]
    for (const body of bodies)
      for (const headers of [{}, { origin: `http://localhost:${s.port}` }]) {
        const page = await s.ask('POST', path, body === undefined ? headers : { ...FORM, ...headers }, body)
        expect([page.status, word(page), onceOf(page.text)], body).toEqual([
          200,
          'ask',
          expect.stringMatching(/^[0-9a-f]{64}$/),
        ])
      }
    // Malformed words of a client are wrong words.
    for (const body of ['act=stop', `act=stop&challenge=${stranger}&proof=${stranger}`, 'act=press'])
      expect((await s.ask('POST', path, FORM, body)).status).toBe(403)
    expect(s.stops).toEqual([])
    // A page that was left lying shows the button again where its field is not good any more.
    const once = onceOf((await s.ask('GET', path)).text)
    expect(word(await s.ask('POST', path, FORM, `once=${once}`))).toBe('stopping 0 12')
    s.finish()
    await expect.poll(async () => word(await s.ask('GET', path))).toBe('stopped 12 12')
    s.resume()
    expect(word(await s.ask('POST', path, FORM, `once=${once}`)), 'used up').toBe('ask')
    expect(s.stops).toHaveLength(1)
  })

  it('a card that could not be read is told to the operator until there is one again [watch-15]', async () => {
    const s = await scene({}, '{"version":2}')
    expect(s.own().map(([id]) => id)).toEqual(['contact_damaged'])
    await s.contact({ action: 'set', ...cardOf(WORDS) })
    expect(s.own()).toEqual([])
  })

  it('T33: names of reach lead to the stop page and nowhere else, and a page of another origin does not', async () => {
    const s = await scene({ reach: { publicUrl: 'https://Stop.example.net', hosts: ['10.1.2.3:7301'] } })
    await s.contact({ action: 'set', ...cardOf(WORDS) })
    const status = async (path: string, headers: Record<string, string>) => (await s.ask('GET', path, headers)).status
    for (const host of ['10.1.2.3:7301', `localhost:${s.port}`]) expect(await status('/stop', { host })).toBe(200)
    expect((await s.contact({ action: 'show' })).reachedAtMs).toBeNull()
    expect(await status('/stop', { host: 'stop.example.net' })).toBe(200)
    expect((await s.contact({ action: 'show' })).reachedAtMs).toBe(s.clock.read().wallMs)
    for (const host of ['evil.example', 'stop.example.net:81']) expect(await status('/stop', { host })).toBe(421)
    for (const path of ['/healthz', '/', '/v1/status', '/stopx'])
      expect(await status(path, { host: 'stop.example.net' })).toBe(421)
    expect(await status('/stop', { origin: 'https://stop.example.net' })).toBe(200)
    expect(await status('/stop', { origin: 'https://evil.example' })).toBe(403)
    expect((await s.ask('PUT', `/stop/${WORDS}`)).status).toBe(405)
    for (const type of ['text/plain', 'application/json', 'multipart/form-data; boundary=x'])
      expect((await s.ask('POST', `/stop/${WORDS}`, { 'content-type': type }, 'x=1')).status).toBe(400)
    expect(
      (await s.ask('POST', `/stop/${WORDS}`, { 'content-type': 'application/x-www-form-urlencoded' }, 'x'.repeat(5000)))
        .status,
    ).toBe(400)
    expect(s.stops).toEqual([])
  })

  it('is told of the card over the socket, shows its side, and refuses what is malformed by name', async () => {
    const s = await scene()
    const set = await s.contact({ action: 'set', ...cardOf(WORDS) })
    expect(set).toMatchObject({
      status: 200,
      revoked: false,
      card: { id: cardIdOf(digestOfWords(WORDS)), name: 'Bea' },
      port: s.port,
    })
    expect(set.stopAtMs).toBe(s.clock.read().wallMs + 3_600_000)
    expect(JSON.stringify(set)).not.toContain(digestOfWords(WORDS))
    expect(await s.contact({ action: 'revoke' })).toMatchObject({ card: null })
    expect(await s.contact({ action: 'set', ...cardOf(WORDS) })).toMatchObject({ revoked: true, card: null })
    for (const bad of [
      {},
      { action: 'toString' },
      { action: 'set' },
      { action: 'set', ...cardOf(WORDS), name: 'a\nb' },
      { action: 'show', x: 1 },
    ])
      expect((await s.contact(bad)).status).toBe(400)
  })
})
