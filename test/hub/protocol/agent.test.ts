/** What a card asks for and gets of restarts (S0-4, fault C34). */
import { describe, expect, it } from 'vitest'
import { type AgentCard, agentCardShape, cardNote, restartsOf } from '../../../hub/protocol/agent.ts'

const card = (more: object): AgentCard =>
  agentCardShape.parse({ name: 'one', description: 'one of a test', image: 'hub/one', run: ['one'], ...more })

describe('mcp of a card', () => {
  it('is absent where it asks for none, and http only comes with a way out', () => {
    expect(card({})).not.toHaveProperty('mcp')
    expect(card({ mcp: ['stdio'] }).mcp).toEqual(['stdio'])
    expect(card({ mcp: ['stdio', 'http'], may: { egress: ['model'] } }).mcp).toEqual(['stdio', 'http'])
  })

  it.each([
    [{ mcp: ['http'] }, 'http needs a way out (may.egress): only a session with egress has a loopback'],
    [{ mcp: ['grpc'] }, '\\"grpc\\" is no way to reach MCP: there are stdio'],
    [{ mcp: [] }, 'Too small'],
    [{ mcp: ['stdio', 'stdio'] }, 'a way is there twice'],
    [{ mcp: true }, 'expected array'],
  ])('%j is refused by name', (more, why) => {
    expect(() => card(more)).toThrow(why)
  })
})

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
