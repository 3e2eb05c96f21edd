/**
 * An agent asks whether it may use a tool (`tool.permit`): what the rules see of it, and what comes of the answer (docs/permissions.md).
 *
 * P1. The rules see kind, tier and `permissions`, and who asks; never the name, the title or the arguments. Those are in the approval, and
 *     none of the arguments is in a record.
 * P2. The answer comes as a reply under the id of the question, at once or when a person gave it. Meanwhile the session waits as with `ask`.
 * P3. A question is repeated under its id when its answer may be lost. Who was asked about it is not asked again, and the first answer counts;
 *     what nobody was asked about is decided again. Another question under the same id is refused.
 * P4. A program may take its question back, whatever the rules say now: it waits no more for a person, who is told (withdrawals.ts).
 * P5. A session has so many questions open (approvals.ts) and so many a minute.
 */
import { digestOf } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { shownLine } from '../../base/shown-text.ts'
import { assertGrant, type Grant } from '../../guard/grant.ts'
import { noText, recordEffect } from '../../guard/operator/approval-words.ts'
import type { Approvals } from '../../guard/operator/approvals.ts'
import type { Tier } from '../../protocol/approval.ts'
import { type Envelope, permitBodyShape } from '../../protocol/envelope.ts'
import { parseShape } from '../../protocol/parse.ts'
import {
  ARGUMENTS_SHOWN_BYTES_MAX,
  DEFAULT_PERMISSIONS,
  type Permissions,
  type ToolKind,
  tierOfTool,
  toolKindOf,
} from '../../protocol/tools.ts'
import type { SessionRow } from '../dispatch/rows.ts'
import type { Tasks } from '../dispatch/tasks.ts'
import { decidePermission } from '../permissions.ts'
import type { SessionCards } from '../session-cards.ts'
import { withdraw, withdrawnBy } from './withdrawals.ts'

/** What an agent asks about, as it is judged. */
interface Use {
  tool: string
  /** What the agent said, if that is none of the kinds. */
  said: string | undefined
  kind: ToolKind
  tier: Tier
  mode: Permissions
  title: string
  given: unknown
}

/** What the record says. */
interface Decided {
  auditEffect: string
}

export interface Permits {
  /** What record and rules see of it. Throws `schema_invalid`, or `rate_limited` with `retryAfterMs`. */
  about(sender: SessionRow, envelope: Envelope): { resource: string; facts: Record<string, unknown> }
  /**
   * Decides, asks a person where that is to be, and answers by `reply` what is decided already. Throws `policy_denied`, `already_resolved`,
   * `rate_limited`. Answers what the record says.
   */
  decide(
    grant: Grant,
    sender: SessionRow,
    envelope: Envelope,
    reply: (answer: { approved: boolean; text: string }) => void,
  ): Decided
  forget(session: string): void
}

const PERMITS_PER_MINUTE = 240
const MINUTE_MS = 60_000
const WHY_MAX = 200

/** The arguments as a person is shown them, whole or their beginning. */
function shownOf(given: unknown): unknown {
  const text = JSON.stringify(given ?? null)
  const bytes = Buffer.byteLength(text)
  if (bytes <= ARGUMENTS_SHOWN_BYTES_MAX) return given
  let most = ARGUMENTS_SHOWN_BYTES_MAX
  const cut = () => `${text.slice(0, most).toWellFormed()} ... (cut: ${bytes} bytes in all)`
  while (Buffer.byteLength(JSON.stringify(cut())) > ARGUMENTS_SHOWN_BYTES_MAX) most = Math.floor(most * 0.8)
  return cut()
}

export function createPermits({
  cards,
  approvals,
  tasks,
  clock,
}: {
  cards: Pick<SessionCards, 'of'>
  approvals: Pick<Approvals, 'ask' | 'isAsked' | 'withdraw' | 'openOf'>
  tasks: Pick<Tasks, 'waiting' | 'resumed'>
  clock: Pick<Clock, 'monotonicMs'>
}): Permits {
  /** Questions of each session in its minute. */
  const asked = new Map<string, { sinceMs: number; count: number }>()

  /** `bypass` counts only for a session that was granted it; without that it is as if the card said nothing. */
  function modeOf(sender: SessionRow): Permissions {
    const mode = cards.of(sender)?.card.permissions ?? DEFAULT_PERMISSIONS
    return mode === 'bypass' && sender.authority.relax?.includes('bypass') !== true ? DEFAULT_PERMISSIONS : mode
  }

  function useOf(sender: SessionRow, envelope: Envelope): Use {
    const { tool, kind: said, title, tier, arguments: given } = parseShape(permitBodyShape, envelope.body, 'body')
    const kind = toolKindOf(said)
    return {
      ...{ tool, said: said === kind ? undefined : said, kind, title, given },
      ...{ tier: tierOfTool(kind, tier), mode: modeOf(sender) },
    }
  }

  function requireFew(session: string): void {
    const nowMs = clock.monotonicMs()
    const minute = asked.get(session)
    if (minute === undefined || nowMs - minute.sinceMs >= MINUTE_MS) asked.set(session, { sinceMs: nowMs, count: 1 })
    else if (minute.count < PERMITS_PER_MINUTE) minute.count += 1
    else
      throw new HubError('rate_limited', `more than ${PERMITS_PER_MINUTE} questions about tools in a minute`, {
        facts: { retryAfterMs: Math.max(1, Math.ceil(minute.sinceMs + MINUTE_MS - nowMs)) },
      })
  }

  function askPerson(
    grant: Grant,
    sender: SessionRow,
    envelope: Envelope,
    { tool, said, kind, tier, mode, title, given }: Use,
    why: string,
  ) {
    const text = `may it use the tool ${JSON.stringify(tool)} (${said === undefined ? kind : JSON.stringify(said)})?${title === '' ? '' : ` ${title}`}`
    const parts = { use: digestOf('hub-tool-v1', { session: sender.id, body: envelope.body }) }
    const facts = {
      ...{ tool, kind: said === undefined ? kind : `${said}, which is none of the kinds`, permissions: mode },
      ...{ why: why.slice(0, WHY_MAX).toWellFormed(), title },
      ...(given === undefined ? {} : { arguments: shownOf(given) }),
    }
    const asked = { task: sender.task, session: sender.id, askId: envelope.id, text }
    return approvals.ask(grant, { ...asked, tool: { tier, parts, facts } })
  }

  return {
    about(sender, envelope) {
      const withdrawn = withdrawnBy(envelope)
      if (withdrawn !== undefined)
        return { resource: `question:${withdrawn}`, facts: { kind: 'think', tier: 'read', permissions: 'ask' } }
      requireFew(sender.id)
      const { tool, kind, tier, mode } = useOf(sender, envelope)
      return {
        resource: `tool:${shownLine(tool)} kind:${kind} tier:${tier} permissions:${mode}`,
        facts: { kind, tier, permissions: mode },
      }
    },

    decide(grant, sender, envelope, reply) {
      assertGrant(grant, 'tool.permit')
      const withdrawn = withdrawnBy(envelope)
      if (withdrawn !== undefined) return withdraw(grant, sender, withdrawn, { approvals, tasks })
      const use = useOf(sender, envelope)
      const { verdict, why } = decidePermission(use.mode, use.tier, grant.asks === undefined ? 'allow' : 'ask')
      const follows = (text: string) => ({ auditEffect: recordEffect({ id: '', task: sender.task }, text) })
      const isKnown = approvals.isAsked(sender.id, envelope.id)
      if (verdict === 'deny')
        throw new HubError('policy_denied', `agent ${sender.agent} may not use the tool ${shownLine(use.tool)}: ${why}`)
      if (verdict === 'allow' && !isKnown) {
        reply({ approved: true, text: why })
        return follows(`allowed: ${why}`)
      }
      const one = askPerson(grant, sender, envelope, use, grant.asks?.reason ?? why)
      // A repeat: the answer may have been lost, so it is told again.
      if (one.state === 'approved' || one.state === 'refused')
        reply({ approved: one.state === 'approved', text: one.answer })
      if (one.ending === 'timed_out') reply({ approved: false, text: noText(one) })
      if (one.ending === 'over') reply({ approved: false, text: 'the question was taken back' })
      if (one.isNew && one.state === 'asked') tasks.waiting(grant, sender.id)
      return follows(one.isNew ? `asks a person, approval:${one.id}` : `asked before, approval:${one.id}, ${one.state}`)
    },

    forget: (session) => void asked.delete(session),
  }
}
