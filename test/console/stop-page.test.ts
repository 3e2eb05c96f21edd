/** The backup contact's page in a real browser: a phone, no JavaScript, hub up and hub dead (S1-31, S1-32). */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cardPage } from '../../hub/client/cli/stopping/card.ts'
import { BROWSER, openBrowser, openPhone } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'
import { cardOf, OTHER, scene as openScene, WORDS } from '../support/stop-scene.ts'

/** Where a person who works on the page finds what the browser saw. */
const PICTURES = process.env.HUB_TEST_PICTURES
let browser: Browser
beforeAll(async () => {
  if (PICTURES !== undefined) mkdirSync(PICTURES, { recursive: true })
  if (BROWSER !== undefined) browser = await openBrowser()
})
afterAll(() => browser?.close())

const picture = async (page: Page, name: string) => {
  if (PICTURES !== undefined) await page.screenshot({ path: join(PICTURES, `${name}.png`) })
}
/** Runs in the browser. */
const pictureOf = (node: unknown): string =>
  (globalThis as unknown as { getComputedStyle(of: unknown): { backgroundImage: string } }).getComputedStyle(node)
    .backgroundImage
const headline = (page: Page) => page.locator('h1').textContent()

describe.skipIf(BROWSER === undefined)(
  'the stop page on a phone without JavaScript (needs chromium: scripts/browser up)',
  () => {
    it('S1-32: with the hub dead, at the watchdog: a button, how far it is, everything has stopped, already stopped [contact-11, contact-12]', async () => {
      const s = await openScene()
      await s.contact({ action: 'set', ...cardOf(WORDS) })
      const phone = await openPhone(browser)
      const { page } = phone
      try {
        await page.goto(`http://127.0.0.1:${s.port}/stop/${WORDS}`)
        const button = page.getByRole('button')
        expect(await button.count()).toBe(1)
        const box = await button.boundingBox()
        // Large, and whole on a small screen without scrolling.
        expect(box?.width).toBeGreaterThan(200)
        expect((box?.y ?? 0) + (box?.height ?? 0)).toBeLessThan(667)
        expect(await button.evaluate(pictureOf)).toContain('rgb(200, 16, 46)')
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(375)
        await picture(page, 'ask')
        expect(s.stops).toEqual([])

        await button.tap()
        await page.getByText('Stopping: 0 of 12 confirmed').waitFor()
        for (const id of [...s.engine.present.keys()].slice(0, 7)) s.engine.present.delete(id)
        await page.getByText('Stopping: 7 of 12 confirmed').waitFor()
        await picture(page, 'stopping')
        s.finish()
        await page.getByText('Everything has stopped').waitFor()
        expect(await page.locator('main').textContent()).toContain(
          'Stopped. Nothing was deleted. If this was a mistake, tell Ada; it can be started again.',
        )
        await picture(page, 'stopped')
        await page.goBack()
        await page.goto(`http://127.0.0.1:${s.port}/stop`)
        await page.getByRole('textbox').fill(WORDS.toUpperCase().replaceAll('-', ' '))
        await page.getByRole('button').tap()
        await expect.poll(() => headline(page)).toBe('It was already stopped')
        expect(s.stops).toHaveLength(1)
        expect(phone.elsewhere).toEqual([])
      } finally {
        await phone.close()
        s.close()
      }
    })

    it('S1-32: with the hub up, at the hub: the words are typed, the button pressed, and it follows to the end [contact-12]', async () => {
      const port = await freePort()
      await using h = await createHarness({
        agents: { a: { script: puppet, stubborn: true } },
        config: { http: { port } },
      })
      await h.bring('a', 'a', 'a')
      const { body } = await h.operator('POST', '/v1/contact/card', { name: 'Bea', operator: 'Ada' })
      const words = String(body.words)
      const phone = await openPhone(browser, 'dark')
      const { page } = phone
      // Time goes on as long as the browser works; `leftMs` ends it for a while.
      let works = true
      let leftMs = Number.POSITIVE_INFINITY
      const time = (async () => {
        while (works) {
          if (leftMs > 0) await h.clock.advance(20)
          leftMs -= 20
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
      })()
      try {
        await page.goto(`http://127.0.0.1:${port}/stop`)
        await picture(page, 'type-dark')
        await page.getByRole('textbox').fill(OTHER)
        await page.getByRole('button').tap()
        await expect.poll(() => headline(page)).toBe('These are not the words of the card')
        await picture(page, 'refused-dark')
        await page.getByRole('link').tap()
        await page.getByRole('textbox').fill(words.replaceAll('-', '\n'))
        // Less than the grace of the stubborn ones, so that the page has time to show it.
        leftMs = 1000
        await page.getByRole('button').tap()
        await page
          .getByText(/^Stopping/)
          .first()
          .waitFor()
        leftMs = Number.POSITIVE_INFINITY
        await page.getByText('Everything has stopped').waitFor()
        await picture(page, 'stopped-dark')
        expect(h.engine.containers.size).toBe(0)
        expect(h.hub.guard.modes.has('emergency_stop')).toBe(true)
        expect(phone.elsewhere).toEqual([])
      } finally {
        works = false
        await time
        await phone.close()
      }
    })

    it('where something is left the page says so, and what may be done', async () => {
      const s = await openScene()
      await s.contact({ action: 'set', ...cardOf(WORDS) })
      for (const id of [...s.engine.present.keys()].slice(0, 2)) s.engine.stubborn.add(id)
      const phone = await openPhone(browser)
      try {
        await phone.page.goto(`http://127.0.0.1:${s.port}/stop/${WORDS}`)
        await phone.page.getByRole('button').tap()
        await expect.poll(() => s.stops.length).toBe(1)
        s.finish()
        await expect.poll(() => s.engine.present.size).toBe(2)
        s.clock.move(46_000)
        await phone.page.getByText('10 of 12 are confirmed to have stopped').waitFor()
        expect(await phone.page.locator('main').textContent()).toContain('switch the machine off')
        await picture(phone.page, 'failed')
      } finally {
        await phone.close()
        s.close()
      }
    })

    it('S1-32: the card fits on one sheet of paper, its code and its words large [contact-33]', async () => {
      const context = await browser.newContext({ javaScriptEnabled: false, viewport: { width: 900, height: 1200 } })
      try {
        const page = await context.newPage()
        const words = WORDS.split('-')
        const facts = { operator: 'Ada Lovelace', contact: 'Bea', phone: '+49 30 1234567', lastResort: '', words }
        const rest = {
          stopsAfter: '2 days 2 hours',
          id: '0123456789ab',
        }
        const address = 'https://stop.example.net'
        await page.setContent(
          cardPage({ ...facts, ...rest, address, command: 'hub-stop', madeAt: 'Tuesday, 24 November 2026' }),
        )
        const code = await page.locator('svg').boundingBox()
        expect(code?.width).toBeGreaterThan(180)
        expect(await page.locator('.words li').allTextContents()).toEqual(words.map((word, at) => `${at + 1}${word}`))
        const sheet = (await page.pdf({ format: 'A4' })).toString('latin1')
        expect(sheet.match(/\/Type\s*\/Page\b/g)).toHaveLength(1)
        await picture(page, 'card')
      } finally {
        await context.close()
      }
    })
  },
)
