/** Money on the operator's page, in a real browser (S2-30): the day, the nearest limit, a quota that is used up, what a task cost, and the question about more. */
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BROWSER, openBrowser } from '../support/browser.ts'
import { openConsoleScene, openWindow } from '../support/console-scene.ts'
import { puppet } from '../support/hub-harness.ts'
import { callModel, declared, writeKey } from '../support/models/model-call.ts'
import { startModelServer } from '../support/models/model-server.ts'

let browser: Browser
beforeAll(async () => {
  if (BROWSER !== undefined) browser = await openBrowser()
})
afterAll(() => browser?.close())

const agents = {
  lead: { script: puppet, card: { may: { egress: ['anthropic'] } }, policy: { egress: ['anthropic'] } },
}

describe.skipIf(BROWSER === undefined)('money in a browser (needs chromium: scripts/browser up)', () => {
  it('S2-30: the page shows what was spent of the day, the nearest limit and a quota that is used up; a task its cost; the question about more goes on waiting', async () => {
    // 2500 millionths a call, and 4100 at worst.
    await using server = await startModelServer(() => ({ text: 'x', usage: { input: 0, output: 500 } }))
    const budget = { tree: { usd: '0.02 USD' } }
    await using s = await openConsoleScene(agents, { upstreams: declared(server.url), budget })
    writeKey(s.h.home)
    const w = await openWindow(browser, s.port, { width: 360, height: 740 })
    const { page } = w
    await s.during(async () => {
      await page.goto(await s.link())
      const money = page.locator('section', { has: page.locator('#money') })
      await money.getByText('0.00 of 10.00 USD').waitFor()
      expect(await money.getByText('Nearest limit').count()).toBe(0)

      const [lead] = await s.h.bring('lead')
      const ask = (n: number, most = 500) => callModel(s.h, lead, { max_tokens: most, temperature: n / 100 }).done
      for (let n = 0; n < 7; n += 1) expect((await ask(n)).status).toBe(200)
      server.script = () => ({
        ...{ status: 429, headers: { 'retry-after': '7200' } },
        body: { error: { type: 'rate_limit_error', message: 'no more' } },
      })
      expect((await ask(8, 50)).status).toBe(429)

      const root = lead.joined?.task.task ?? ''
      await money.getByText('0.0175 of 10.00 USD').waitFor()
      const nearest = money.getByText(`Nearest limit: tree of ${root.slice(-8)}, 0.0175 of 0.02 USD`)
      await nearest.waitFor()
      // Four fifths are used.
      expect(await nearest.getAttribute('class')).toBe('warn')
      await money.getByText('The quota of anthropic is used up').waitFor()
      const words = await money.innerText()
      expect(words).toMatch(/looked at again \w+ \d+ \w+, \d\d:\d\d CES?T, in 1 h 59 m/)
      expect(words).toMatch(/8 calls, 0 tokens sent, 3500 received/)
      expect(words).toMatch(/lead within an hour: 0 of 500000 tokens sent, 3500 of 100000 received/)

      // It has no end of its own that could be counted down.
      const asked = await page.locator('section', { has: page.locator('#approvals') }).innerText()
      expect(asked).toContain('May it spend 0.02 more?')
      expect(asked).toMatch(/goes on waiting; the next reminder comes \w+ \d+ \w+, \d\d:\d\d CES?T/)
      expect(asked).not.toMatch(/waits .* more/)

      await page
        .locator('#tasks ~ ul')
        .getByRole('button', { name: /^running/ })
        .click()
      const opened = page.locator('.opened')
      await opened.getByText('its tree').waitFor()
      const facts = (await opened.innerText()).replaceAll(/\s+/g, ' ')
      expect(facts).toContain('cost 0.0175 USD, 8 calls, 0 tokens sent, 3500 received')
      expect(facts).toContain('its tree 0.0175 of 0.02 USD, 8 calls')
      expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0)
      if (process.env.HUB_TEST_PICTURES !== undefined)
        await page.screenshot({ path: `${process.env.HUB_TEST_PICTURES}/console-money.png`, fullPage: true })
      expect(w.complaints).toEqual([])
    })
    await w.close()
  })
})
