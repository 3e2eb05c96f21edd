/**
 * What a program in a container gets in the place of a key, where it insists on one (docs/egress.md 5). It opens nothing: the hub only sees by it
 * that a program offers to one upstream what it was given for another, or what another session was given (E16).
 */
import { createHash } from 'node:crypto'

/** The placeholder of one session for one upstream. Pure. */
export const placeholderOf = (session: string, upstream: string): string =>
  `hub-placeholder-${upstream}-${createHash('sha256').update(`hub-placeholder-v1\0${session}\0${upstream}`).digest('hex').slice(0, 24)}`
