/**
 * Whether another hub on the same engine gives its sessions users of our range (fault F14). A session of theirs and one of ours then share
 * what the kernel counts by user. This is reported and not refused: nobody here can tell whose range it is.
 */
import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Alerts } from '../../guard/alerts/alerts.ts'
import type { ContainerFact, Engine } from './engine.ts'
import { type AccountSource, holdersOf } from './host-accounts.ts'
import { mayBegin, rangeText, USERS, userOf } from './users.ts'

/** Containers that are looked into in one round. */
const LOOKED_AT_MAX = 64
/** Where to look for a free range: below the 65536 ids of an engine that maps users, and away from the first accounts of people. */
const FREE_FROM = 30_208
const FREE_TO = 59_904

export interface OtherUser {
  instance: string
  user: number
}

const RUNS = new Set(['created', 'running', 'paused', 'restarting'])

/** Users of other hubs' containers that run or may run. */
export async function usersOfOthers(
  engine: Pick<Engine, 'listOthers' | 'inspect'>,
  instance: string,
): Promise<OtherUser[]> {
  const live = (await engine.listOthers(instance)).filter(({ state }) => RUNS.has(state)).slice(0, LOOKED_AT_MAX)
  const users = await Promise.all(live.map((container) => userIn(engine, container)))
  return users.flatMap((each) => each ?? [])
}

async function userIn(engine: Pick<Engine, 'inspect'>, { id, labels }: ContainerFact): Promise<OtherUser | undefined> {
  const found = (await engine.inspect(id)) as { Config?: { User?: unknown } } | undefined
  const user = userOf(found?.Config?.User)
  return user === undefined ? undefined : { instance: labels['hub.instance'] ?? '', user }
}

const isIn = (first: number, user: number): boolean => user >= first && user < first + USERS

/** Which other hubs use ids of the range that begins at `first`. */
const sharing = (first: number, others: readonly OtherUser[]): string[] => [
  ...new Set(others.filter(({ user }) => isIn(first, user)).map((other) => other.instance)),
]

/** The start of a range that no account of this machine and none of these hubs uses; undefined if all are taken. */
export function freeFirst(others: readonly OtherUser[], source?: AccountSource): number | undefined {
  for (let first = FREE_FROM; first <= FREE_TO; first += USERS) {
    const isFree = mayBegin(first) && !others.some(({ user }) => isIn(first, user))
    if (isFree && holdersOf(first, source).length === 0) return first
  }
  return undefined
}

export interface Shared {
  detail: string
  mend: string
}

/** What is wrong and what to do; undefined if no other hub has users of the range. */
export function sharedWith(first: number, others: readonly OtherUser[], source?: AccountSource): Shared | undefined {
  const hubs = sharing(first, others)
  if (hubs.length === 0) return undefined
  const free = freeFirst(others, source)
  const value = free === undefined ? 'a number whose 256 ids are free' : `a free number, such as ${free}`
  return {
    detail: `another hub on this engine gives its sessions users of the same range, ${rangeText(first)}: ${hubs.join(', ')}`,
    mend: `set engine.firstUser in hub.yaml of one of these hubs to ${value}, then node scripts/build-images.ts and hub restart`,
  }
}

const SHARED_USERS = 'session_users_shared'
const EVERY_MS = 600_000

/** Looks at the start and then every ten minutes. It raises an alert for as long as a range is shared; meanwhile everything goes on. */
export function createUsersWatch(
  { instance, firstUser }: { instance: string; firstUser: number },
  parts: {
    engine: Pick<Engine, 'listOthers' | 'inspect'>
    alerts: Pick<Alerts, 'raise' | 'resolve'>
    clock: Pick<Clock, 'monotonicMs'>
    log: Log
    source?: AccountSource
  },
) {
  const { engine, alerts, clock, log, source } = parts
  let dueMs = 0

  const look = async (): Promise<Shared | undefined> =>
    sharedWith(firstUser, await usersOfOthers(engine, instance), source)

  return {
    look,
    async round(): Promise<void> {
      if (clock.monotonicMs() < dueMs) return
      let shared: Shared | undefined
      try {
        shared = await look()
      } catch {
        // An engine that does not answer has its own alert. The next round looks again.
        return
      }
      dueMs = clock.monotonicMs() + EVERY_MS
      if (shared === undefined) return alerts.resolve(SHARED_USERS, 'No other hub uses these users now.')
      log.warn(shared, 'another hub has the same range of users')
      alerts.raise(SHARED_USERS, 'warning', `${shared.detail}; ${shared.mend}`)
    },
  }
}

export type UsersWatch = ReturnType<typeof createUsersWatch>
