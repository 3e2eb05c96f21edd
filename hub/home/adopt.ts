/**
 * `hub adopt moved|copy`: the operator says what a home is that is not where it was made (fault B4). Moved: it stays the same hub. Copy: it
 * becomes another hub of the same owner, like a restored backup: a new instance, safe mode, every unfinished task held, a new witness.
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
  /** The hub that this is a copy of, if it is one. */
  formerInstance: string
  held: number
}

/**
 * Throws `conflict` if a hub runs on the home, or the home is where it was made. The file `place` is written last: after an adoption that
 * was cut short the home still does not start, and can be adopted again.
 */
export function adoptHome(
  options: { home: string; as: AdoptedAs },
  outer: { clock: Clock; random: Random; initWatchdog: (home: string) => void },
): AdoptReport {
  const { home, as } = options
  const { clock, random } = outer
  const formerInstance = readFileSync(join(home, 'instance'), 'utf8').trim()
  const place = placeOf(home, clock.bootId)
  // For a home that is in its place, this would end a hub that nobody meant.
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
  // Containers, witness and undelivered alerts belong to the other hub. The ledger goes before the id: with another id it would count as damaged.
  for (const file of ['ledger.json', 'watchdog/state', 'watchdog/outbox']) rmSync(join(home, file), { force: true })
  replaceFile(join(home, 'instance'), `${instance}\n`)
  outer.initWatchdog(home)
  writePlace(home, place)
  return { home, as, instance, formerInstance, held }
}
