/** What the watchdog is told of the card, while the card changes. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createContactNews } from '../../../hub/edge/routes/contact.ts'
import { OPERATOR } from '../../../hub/guard/principal.ts'
import { type GuardHome, openGuardHome } from '../../support/guard-home.ts'

let home: GuardHome
beforeEach(() => {
  home = openGuardHome()
})
afterEach(() => home[Symbol.dispose]())

const log = { warn: () => undefined } as unknown as Parameters<typeof createContactNews>[0]['log']
const card = () => {
  const { gate, contact } = home.guard
  const call = { principal: OPERATOR, operation: 'contact.card', resource: 'contact' } as const
  return gate.admit(call, (grant) => contact.issue(grant, { name: 'Bea', operator: 'Ada', expiresAtMs: null })).card
}
const revoke = () => {
  const { gate, contact } = home.guard
  const call = { principal: OPERATOR, operation: 'contact.revoke', resource: 'contact' } as const
  gate.admitStop(call, (grant) => contact.revoke(grant))
}
/** A watchdog that answers when it is told to. */
function slow() {
  const { contact, gate } = home.guard
  const waiting: ((answer: object) => void)[] = []
  const ask = () => new Promise<unknown>((resolve) => waiting.push(resolve))
  return { news: createContactNews({ contact, gate, ask, log }), answer: (one: object) => waiting.shift()?.(one) }
}

describe('news of the card', () => {
  it('T17: a revocation that comes while the card before it is being told is still to be told [contact-24]', async () => {
    const { news, answer } = slow()
    card()
    const telling = news()
    revoke()
    answer({})
    await telling
    expect(home.guard.contact.untold()).toBe('none')
    const second = news()
    answer({})
    await second
    expect(home.guard.contact.untold()).toBeUndefined()
  })

  it('that the watchdog has ended an earlier card ends that one, not the one made meanwhile', async () => {
    const { news, answer } = slow()
    card()
    const telling = news()
    const { id } = card()
    answer({ revoked: true })
    await telling
    expect(home.guard.contact.current()?.id).toBe(id)
    const again = news()
    answer({ revoked: true })
    await again
    expect(home.guard.contact.current(), 'a revocation of this one wins').toBeUndefined()
  })
})
