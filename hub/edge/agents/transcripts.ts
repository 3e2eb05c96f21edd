/** The conversation of a session's own task over its socket (docs/agents.md): no path names a task, so no session can ask for another's. */
import { sha256Hex } from '../../base/canonical.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import type { Call, Gate } from '../../guard/gate.ts'
import { parseShape } from '../../protocol/parse.ts'
import { transcriptPutShape } from '../../protocol/transcript-put.ts'
import { TRANSCRIPT_BYTES_MAX, TRANSCRIPT_HEAD_BYTES_MAX } from '../../protocol/transcripts.ts'
import type { SessionRow } from '../../work/dispatch/rows.ts'
import type { SessionCards } from '../../work/session-cards.ts'
import type { Transcripts } from '../../work/transcripts.ts'
import { requireContentType, sendJson } from '../http-answers.ts'
import { streamArtifact } from './artifacts.ts'
import type { AgentExchange, ByToken, OwnCall } from './requests.ts'

const EMPTY_SHA256 = sha256Hex('')
const MOST = TRANSCRIPT_BYTES_MAX + TRANSCRIPT_HEAD_BYTES_MAX
/** Of all sessions together so much is on its way at once, by what they say before: four of the largest. */
const ON_THEIR_WAY_MAX = 4 * MOST
const AGAIN_MS = 500

/** One conversation of each session is on its way, and no more of all than the disk is to hold beside those that are kept. Whoever is refused asks again. */
function createArrivals() {
  const sizes = new Map<string, number>()
  return async <Got>(session: string, size: number, receive: () => Promise<Got>): Promise<Got> => {
    const all = [...sizes.values()].reduce((sum, each) => sum + each, size)
    if (sizes.has(session) || all > ON_THEIR_WAY_MAX)
      throw new HubError('rate_limited', 'too many conversations are on their way', {
        facts: { retryAfterMs: AGAIN_MS },
      })
    sizes.set(session, size)
    try {
      return await receive()
    } finally {
      sizes.delete(session)
    }
  }
}

export function agentTranscripts(
  parts: { gate: Gate; transcripts: Transcripts; cards: Pick<SessionCards, 'of'> },
  byToken: ByToken,
  own: OwnCall,
) {
  const { gate, transcripts, cards } = parts
  const facts = (session: SessionRow) => ({ transcripts: cards.of(session)?.card.transcripts === true })
  /** Nobody fills the disk with what will be refused, and nothing is hashed for it. The nonce is burned by what follows. */
  const foresee = ({ burn: _, ...call }: Call) => void gate.foresee(call)
  const arrive = createArrivals()
  /** The gate has let it through so far, and hears of what is refused before the effect: each refusal leaves its record. */
  async function recorded<Got>(call: Call, work: () => Promise<Got>): Promise<Got> {
    try {
      return await work()
    } catch (thrown) {
      gate.refuse(call, toHubError(thrown))
      throw thrown
    }
  }

  async function put(exchange: AgentExchange): Promise<void> {
    requireContentType(exchange.request, 'application/octet-stream')
    const { sha256, leftOut } = parseShape(transcriptPutShape, {
      ...Object.fromEntries(exchange.url.searchParams),
      sha256: exchange.url.pathname.split('/').pop(),
    })
    const caller = await byToken(exchange, sha256)
    const { session } = caller
    const call = own(exchange, 'transcript.put', caller, facts(session))
    foresee(call)
    // What says no size may be the largest.
    const size = Math.min(Number(exchange.request.headers['content-length'] ?? MOST), MOST)
    const receive = () => transcripts.receive(exchange.request, sha256, MOST)
    const arrived = await recorded(call, () => arrive(session.id, size, receive))
    try {
      const kept = gate.admit(call, (grant) => ({
        ...transcripts.put(grant, arrived, session),
        auditEffect: `task:${session.task} ${arrived.size} B sha256:${sha256}${leftOut === 0 ? '' : `, ${leftOut} other files left out`}`,
      }))
      sendJson(exchange.response, 200, { sha256: kept.sha256, size: kept.size })
    } finally {
      transcripts.discard(arrived)
    }
  }

  async function get(exchange: AgentExchange): Promise<void> {
    const caller = await byToken(exchange, EMPTY_SHA256)
    const { session } = caller
    const call = own(exchange, 'transcript.get', caller, facts(session))
    foresee(call)
    await recorded(call, () => transcripts.verify(session.task))
    const opened = gate.admit(call, (grant) => ({
      ...transcripts.take(grant, session),
      auditEffect: `task:${session.task}`,
    }))
    streamArtifact(exchange.response, opened.stream, opened.size, undefined)
  }

  return { put, get }
}
