/** Debian's chromium as a phone without JavaScript; undefined where there is none, and then whoever asks skips. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { type Browser, type BrowserContext, chromium } from 'playwright-core'

function pathOf(): string | undefined {
  try {
    const script = join(import.meta.dirname, '../../scripts/browser')
    return execFileSync(script, ['path'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return undefined
  }
}
export const BROWSER = pathOf()
export const NO_BROWSER = 'no chromium here: scripts/browser up'

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export const openBrowser = (): Promise<Browser> =>
  chromium.launch({ executablePath: BROWSER ?? '', args: FLAGS, timeout: 240_000 })

/** A small phone; requests to anywhere but loopback are counted and cut off. */
export async function openPhone(browser: Browser, colorScheme: 'light' | 'dark' = 'light') {
  const context: BrowserContext = await browser.newContext({
    viewport: { width: 375, height: 667 },
    deviceScaleFactor: 2,
    isMobile: true,
    hasTouch: true,
    javaScriptEnabled: false,
    colorScheme,
  })
  const elsewhere: string[] = []
  await context.route(/^(?!http:\/\/127\.0\.0\.1:)/, (route) => {
    elsewhere.push(route.request().url())
    return route.abort()
  })
  const page = await context.newPage()
  page.setDefaultTimeout(120_000)
  return { page, elsewhere, close: () => context.close() }
}
