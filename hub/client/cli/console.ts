/** `hub console`: a one-time link to the page, printed, and opened in a browser where there is one. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { EXIT } from '../problem.ts'
import { type Context, given, type Run, spanOption } from './context.ts'
import { listOf } from './devices.ts'
import { spanWords, whenText } from './text.ts'

interface OpenedView {
  name: string
  rights: string[]
  expiresInMs: number
  linkExpiresAtMs: number
  url: string
}

/** The program that opens a page, or undefined where no screen is. Pure. */
export function openerOf(platform: NodeJS.Platform, env: NodeJS.ProcessEnv): string | undefined {
  if (platform === 'darwin') return 'open'
  return env.DISPLAY || env.WAYLAND_DISPLAY ? 'xdg-open' : undefined
}

/** Leads on to the link; of our own making, so it holds nothing that would have to be escaped. */
const leadingPage = (url: string): string =>
  `<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><meta http-equiv="refresh" content="0;url=${url}"><title>hub</title>\n`

/** Other accounts see the words of every running program, so the browser is handed a file of the private home and never the link itself. */
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
  const wish = given({ name, rights: rights === undefined ? undefined : listOf(rights), expiresInMs })
  const made = (await hub.call('console.open', wish)) as OpenedView
  if (json) terminal.json(made)
  else {
    const now = Date.now()
    terminal.out(made.url)
    terminal.note(`works once, until ${whenText(made.linkExpiresAtMs, now)}; give it to nobody`)
    terminal.note(`the page may ${made.rights.join(', ')} for ${spanWords(made.expiresInMs)}`)
    terminal.note(`take it back at any time: hub device revoke ${made.name}`)
  }
  const opener = openerOf(process.platform, process.env)
  if (open === true && opener === undefined) terminal.note('there is no screen here; open the link yourself')
  if (opener === undefined || (open !== true && (json || !terminal.interactive))) return EXIT.done
  if (await terminal.confirm('open it in the browser now?', open === true)) openInBrowser(context, opener, made.url)
  return EXIT.done
}
