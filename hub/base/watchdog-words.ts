/**
 * The two settings of the watchdog that hub and command have to know: where its engine is and which port it takes. Read without a parser,
 * because the last resort of a stop needs them and may wait for nothing. The watchdog itself says what is wrong with the file.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const FORMS = ['config.yaml', 'config.json'] as const
export type WatchdogForm = (typeof FORMS)[number]

const PLACES = {
  'engine.socket': { group: 'engine', key: 'socket', before: 'engineSocket' },
  'http.port': { group: 'http', key: 'port', before: 'port' },
} as const

/** The file that the watchdog of this home reads, and its text; undefined if it uses its defaults. */
export function watchdogFileOf(home: string): { form: WatchdogForm; path: string; text: string } | undefined {
  for (const form of FORMS) {
    const path = join(home, 'watchdog', form)
    try {
      return { form, path, text: readFileSync(path, 'utf8') }
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') return undefined
    }
  }
  return undefined
}

/** The value of a key within a group, of YAML in blocks or in braces. Pure. */
export function wordOf(text: string, group: string, key: string): string | undefined {
  const plain = text.replace(/^[ \t]*#.*\n?/gm, '')
  const [, inside = ''] =
    new RegExp(
      `(?:^|[{,]\\s*)["']?${group}["']?\\s*:\\s*(\\{[^}]*\\}|(?:#[^\\n]*)?\\n(?:[ \\t]+[^\\n]*\\n?)*)`,
      'm',
    ).exec(plain) ?? []
  return new RegExp(`(?:^|[\\s{,])["']?${key}["']?\\s*:\\s*["']?([^\\s"',}]+)`).exec(inside)?.[1]
}

/** What the watchdog's configuration says there; undefined if it says nothing. */
export function watchdogWord(home: string, place: keyof typeof PLACES): string | undefined {
  const found = watchdogFileOf(home)
  const { group, key, before } = PLACES[place]
  if (found === undefined) return undefined
  if (found.form === 'config.yaml') return wordOf(found.text, group, key)
  try {
    const said = (JSON.parse(found.text) as Record<string, unknown>)[before]
    return typeof said === 'string' || typeof said === 'number' ? String(said) : undefined
  } catch {
    return undefined
  }
}

const WATCHDOG_PORT = 7301
/** The port in the watchdog's configuration of this home, or its default. */
export function watchdogPortOf(home: string): number {
  const said = watchdogWord(home, 'http.port') ?? ''
  return /^\d{1,5}$/.test(said) ? Number(said) : WATCHDOG_PORT
}
