/** Whether the second person could stop this tonight: a card in force at hub and watchdog, tried with them, and an address that leads here. */
import { existsSync } from 'node:fs'
import type { Clock } from '../../base/clock.ts'
import type { Card, Contact } from '../../guard/operator/contact.ts'
import type { Told } from '../routes/contact.ts'
import type { Check } from './doctor.ts'

const DAY_MS = 24 * 3_600_000
const CONFIRMED_DAYS_MAX = 180
const REACHED_DAYS_MAX = 35
/** Where scripts/systemd/install puts it. */
const HUB_STOP = '/usr/local/bin/hub-stop'

const daysSince = (atMs: number, nowMs: number): number => Math.floor(Math.max(0, nowMs - atMs) / DAY_MS)

/** Pure. */
export function judgeContact(
  facts: { card: Card | undefined; watchdog: Told; publicUrl: string | undefined; hasHubStop: boolean },
  nowMs: number,
): Check[] {
  const { card, watchdog, publicUrl, hasHubStop } = facts
  if (card === undefined) {
    const detail = 'there is none: nobody but you can stop this hub'
    return [{ name: 'contact', ok: null, detail, mend: 'hub contact card --name NAME --operator-name YOU' }]
  }
  return [
    contactCheck(card, nowMs),
    watchdogCheck(card, watchdog),
    reachCheck(card, watchdog, publicUrl, nowMs),
    hubStopCheck(hasHubStop),
  ]
}

function hubStopCheck(hasHubStop: boolean): Check {
  const detail = hasHubStop
    ? `every account can run ${HUB_STOP}`
    : 'the card names it, but it is missing or not every account may run it'
  return { name: 'hub-stop', ok: hasHubStop ? true : null, detail, mend: 'sudo scripts/systemd/install' }
}

function contactCheck(card: Card, nowMs: number): Check {
  const base = { name: 'contact', mend: 'hub contact test, then hub contact confirm CODE' }
  if (card.expiresAtMs !== null && nowMs >= card.expiresAtMs)
    return { ...base, ok: false, detail: `the card of ${card.name} has expired`, mend: 'hub contact card' }
  if (card.confirmedAtMs === null)
    return { ...base, ok: null, detail: `${card.name} has a card, but no code they read out was entered yet` }
  const days = daysSince(card.confirmedAtMs, nowMs)
  const isFresh = days <= CONFIRMED_DAYS_MAX
  return { ...base, ok: isFresh ? true : null, detail: `${card.name} read out a code ${days} days ago` }
}

function watchdogCheck(card: Card, watchdog: Told): Check {
  const base = { name: 'contact at the watchdog' }
  if (!watchdog.told) return { ...base, ok: false, detail: watchdog.reason ?? 'it does not answer', mend: 'hub up' }
  const isSame = watchdog.card?.id === card.id
  const detail = isSame ? 'it accepts the same card' : 'it does not know this card'
  return { ...base, ok: isSame, detail, mend: 'hub restart' }
}

function reachCheck(card: Card, watchdog: Told, publicUrl: string | undefined, nowMs: number): Check {
  const addresses = [publicUrl, watchdog.publicUrl].filter((url) => typeof url === 'string')
  const name = 'stop address'
  if (addresses.length === 0) {
    const detail = 'none: the card works only at this machine'
    return {
      name,
      ok: false,
      detail,
      mend: 'set reach.publicUrl in hub.yaml or watchdog/config.yaml (docs/reference/configuration.md)',
    }
  }
  const atMs = Math.max(card.reachedAtMs ?? 0, watchdog.reachedAtMs ?? 0)
  const days = daysSince(atMs, nowMs)
  const mend = `open ${addresses[0]}/stop on a phone that is not in this network`
  if (atMs === 0) return { name, ok: false, detail: 'never opened from outside', mend }
  return { name, ok: days <= REACHED_DAYS_MAX, detail: `last opened from outside ${days} days ago`, mend }
}

export const createContactChecks =
  (parts: { contact: Contact; clock: Clock; news: () => Promise<Told>; publicUrl: string | undefined }) =>
  async (): Promise<Check[]> => {
    const { contact, clock, news, publicUrl } = parts
    const card = contact.current()
    const watchdog: Told = card === undefined ? { told: true } : await news()
    return judgeContact({ card, watchdog, publicUrl, hasHubStop: existsSync(HUB_STOP) }, clock.wallMs())
  }
