/** The operator's console in a real browser against a whole hub with a real watch (S0-50, S1-25, T30, T33, T34). */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { askWhere } from '../support/asking-rules.ts'
import { BROWSER, openBrowser } from '../support/browser.ts'
import { type ConsoleScene, openConsoleScene, openWindow } from '../support/console-scene.ts'
import { puppet } from '../support/hub-harness.ts'

/** Where a person who works on the page finds what the browser saw. */
const PICTURES = process.env.HUB_TEST_PICTURES
let browser: Browser
beforeAll(async () => {
  if (PICTURES !== undefined) mkdirSync(PICTURES, { recursive: true })
  if (BROWSER !== undefined) browser = await openBrowser()
})
afterAll(() => browser?.close())

const HOUR = 3_600_000
const agents = { reader: { script: puppet }, writer: { script: puppet, stubborn: true } }
const picture = async (page: Page, name: string) => {
  if (PICTURES !== undefined) await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true })
}
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true })
const heading = (page: Page, name: string | RegExp) => page.getByRole('heading', { name })
const sidewaysPx = (page: Page) => page.evaluate('document.documentElement.scrollWidth - innerWidth') as Promise<number>
const recorded = (s: ConsoleScene, principal: string) =>
  s.h
    .audit()
    .filter((row) => row.principal === principal)
    .map(({ action, outcome, effect }) => [action, outcome, effect].join(' ').trim())

/** A hub with a window on its page; time goes on while `work` runs, and nothing may have left the origin. */
async function shown(
  work: (s: ConsoleScene, w: Awaited<ReturnType<typeof openWindow>>) => Promise<void>,
  { look = {}, config = {} }: { look?: Parameters<typeof openWindow>[2]; config?: Record<string, unknown> } = {},
) {
  await using s = await openConsoleScene(agents, config)
  const w = await openWindow(browser, s.port, look)
  try {
    await s.during(() => work(s, w))
    expect(w.elsewhere).toEqual([])
  } finally {
    await w.close()
  }
}
const enter = async (s: ConsoleScene, page: Page, wish?: object) => {
  await page.goto(await s.link(wish))
  await heading(page, 'Your presence').waitFor()
}

describe.skipIf(BROWSER === undefined)('the console in a browser (needs chromium: scripts/browser up)', () => {
  it('T33: a link opens it once, its code is in no request but the exchange, and the bearer is in this tab alone', () =>
    shown(async (s, w) => {
      const link = await s.link()
      const code = link.split('#')[1] ?? ''
      await w.page.goto(link)
      await heading(w.page, 'Normal').waitFor()
      expect(w.page.url()).toBe(`http://127.0.0.1:${s.port}/console`)
      const session = JSON.parse((await w.page.evaluate('sessionStorage.getItem("hub-console")')) as string)
      expect(session).toMatchObject({ name: 'console', secret: expect.stringMatching(/^[\w-]{43}$/) })
      expect(await w.page.evaluate('localStorage.length + document.cookie.length')).toBe(0)
      for (const { url, headers } of w.asked) {
        expect(url).not.toContain(code)
        expect(url).not.toContain(session.secret)
        expect(headers).not.toHaveProperty('cookie')
        expect(headers).not.toHaveProperty('referer')
      }
      expect(recorded(s, 'device:console')).toEqual(['console.joined ok'])
      expect(w.complaints).toEqual([])

      // Another tab has nothing of it, and the same link counts no more.
      const other = await w.context.newPage()
      await other.goto(`http://127.0.0.1:${s.port}/console`)
      await heading(other, 'Open the console').waitFor()
      await other.goto(link)
      await other.getByText('This link is not valid').waitFor()
      await picture(other, 'console-sign-in')
      expect(await other.locator('main').textContent()).toContain('hub console')
      expect(recorded(s, 'device:unknown')).toEqual(['console.joined refused'])
      // A new link, opened in a tab that shows the page.
      await other.goto(await s.link())
      await heading(other, 'Normal').waitFor()
    }))

  it('S1-25: the heartbeat is strong, recorded with its source, ends the safe mode of a missed one and names the next deadline [presence-11]', () =>
    shown(async (s, w) => {
      s.pass(27 * HOUR)
      await s.watch.round()
      await s.h.lease({ demand: 'safe', conditions: ['heartbeat_missed'], deadlineInMs: -HOUR })
      await enter(s, w.page)
      await heading(w.page, 'Safe mode').waitFor()
      await w.page.getByText('Your heartbeat was missed.').waitFor()
      expect(s.watch.status()).toMatchObject({ demand: 'safe', conditions: ['heartbeat_missed'] })
      await picture(w.page, 'console-safe')
      await button(w.page, 'Heartbeat').click()
      await w.page.getByText('Accepted. The next is due').waitFor()
      const said = (await w.page.locator('.beat').textContent()) ?? ''
      expect(said).toMatch(/due \w+day \d+ \w+, \d\d:\d\d CES?T, in /)
      expect(s.watch.status()).toMatchObject({ demand: 'normal', conditions: [], heartbeat: { strongAgeMs: 0 } })
      expect(recorded(s, 'device:console')).toContain('operator.heartbeat_given ok source:console')
      await s.h.lease()
      await heading(w.page, 'Normal').waitFor()
      await picture(w.page, 'console-accepted')
    }))

  it('S0-15: stops everything after a second word, follows it to the end, and goes on when the hub is back', () =>
    shown(
      async (s, w) => {
        await s.h.bring('reader', 'writer', 'writer')
        await enter(s, w.page)
        await button(w.page, 'Stop everything').click()
        await heading(w.page, 'Stop everything?').waitFor()
        await picture(w.page, 'console-stop-asked')
        // Enter and Escape keep it running.
        await w.page.keyboard.press('Enter')
        await heading(w.page, 'Stop everything?').waitFor({ state: 'detached' })
        await button(w.page, 'Stop everything').click()
        await w.page.keyboard.press('Escape')
        await heading(w.page, 'Stop everything?').waitFor({ state: 'detached' })
        expect(s.h.engine.containers.size).toBe(3)

        await button(w.page, 'Stop everything').click()
        // Less than the grace of the stubborn ones, so that the page has time to show it.
        const goOn = s.hold(1000)
        await button(w.page, 'Stop everything now').click()
        await heading(w.page, /^Stopping: [012] of 3 confirmed/).waitFor()
        await picture(w.page, 'console-stopping')
        goOn()
        await heading(w.page, 'Everything has stopped').waitFor()
        await w.page.getByText('3 of 3 confirmed gone. Nothing was deleted.').waitFor()
        await picture(w.page, 'console-stopped')
        expect(s.h.engine.containers.size).toBe(0)
        expect(recorded(s, 'device:console')).toContain('hub.shutdown_asked ok')
        // The page hears that all is gone before the hub has closed its doors.
        await expect.poll(() => s.h.exits).toEqual(['shutdown'])
        await s.h.kill()
        await s.h.start()
        await heading(w.page, 'Everything has stopped').waitFor({ state: 'detached' })
        await heading(w.page, 'Normal').waitFor()
      },
      { config: { shutdownTimeout: '5s' } },
    ))

  it('T30: what agents write runs nothing, hides nothing and stays in its box; a script put into the page is blocked', () =>
    shown(
      async (s, w) => {
        const [agent] = await s.h.bring('reader')
        const evil = '<img src=x onerror="globalThis.owned=1"><script>globalThis.owned=1</script>'
        const question = `${evil}\u202eohce\u2066\u0007\n<b>bold</b> ${'W'.repeat(600)} Z${'\u0300\u0489'.repeat(300)}`
        await agent.say({ kind: 'progress', body: { text: `${evil} ${'w'.repeat(500)}\u202e`, done: 7, total: 12 } })
        await agent.say({ kind: 'ask', body: { text: question } })
        s.h.hub.guard.alerts.raise('refused_often:odd', 'warning', `${evil} \u202e`)
        await enter(s, w.page)
        await heading(w.page, /^Waiting for you/).waitFor()
        await picture(w.page, 'console-hostile')
        const text = (await w.page.locator('#page').innerText()) ?? ''
        expect(text).toContain('<img src=x onerror="globalThis.owned=1"><script>')
        expect(text).toContain('\\u202eohce\\u2066\\u0007')
        expect(['\u202e', '\u2066', '\u0007'].filter((sign) => text.includes(sign))).toEqual([])
        expect(await w.page.locator('img, b b, #page script').count()).toBe(0)
        expect(await sidewaysPx(w.page)).toBeLessThanOrEqual(0)
        // It wraps, so that nobody has to scroll sideways to read all of it.
        const scrolls =
          '[...document.querySelectorAll(".said")].filter((box) => box.scrollWidth > box.clientWidth + 1).length'
        expect(await w.page.evaluate(scrolls)).toBe(0)
        // Nothing of the question is drawn below its box.
        expect((await w.page.locator('blockquote').boundingBox())?.height).toBeLessThan(260)
        // In a task of its own: what the debugger itself evaluates may do more than a page.
        await w.page.evaluate(`new Promise((done) => setTimeout(() => {
          const tries = [
            () => Object.assign(document.createElement('script'), { text: 'globalThis.owned = 1' }),
            () => {
              const script = document.createElement('script')
              script.append('globalThis.owned = 1')
              return script
            },
            () => {
              const button = document.createElement('button')
              button.setAttribute('onclick', 'globalThis.owned = 1')
              return button
            },
            () => document.body.insertAdjacentHTML('beforeend', '<p>put in</p>'),
            () => eval('globalThis.owned = 1'),
          ]
          for (const attempt of tries) try {
            const made = attempt()
            document.body.append(made)
            made.click()
          } catch {}
          done()
        }))`)
        expect(await w.page.evaluate('globalThis.owned')).toBeUndefined()
        expect(await w.page.getByText('put in').count()).toBe(0)
        await expect.poll(() => w.complaints.join(' ')).toContain('The action has been blocked')

        await w.page.getByLabel('Answer').fill('no, keep it')
        await button(w.page, 'Reject').click()
        await heading(w.page, /^Waiting for you/).waitFor({ state: 'detached' })
        expect(s.h.hub.guard.approvals.list(true)).toMatchObject([{ state: 'refused', answer: 'no, keep it' }])
      },
      { look: { width: 360, height: 740, scheme: 'dark' } },
    ))

  it('what a rule asks stands on the page with who, what and why; the page of a link fits a phone, and its button answers [ask-11]', () =>
    shown(
      async (s, w) => {
        const why = '<b>writes</b> to the shop'
        askWhere(s.h.hub.guard, ({ operation }) => (operation === 'task.dispatch' ? why : undefined))
        const task = await s.h.submit('reader')
        await enter(s, w.page)
        await heading(w.page, /^Waiting for you/).waitFor()
        const text = (await w.page.locator('#page').innerText()) ?? ''
        for (const part of ['A rule asks', 'hub:dispatcher', 'task.dispatch', `task:${task}`, why, 'waits'])
          expect(text).toContain(part)
        expect(await w.page.locator('blockquote b').count()).toBe(0)
        expect(await sidewaysPx(w.page)).toBeLessThanOrEqual(0)
        await picture(w.page, 'console-rule-asks')

        const { approvals } = s.h.hub.guard
        const secret = approvals.linkOf(`approval:${approvals.list(false)[0]?.id}`)
        const phone = await w.page.context().newPage()
        await phone.goto(`http://127.0.0.1:${s.port}/approve/${secret}`)
        await heading(phone, 'A rule asks you').waitFor()
        await picture(phone, 'link-page')
        expect(await sidewaysPx(phone)).toBeLessThanOrEqual(0)
        expect(await phone.locator('pre b').count()).toBe(0)
        expect(approvals.list(false)).toHaveLength(1)
        await button(phone, 'Yes').click()
        await heading(phone, 'You said yes').waitFor()
        await heading(w.page, /^Waiting for you/).waitFor({ state: 'detached' })
        await phone.close()
      },
      { look: { width: 360, height: 740 } },
    ))

  it('T33: an inline script or style that gets into the page itself is blocked by its policy', () =>
    shown(async (s, w) => {
      await w.context.route('**/console', async (route) => {
        const response = await route.fetch()
        const planted = '<style>body{display:none}</style><script>globalThis.owned = 1</script></head>'
        await route.fulfill({ response, body: (await response.text()).replace('</head>', planted) })
      })
      await enter(s, w.page)
      expect(await w.page.locator('head script:not([src])').count()).toBe(1)
      expect(await w.page.evaluate('globalThis.owned')).toBeUndefined()
      await expect.poll(() => w.complaints.filter((line) => line.includes('Content Security Policy'))).toHaveLength(2)
    }))

  it('T33: what was taken back leads to the sign-in screen, which says how to get a new link', () =>
    shown(async (s, w) => {
      await enter(s, w.page)
      await w.page.getByText('live', { exact: true }).waitFor()
      await s.h.operator('POST', '/v1/devices/console/revoke', {})
      // Whatever happens next is not told any more, and the end of the stream makes the page look.
      await s.h.submit('reader')
      await heading(w.page, 'Open the console').waitFor()
      await w.page.getByText('This console has ended').waitFor()
      expect(await w.page.locator('main').textContent()).toContain('hub console')
      expect(await w.page.evaluate('sessionStorage.length')).toBe(0)
    }))

  it('is used by keys alone, on a screen of 360 px without sideways scrolling', () =>
    shown(
      async (s, w) => {
        const [agent] = await s.h.bring('reader')
        await agent.say({ kind: 'ask', body: { text: 'Shall I delete the old reports?' } })
        await enter(s, w.page)
        await heading(w.page, /^Waiting for you/).waitFor()
        // Before everything else, and told there alone (fault C1).
        expect(await w.page.evaluate("document.querySelector('main section').getAttribute('aria-labelledby')")).toBe(
          'approvals',
        )
        expect(await w.page.evaluate("document.body.textContent.includes('question:')")).toBe(false)
        await picture(w.page, 'console-phone')
        expect(await sidewaysPx(w.page)).toBeLessThanOrEqual(0)
        const focused = () => w.page.evaluate('document.activeElement.textContent || document.activeElement.name')
        const walked: unknown[] = []
        for (let step = 0; step < 8; step += 1) {
          await w.page.keyboard.press('Tab')
          walked.push(await focused())
          if (walked.at(-1) === 'Heartbeat') await w.page.keyboard.press('Space')
          if (walked.at(-1) === 'text') await w.page.keyboard.type('yes')
        }
        expect(walked.slice(0, 4)).toEqual(['Stop everything', 'text', 'Approve', 'Reject'])
        expect(walked.slice(4, 6)).toEqual(['Going away?', 'Heartbeat'])
        expect(walked[6]).toMatch(/^running/)
        expect(walked[7]).toBe('Leave')
        await w.page.getByText('Accepted.').waitFor()
        // A look redraws the page; who types or walks meanwhile stays where they are.
        expect(await w.page.getByLabel('Answer').inputValue()).toBe('yes')
        for (let step = 0; step < 5; step += 1) await w.page.keyboard.press('Shift+Tab')
        await w.page.keyboard.press('Enter')
        await heading(w.page, /^Waiting for you/).waitFor({ state: 'detached' })
        expect(s.h.hub.guard.approvals.list(true)).toMatchObject([{ state: 'approved', answer: 'yes' }])
        expect(w.complaints).toEqual([])
      },
      { look: { width: 360, height: 740 } },
    ))

  it('fault C21: a task is opened: its reason first, then result, artifacts by name and the end of its log; whatever is in them runs nothing', () =>
    shown(
      async (s, w) => {
        const evil = '<img src=x onerror="globalThis.owned=1">\u202e'
        const [failing, working] = await s.h.bring('reader', 'reader')
        for (let line = 0; line < 250; line += 1)
          await failing.say({ kind: 'log', body: { level: 'info', text: `line ${line}` } })
        await failing.say({ kind: 'log', body: { level: 'error', text: `the last ${evil}` } })
        await failing.resultBody({ outcome: 'failed', error: `no such table: sales ${evil}` })
        await working.put('report.md', 'twelve rows')
        await working.resultBody({ outcome: 'succeeded', value: { rows: 12, html: evil } })
        await enter(s, w.page)
        const row = (name: RegExp) => w.page.locator('#tasks ~ ul').getByRole('button', { name })
        await row(/^failed/).click()
        await w.page.getByRole('heading', { name: /^Log, the last 200 of / }).waitFor()
        const opened = w.page.locator('.opened')
        expect((await opened.locator('> *').first().textContent()) ?? '').toMatch(/^no such table: sales <img/)
        const log = (await opened.locator('pre').textContent()) ?? ''
        expect(log).toMatch(/error the last <img src=x onerror="globalThis.owned=1">\\u202e$/)
        expect(log).not.toContain('line 10\n')
        expect(await row(/^failed/).getAttribute('aria-expanded')).toBe('true')
        await picture(w.page, 'console-task-failed')
        await row(/^succeeded/).click()
        await heading(w.page, 'Artifacts').waitFor()
        expect(await opened.count()).toBe(1)
        const text = (await opened.textContent()) ?? ''
        for (const part of ['"rows": 12', 'report.md', '11 B', 'It logged nothing.']) expect(text).toContain(part)
        // Nothing is declared outside, so nothing is said of money.
        expect(text).not.toContain('its tree')
        expect(await heading(w.page, 'Money today').count()).toBe(0)
        await picture(w.page, 'console-task-succeeded')
        expect(await sidewaysPx(w.page)).toBeLessThanOrEqual(0)
        expect(await w.page.evaluate('globalThis.owned')).toBeUndefined()
        // Each look at a log is a record, so it is asked for once and not at every look of the page.
        expect(recorded(s, 'device:console').filter((line) => line.startsWith('task.logs_read')).length).toBeLessThan(3)
        await row(/^succeeded/).click()
        await opened.waitFor({ state: 'detached' })
        expect(w.complaints).toEqual([])
      },
      { look: { width: 360, height: 740 } },
    ))

  it('fault C21: resume, release, away and back, each by the operation of the command, with the rights of this console', () =>
    shown(async (s, w) => {
      const held = await s.h.submit('reader', {}, { hold: true })
      await enter(s, w.page)
      await button(w.page, 'Let it start').click()
      await button(w.page, 'Let it start').waitFor({ state: 'detached' })
      expect(s.h.task(held).held).toBe(false)
      await s.h.operator('POST', '/v1/mode/safe', { reason: 'a look' })
      await button(w.page, 'Resume').click()
      await heading(w.page, 'Normal').waitFor()

      await w.page.getByText('Going away?').click()
      const until = new Date(Math.floor(Date.now() / 60_000) * 60_000 + 30 * HOUR)
      const field = new Date(until.getTime() - until.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
      await w.page.getByLabel('Back on').fill(field)
      await w.page.getByLabel('Note').fill('hills')
      await button(w.page, 'Away until then').click()
      await w.page.getByText('You are away until').waitFor()
      expect(s.watch.status().heartbeat).toMatchObject({ away: { note: 'hills' } })
      await picture(w.page, 'console-away')
      await button(w.page, 'I am back').click()
      await w.page.getByText('Going away?').waitFor()
      const acts = recorded(s, 'device:console').filter((line) => /released|resumed|away|back/.test(line))
      expect(acts.map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual([
        'task.released ok',
        'mode.resumed ok',
        'operator.away_asked ok',
        'operator.back_asked ok',
      ])
      expect(w.complaints).toEqual([])
    }))

  it('fault C21: a long question stands above the fold of a phone and can be read to its end', () =>
    shown(
      async (s, w) => {
        const [agent] = await s.h.bring('reader')
        await agent.say({ kind: 'ask', body: { text: `${'Shall I? '.repeat(440)}THE END` } })
        await enter(s, w.page)
        const title = await heading(w.page, /^Waiting for you/).boundingBox()
        expect((title?.y ?? 999) + (title?.height ?? 0)).toBeLessThan(740 / 3)
        const box = w.page.locator('blockquote')
        expect((await box.boundingBox())?.y).toBeLessThan(740 / 2)
        expect(await box.textContent()).toMatch(/THE END$/)
        await box.focus()
        await w.page.keyboard.press('End')
        const isAtEnd =
          '(() => { const b = document.querySelector("blockquote"); return b.scrollTop + b.clientHeight >= b.scrollHeight - 2 })()'
        await expect.poll(() => w.page.evaluate(isAtEnd)).toBe(true)
        await picture(w.page, 'console-long-question')
      },
      { look: { width: 360, height: 740 } },
    ))

  it('says that the hub is gone and what to do, keeps trying, and goes on by itself after a restart', () =>
    shown(async (s, w) => {
      await s.h.bring('reader')
      await enter(s, w.page)
      await heading(w.page, /^Running now/).waitFor()
      await s.h.stop()
      await heading(w.page, 'The hub does not answer').waitFor()
      await picture(w.page, 'console-gone')
      expect(await w.page.getByRole('alert').textContent()).toMatch(/hub status.*hub up/s)
      await button(w.page, 'Heartbeat').click()
      await w.page.getByText('Not accepted.').waitFor()
      await s.h.start()
      await heading(w.page, 'The hub does not answer').waitFor({ state: 'detached' })
      await w.page.getByText('live', { exact: true }).waitFor()
      await button(w.page, 'Heartbeat').click()
      await w.page.getByText('Accepted.').waitFor()
    }))

  it('may only what its link was given: without the right a button is off and says why', () =>
    shown(
      async (s, w) => {
        await s.h.submit('reader', {}, { hold: true })
        await enter(s, w.page, { rights: ['view'] })
        expect(await button(w.page, 'Heartbeat').isDisabled()).toBe(true)
        expect(await button(w.page, 'Stop everything').isDisabled()).toBe(true)
        expect(await button(w.page, 'Let it start').isDisabled()).toBe(true)
        expect(await w.page.getByText('Going away?').count()).toBe(0)
        await w.page.getByText('This console may not give heartbeats.').waitFor()
        await picture(w.page, 'console-dark')
      },
      { look: { scheme: 'dark' } },
    ))
})
