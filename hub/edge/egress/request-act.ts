/**
 * What an approval of one request outward is bound to: exactly this request (ask-2). The rules see agent, upstream, kind and class, so that their
 * answers are remembered; a person sees the request itself, without its body and its query, and the yes is for nothing else.
 */
import { createHash } from 'node:crypto'
import { digestOf, sha256Hex } from '../../base/canonical.ts'
import { HubError } from '../../base/errors.ts'
import type { ActFacts } from '../../guard/acts.ts'
import type { Call } from '../../guard/gate.ts'
import type { JudgedHead } from '../../work/egress/wire/judged.ts'

const TURN_BYTES = 512 * 1024
/** Of a path, for a person; all of it is bound. */
const PATH_SHOWN_MAX = 200
/** Names the program, and may differ at each try. */
const UNBOUND = 'user-agent'

/** A body, before the hub writes its cap into it. */
export interface BodyDigest {
  bytes: number
  sha256: string
}

/** Digests a body in turns of about a millisecond. */
export function* digestInTurns(body: Buffer): Generator<undefined, BodyDigest> {
  const hash = createHash('sha256')
  for (let at = 0; at < body.length; at += TURN_BYTES) {
    if (at > 0) yield
    hash.update(body.subarray(at, at + TURN_BYTES))
  }
  return { bytes: body.length, sha256: hash.digest('hex') }
}

const short = (sha256: string): string => `sha256 ${sha256.slice(0, 16)}`

/** Whether it is said of exactly one act, body and all. It is not to be remembered: a person may answer in the next second. */
export const isOfAnApproval = ({ code }: HubError): boolean => code === 'needs_approval' || code === 'approval_refused'

/**
 * For `act` of the call. `body`: undefined for a request that has none; `unread` for one whose body goes on piece by piece: about that one nobody can be
 * asked, and an approval of it throws `internal`.
 */
export function actOfRequest(
  { facts }: Pick<Call, 'facts'>,
  head: JudgedHead,
  body: BodyDigest | 'unread' | undefined,
  model = head.model,
): () => ActFacts {
  return () => {
    if (body === 'unread') throw new HubError('internal', '', { reason: 'a body that was not read has no approval' })
    const { method, path, host } = head
    const query = head.query === '' ? null : sha256Hex(head.query)
    const headers = head.headers.filter(([name]) => name !== UNBOUND)
    const isLong = path.length > PATH_SHOWN_MAX
    return {
      payload: digestOf('hub-egress-v1', {
        ...{ method, host, path, query, headers, body: body?.sha256 ?? null, model: model ?? null },
      }),
      facts: {
        ...facts,
        method,
        path: isLong
          ? `${path.slice(0, PATH_SHOWN_MAX)} ... (cut: ${path.length} characters, ${short(sha256Hex(path))})`
          : path,
        query: query === null ? 'none' : `there is one, ${short(query)}`,
        body: body === undefined ? 'none' : `${body.bytes} bytes, ${short(body.sha256)}`,
        ...(model === undefined ? {} : { model }),
      },
    }
  }
}
