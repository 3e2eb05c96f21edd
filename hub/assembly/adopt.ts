/**
 * `hub adopt moved|copy`: the operator's word about a home that is elsewhere than it says (fault B4). Moved: it stays the hub it was. A copy:
 * another hub of the same owner, as a backup that is put back is: a new instance, safe, every unfinished task held, a new witness.
 */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { HubError } from '../base/errors.ts'
import { newUuid, type Random } from '../base/random.ts'
import { replaceFile } from '../base/whole-file.ts'
import { isInPlace, placeOf, writePlace } from './place.ts'
import { settleDatabase } from './restore.ts'

export const ADOPTED_AS = ['moved', 'copy'] as const
export type AdoptedAs = (typeof ADOPTED_AS)[number]

export interface AdoptReport {
  home: string
  as: AdoptedAs
  instance: string
  /** The hub whose copy this is, where it is one. */
  formerInstance: string
  held: number
}

/**
 * Throws `conflict` where a hub runs on the home, or the home is where it was made. What the home says comes last: one that was cut short in between still does not start, and
 * is adopted again.
 */
export function adoptHome(
  options: { home: string; as: AdoptedAs },
  outer: { clock: Clock; random: Random; initWatchdog: (home: string) => void },
): AdoptReport {
  const { home, as } = options
  const { clock, random } = outer
  const formerInstance = readFileSync(join(home, 'instance'), 'utf8').trim()
  const place = placeOf(home, clock.bootId)
  // Said of the home that is in its place it would end a hub that nobody meant.
  if (isInPlace(home, place))
    throw new HubError(
      'conflict',
      `${home} is where it was made, so there is nothing to adopt; name the other home: hub --home DIR adopt ${as}`,
    )
  const instance = as === 'moved' ? formerInstance : newUuid(random, clock.wallMs())
  const database = join(home, 'hub.db')
  if (as === 'moved') {
    settleDatabase(database, clock, {
      record: { action: 'hub.moved', reason: `to ${place.path}`, effect: `instance:${instance}` },
    })
    writePlace(home, place)
    return { home, as, instance, formerInstance, held: 0 }
  }
  const held = settleDatabase(database, clock, {
    reason: `a copy of hub ${formerInstance}; look first, then hub resume`,
    record: {
      action: 'hub.copied',
      reason: `a copy of ${formerInstance}, at ${place.path}`,
      effect: `instance:${instance}`,
    },
  })
  // Containers, witness and undelivered alerts are the other's. Its ledger goes before its id: with another id it would be a damaged home.
  for (const file of ['ledger.json', 'watchdog/state', 'watchdog/outbox']) rmSync(join(home, file), { force: true })
  replaceFile(join(home, 'instance'), `${instance}\n`)
  outer.initWatchdog(home)
  writePlace(home, place)
  return { home, as, instance, formerInstance, held }
}
