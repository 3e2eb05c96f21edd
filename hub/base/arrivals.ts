/**
 * `HOME/arrivals.json`: for each alert channel, whether a person confirmed that its messages arrive. `hub setup` writes it, doctor reads it.
 * A server may accept a message and still lose it, so only a person can tell. A channel that is not named here was set up by hand.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** By the channel's name. */
export type Arrivals = Readonly<Record<string, boolean>>

export const arrivalsFile = (home: string): string => join(home, 'arrivals.json')

/** Empty if there is no such file or it cannot be read. */
export function readArrivals(home: string): Arrivals {
  try {
    const said: unknown = JSON.parse(readFileSync(arrivalsFile(home), 'utf8'))
    if (typeof said !== 'object' || said === null) return {}
    return Object.fromEntries(Object.entries(said).filter(([, value]) => typeof value === 'boolean'))
  } catch {
    return {}
  }
}
