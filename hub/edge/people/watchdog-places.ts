/** Where the watchdog is reached from outside (docs/egress.md 1): its stop door is the operator's, and no request of an agent goes there. */
import { parse } from 'yaml'
import { watchdogFileOf } from '../../base/watchdog-words.ts'
import { placesOf, reachShape } from './reach.ts'

/** As `host:port`, of `reach` in the watchdog's configuration as it stands. A file that cannot be read names none: no watchdog starts with it. */
export function createWatchdogPlaces(home: string): () => ReadonlySet<string> {
  let read: { text: string; places: ReadonlySet<string> } | undefined
  return () => {
    const text = watchdogFileOf(home)?.text ?? ''
    if (read?.text !== text) read = { text, places: placesIn(text) }
    return read.places
  }
}

function placesIn(text: string): ReadonlySet<string> {
  try {
    const { reach } = (parse(text) ?? {}) as { reach?: unknown }
    const found = reachShape.safeParse(reach ?? {})
    return found.success ? placesOf(found.data) : new Set()
  } catch {
    return new Set()
  }
}
