/**
 * What a program in a container gets in the place of a key, where it insists on one (docs/egress.md 5). It opens nothing: the hub only sees by it
 * that a program offers to one upstream what it was given for another, or what another session was given (E16).
 */
import { createHash } from 'node:crypto'
import { covers, linesOf } from './grants.ts'
import { CLASSES_OF, type Upstream, type UpstreamKind } from './upstreams.ts'

const PLACEHOLDER = /hub-placeholder-[A-Za-z0-9_-]{1,120}/g

/** The placeholder of one session for one upstream. Pure. */
export const placeholderOf = (session: string, upstream: string): string =>
  `hub-placeholder-${upstream}-${createHash('sha256').update(`hub-placeholder-v1\0${session}\0${upstream}`).digest('hex').slice(0, 24)}`

/** Placeholders in a credential: as it is, or behind a user in the form of basic authentication. */
export function placeholdersIn(value: string): string[] {
  const basic = /^basic +([A-Za-z0-9+/=_-]+) *$/i.exec(value)?.[1]
  const text = basic === undefined ? value : Buffer.from(basic, 'base64').toString('latin1')
  return text.match(PLACEHOLDER) ?? []
}

/** What a session with egress is handed at its join, for its program's environment (docs/egress.md 1). */
export interface HandedEgress {
  /** Declared upstreams that it may reach; `placeholder` stands where a program wants a key. */
  upstreams: { name: string; kind: UpstreamKind; placeholder: string }[]
  /** Lines that it may ask for, as `host:port`. */
  lines: string[]
}

/** Undefined for a session without egress. `grants`: what it got at its start. */
export function handedTo(
  session: string,
  grants: readonly string[],
  upstreams: readonly Upstream[],
): HandedEgress | undefined {
  if (grants.length === 0) return undefined
  const isGranted = ({ name, kind }: Upstream) =>
    CLASSES_OF[kind].some((each) => grants.some((grant) => covers(grant, { upstream: name, class: each })))
  return {
    upstreams: upstreams
      .filter(isGranted)
      .map(({ name, kind }) => ({ name, kind, placeholder: placeholderOf(session, name) })),
    lines: linesOf(grants),
  }
}
