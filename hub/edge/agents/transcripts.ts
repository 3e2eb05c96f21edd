/** The conversation of a session's own task over its socket (docs/agents.md): no path names a task, so no session can ask for another's. */
import { sha256Hex } from '../../base/canonical.ts'
import type { Call, Gate } from '../../guard/gate.ts'
import { sha256Shape } from '../../protocol/ids.ts'
import { parseShape } from '../../protocol/parse.ts'
import { TRANSCRIPT_BYTES_MAX, TRANSCRIPT_HEAD_BYTES_MAX } from '../../protocol/transcripts.ts'
import type { SessionRow } from '../../work/dispatch/rows.ts'
import type { SessionCards } from '../../work/session-cards.ts'
import type { Transcripts } from '../../work/transcripts.ts'
import { requireContentType, sendJson } from '../http-answers.ts'
import { streamArtifact } from './artifacts.ts'
import type { AgentExchange, ByToken, OwnCall } from './requests.ts'

const EMPTY_SHA256 = sha256Hex('')

export function agentTranscripts(
  parts: { gate: Gate; transcripts: Transcripts; cards: Pick<SessionCards, 'of'> },
  byToken: ByToken,
  own: OwnCall,
) {
  const { gate, transcripts, cards } = parts
  const facts = (session: SessionRow) => ({ transcripts: cards.of(session)?.card.transcripts === true })
  /** Nobody fills the disk with what will be refused, and nothing is hashed for it. The nonce is burned by what follows. */
  const foresee = ({ burn: _, ...call }: Call) => void gate.foresee(call)

  async function put(exchange: AgentExchange): Promise<void> {
    requireContentType(exchange.request, 'application/octet-stream')
    const sha256 = parseShape(sha256Shape, exchange.url.pathname.split('/').pop(), 'sha256')
    const caller = await byToken(exchange, sha256)
    const { session } = caller
    const call = own(exchange, 'transcript.put', caller, facts(session))
    foresee(call)
    const most = TRANSCRIPT_BYTES_MAX + TRANSCRIPT_HEAD_BYTES_MAX
    const arrived = await transcripts.receive(exchange.request, sha256, most)
    try {
      const kept = gate.admit(call, (grant) => ({
        ...transcripts.put(grant, arrived, session),
        auditEffect: `task:${session.task} ${arrived.size} B sha256:${sha256}`,
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
    await transcripts.verify(session.task)
    const opened = gate.admit(call, (grant) => ({
      ...transcripts.take(grant, session),
      auditEffect: `task:${session.task}`,
    }))
    streamArtifact(exchange.response, opened.stream, opened.size, undefined)
  }

  return { put, get }
}
