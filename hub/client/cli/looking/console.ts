/** `hub console`: prints a one-time link to the page, and opens it in a browser if there is one. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Right } from '../../../protocol/holders.ts'
import { EXIT } from '../../problem.ts'
import { type Context, given, type Run, spanOption, typed } from '../context.ts'
import { listOf } from '../setup/devices.ts'
import { spanWords, whenText } from '../text.ts'

/** The program that opens a page, or undefined if there is no screen. Pure. */
export function openerOf(platform: NodeJS.Platform, env: NodeJS.ProcessEnv): string | undefined {
  if (platform === 'darwin') return 'open'
  return env.DISPLAY || env.WAYLAND_DISPLAY ? 'xdg-open' : undefined
}

/** Redirects to the link. The hub made the link, so nothing in it needs escaping. */
const leadingPage = (url: string): string =>
  `<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><meta http-equiv="refresh" content="0;url=${url}"><title>hub</title>\n`

/** Other accounts can read the arguments of every process, so the browser gets a file in the private home and never the link itself. */
function openInBrowser({ home, terminal }: Context, opener: string, url: string): void {
  const file = join(home, 'run', 'console.html')
  writeFileSync(file, leadingPage(url), { mode: 0o600 })
  const started = spawn(opener, [pathToFileURL(file).href], { detached: true, stdio: 'ignore' })
  started.on('error', () => terminal.note(`${opener} could not be started; open the link yourself`))
  started.unref()
}

export const openConsole: Run = async (context, _, { name, rights, expires, open }) => {
  const { hub, json, terminal } = context
  const expiresInMs = spanOption('--expires', expires)
  const wish = given({
    name: typed(name),
    rights: rights === undefined ? undefined : listOf<Right>(rights),
    expiresInMs,
  })
  const made = await hub.call('console.open', wish)
  if (json) terminal.json(made)
  else {
    const now = Date.now()
    terminal.out(made.url)
    terminal.note(`works once, until ${whenText(made.linkExpiresAtMs, now)}; do not share it`)
    terminal.note(`the page may ${made.rights.join(', ')} for ${spanWords(made.expiresInMs)}`)
    terminal.note(`end it at any time: hub device revoke ${made.name}`)
  }
  const opener = openerOf(process.platform, process.env)
  if (open === true && opener === undefined) terminal.note('no browser found here; open the link yourself')
  if (opener === undefined || (open !== true && (json || !terminal.interactive))) return EXIT.done
  if (await terminal.confirm('open it in the browser now?', open === true)) openInBrowser(context, opener, made.url)
  return EXIT.done
}
