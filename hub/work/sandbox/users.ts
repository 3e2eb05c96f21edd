/**
 * The users of sessions (fault F14). Each live session runs as a user of its own, out of a range in which this machine has no account. The
 * kernel counts some things by user for the whole machine: inotify instances, pending signals, pipe buffers, locked memory. So one session
 * cannot take these from another. Whatever else fails, none can signal or trace another's process.
 */

/** How many there are in the range: the sessions' own, and as the last one the canary's. */
export const USERS = 256
export const SESSION_USERS = USERS - 1

/**
 * First of the range by default. 60928 to 61183 are ids that neither Debian's policy nor systemd gives to anybody ("Users, Groups, UIDs and
 * GIDs on systemd systems"). They are below the 65536 ids of an engine that maps users.
 */
export const FIRST_USER = 60_928
/** Below this, a system keeps its own accounts. */
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

/** Whether a session may have this id, wherever the range begins. */
export const isUser = (id: number): boolean =>
  Number.isSafeInteger(id) && id >= FIRST_USER_MIN && id < FIRST_USER_MAX + USERS && !NEVER.includes(id)

/** The id in `<id>:<id>`, or undefined if it is no user of a session. Pure. */
export function userOf(text: unknown): number | undefined {
  const [, user, group] = /^([1-9]\d{3,9}):([1-9]\d{3,9})$/.exec(String(text)) ?? []
  return user === group && isUser(Number(user)) ? Number(user) : undefined
}

export const canaryUser = (first: number): number => first + SESSION_USERS

export const rangeText = (first: number): string => `${first} to ${first + USERS - 1}`

/** As container and image name user and group. */
export const userText = (id: number): string => `${id}:${id}`

/**
 * The user of the next session: the first one after `last` that no session holds, so an id rests as long as it can. Undefined if all are
 * held. Ids of another range, from before it was changed, do not matter. Pure.
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
