/**
 * What the operator does about the backup contact: make a card, revoke it, send a code to read out (docs/safety.md 6). Each is told to the
 * watchdog, which accepts the card by itself. If it cannot be told now, it is told later (`createContactNews`), and the answer says so.
 */
import { isDeepStrictEqual } from 'node:util'
import { HubError, toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Gate } from '../../guard/gate.ts'
import type { Grant, StopGrant } from '../../guard/grant.ts'
import type { Contact } from '../../guard/operator/contact.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import { type Handlers, handler, stopHandler } from '../serve.ts'

/** Asks the watchdog's door. @throws HubError if nobody answers */
type Ask = (path: '/v1/contact' | '/v1/alert-test', body: object) => Promise<unknown>
interface Tried {
  channel: string
  ok: boolean
  why: string
}
/** What the watchdog says of its own side. */
export interface WatchdogContact {
  revoked?: boolean
  card?: { id: string } | null
  reachedAtMs?: number | null
  publicUrl?: string | null
  port?: number
  stopAtMs?: number | null
}
export interface Told extends WatchdogContact {
  told: boolean
  /** Why not. */
  reason?: string
}

/** Tells the watchdog what it does not know yet. Never throws. */
export function createContactNews(parts: { contact: Contact; gate: Gate; ask: Ask; log: Log }): () => Promise<Told> {
  const { contact, gate, ask, log } = parts
  return async () => {
    const news = contact.untold()
    try {
      const body =
        news === undefined ? { action: 'show' } : news === 'none' ? { action: 'revoke' } : { action: 'set', ...news }
      const side = (await ask('/v1/contact', body)) as WatchdogContact
      // The card was made again or revoked while the answer was on its way. This answer is about an earlier card; the new one is told
      // separately.
      const isStill = isDeepStrictEqual(contact.untold(), news)
      if (side.revoked === true && isStill) {
        // Revoked at the watchdog while the hub was away: a revocation wins.
        const call = { principal: hubPrincipal('contact'), operation: 'contact.revoke', resource: 'contact' } as const
        gate.admitStop(call, (grant) => contact.revoke(grant))
        log.warn('the card was revoked at the watchdog; it is revoked here too')
      }
      if (news !== undefined && isStill) contact.noteTold()
      return { ...side, told: true }
    } catch (thrown) {
      return { told: false, reason: toHubError(thrown).message }
    }
  }
}

export function contactHandlers(parts: {
  contact: Contact
  ask: Ask
  news: () => Promise<Told>
  publicUrl: string | undefined
  port: () => number
}): Handlers {
  const { contact, ask, news } = parts
  const withId = <Result extends object>(id: string, rest: Result) => ({ auditEffect: `card ${id}`, ...rest })
  return {
    'contact.card': handler({
      resource: () => 'contact',
      effect: (grant: Grant, request: { name: string; operator: string; expiresAtMs?: number }) => {
        const made = contact.issue(grant, { ...request, expiresAtMs: request.expiresAtMs ?? null })
        return withId(made.card.id, made)
      },
      after: async ({ words, card }) => ({
        words,
        card,
        watchdog: await news(),
        hub: { publicUrl: parts.publicUrl ?? null, port: parts.port() },
      }),
    }),
    'contact.revoke': stopHandler({
      resource: () => 'contact',
      effect: (grant: StopGrant) => {
        const ended = contact.revoke(grant)
        return withId(ended?.id ?? 'none', { card: ended ?? null })
      },
      after: async ({ card }) => ({ card, watchdog: await news() }),
    }),
    'contact.test': handler({
      resource: () => 'contact',
      effect: (grant: Grant) => {
        const code = contact.startTest(grant)
        return withId(contact.current()?.id ?? '', { code })
      },
      after: async ({ code }) => {
        try {
          const { channels } = (await ask('/v1/alert-test', { who: 'contact', kind: 'test', code })) as {
            channels: Tried[]
          }
          const failed = channels.filter(({ ok }) => !ok).map(({ channel, why }) => `${channel}: ${why}`)
          const sent = channels.length - failed.length
          // If no channel reaches the contact, the operator must read it to them. If one does, only the contact knows it.
          return sent > 0 ? { sent, failed } : { sent, failed, code }
        } catch (thrown) {
          return { sent: 0, failed: [toHubError(thrown).message], code }
        }
      },
    }),
    'contact.confirm': handler({
      resource: () => 'contact',
      effect: (grant: Grant, { code }: { code: string }) => {
        const isRight = contact.confirm(grant, code)
        return { auditEffect: isRight ? 'the code' : 'not the code', isRight }
      },
      after: ({ isRight }) => {
        if (!isRight)
          throw new HubError('forbidden', 'that is not the code; ask again, or send another: `hub contact test`')
        return { card: contact.current() ?? null }
      },
    }),
  }
}
