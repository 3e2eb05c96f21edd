/**
 * The users of sessions (fault F14): each live session runs as one of its own, out of a range in which this machine has no account. What the
 * kernel counts by user over the whole machine (inotify instances, pending signals, pipe buffers, locked memory) one session cannot take
 * from another then, and none can signal or trace another's process, whatever else fails.
 */

/** How many there are in the range: the sessions' own, and as the last one the canary's. */
export const USERS = 256
export const SESSION_USERS = USERS - 1

/**
 * First of the range where nobody chose another. 60928 to 61183 are what neither Debian's policy nor systemd gives to anybody ("Users,
 * Groups, UIDs and GIDs on systemd systems"), and they lie below the 65536 ids of an engine that maps users.
 */
export const FIRST_USER = 60_928
/** Below, a system keeps its own accounts. */
export const FIRST_USER_MIN = 1000
const FIRST_USER_MAX = 2 ** 31 - USERS
/** `nobody`, and minus one in 16 bits. */
const NEVER = [65_534, 65_535]

/** Whether a range may begin here, whatever accounts there are. */
export const mayBegin = (first: number): boolean =>
  Number.isSafeInteger(first) &&
  first >= FIRST_USER_MIN &&
  first <= FIRST_USER_MAX &&
  !NEVER.some((id) => id >= first && id < first + USERS)

/** Whether it is an id that a session may have, wherever the range begins. */
export const isUser = (id: number): boolean =>
  Number.isSafeInteger(id) && id >= FIRST_USER_MIN && id < FIRST_USER_MAX + USERS && !NEVER.includes(id)

/** The id in `<id>:<id>`, or undefined where it is no user of a session. Pure. */
export function userOf(text: unknown): number | undefined {
  const [, user, group] = /^([1-9]\d{3,9}):([1-9]\d{3,9})$/.exec(String(text)) ?? []
  return user === group && isUser(Number(user)) ? Number(user) : undefined
}

export const canaryUser = (first: number): number => first + SESSION_USERS

export const rangeText = (first: number): string => `${first} to ${first + USERS - 1}`

/** As container and image name user and group. */
export const userText = (id: number): string => `${id}:${id}`

/**
 * The user of the next session: the first one after `last` that no session holds, so that an id rests as long as it can. Undefined where all
 * are held. Ids of another range, from before it was changed, are in nobody's way. Pure.
 */
export function nextUser(first: number, held: readonly (number | null)[], last: number | null): number | undefined {
  const taken = new Set(held)
  const begin = last === null || last < first || last >= first + SESSION_USERS ? 0 : last - first + 1
  for (let step = 0; step < SESSION_USERS; step += 1) {
    const id = first + ((begin + step) % SESSION_USERS)
    if (!taken.has(id)) return id
  }
  return undefined
}
