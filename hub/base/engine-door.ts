/**
 * An engine's socket that this account may not use (fault C22): one line that says so, the remedy, and what the remedy means. Anyone who
 * reaches the engine can mount the whole machine into a container, so membership in its group is a serious right.
 */
import { accessSync, constants } from 'node:fs'
import { userInfo } from 'node:os'

/** This account's name, as `usermod` takes it. */
function accountName(): string {
  try {
    return userInfo().username
  } catch {
    return 'NAME'
  }
}

export interface Denied {
  why: string
  mend: string
}
/** Pure, except that the account defaults to the one this runs as. */
export const deniedWords = (socket: string, account = accountName()): Denied => ({
  why: `${account} may not use the container engine's socket ${socket}`,
  mend: `sudo usermod -aG docker ${account}, log in again, then hub down and hub up; anyone in that group has in effect the rights of root on this machine`,
})
export const deniedLine = ({ why, mend }: Denied): string => `${why}: ${mend}`

export const isDenied = (thrown: unknown): boolean => (thrown as { code?: unknown } | null)?.code === 'EACCES'

/** The words if this account may not use the socket; undefined if it may, or if there is no socket. Does not call the engine. */
export function judgeDoor(socket: string): Denied | undefined {
  try {
    accessSync(socket, constants.R_OK | constants.W_OK)
    return undefined
  } catch (thrown) {
    return isDenied(thrown) ? deniedWords(socket) : undefined
  }
}
