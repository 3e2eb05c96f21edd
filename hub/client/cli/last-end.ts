/** What the hub left about its own end, in words: whoever stopped it need not look for a fault (fault C16). */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { whenText } from './text.ts'

const WORDS: Readonly<Record<string, string>> = {
  shutdown: 'shut down',
  down: 'taken down',
  restart: 'ended to be started anew',
  emergency_stop: 'stopped in an emergency',
  unattended_stop: 'stopped, since no heartbeat came',
}

function whoText(by: string | null): string {
  if (by === null) return ''
  const [kind = '', name = ''] = by.split(':')
  if (kind === 'operator') return ' by you'
  if (kind === 'contact') return ' by your backup contact'
  return kind === 'watchdog' ? ' by the watchdog' : ` by ${kind} ${name}`
}

/** `shut down by you Sat 05:34 CET (3 m ago)`; undefined where it left nothing, as after a crash, or something else stands there. */
export function lastEndText(home: string, nowMs: number): string | undefined {
  try {
    const found = JSON.parse(readFileSync(path.join(home, 'run', 'ended.json'), 'utf8')) as Record<string, unknown>
    const { how, by, atMs } = found
    if (typeof how !== 'string' || !Number.isSafeInteger(atMs)) return undefined
    const what = Object.hasOwn(WORDS, how) ? WORDS[how] : `ended by ${how}`
    return `${what}${whoText(typeof by === 'string' ? by : null)} ${whenText(Number(atMs), nowMs)}`
  } catch {
    return undefined
  }
}
