/**
 * `HOME/arrivals.json`: of which alert channel somebody has said that what is sent by it arrives. `hub setup` writes it, doctor reads it. What
 * a server has taken may still get lost, and only a person can tell. Channels that are not named were set up by hand and are nobody's question.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** By the channel's name. */
export type Arrivals = Readonly<Record<string, boolean>>

export const arrivalsFile = (home: string): string => join(home, 'arrivals.json')

/** Empty where there is no such file; one that cannot be read confirms nothing. */
export function readArrivals(home: string): Arrivals {
  try {
    const said: unknown = JSON.parse(readFileSync(arrivalsFile(home), 'utf8'))
    if (typeof said !== 'object' || said === null) return {}
    return Object.fromEntries(Object.entries(said).filter(([, value]) => typeof value === 'boolean'))
  } catch {
    return {}
  }
}
