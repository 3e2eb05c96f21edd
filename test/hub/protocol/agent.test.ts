/** What a card asks for and gets of restarts (S0-4, fault C34). */
import { describe, expect, it } from 'vitest'
import { type AgentCard, agentCardShape, cardNote, restartsOf } from '../../../hub/protocol/agent.ts'

const card = (more: object): AgentCard =>
  agentCardShape.parse({ name: 'one', description: 'one of a test', image: 'hub/one', run: ['one'], ...more })

describe('restarts of a card', () => {
  it('are three where it says nothing, and what it says otherwise', () => {
    expect([restartsOf(card({})), restartsOf(card({ restarts: 0 })), restartsOf(card({ restarts: 7 }))]).toEqual([
      3, 0, 7,
    ])
  })

  it.each([
    ['says restarts and not repeatable', { restarts: 2 }, true],
    ['says repeatable too', { restarts: 2, repeatable: true }, false],
    ['says nothing of either', {}, false],
    ['wants none', { restarts: 0 }, false],
    ['is a service, which is always started again', { restarts: 2, mode: 'service' }, false],
  ])('a card that %s gets a word when it is loaded: %j %s', (_, more, isNoted) => {
    expect(cardNote(card(more))).toMatch(isNoted ? /^restarts: 2 counts only until .*`repeatable: true`/ : /^$/)
  })
})
