/** What a card asks for and gets: restarts (S0-4, fault C34), conversations that are kept (T104). */
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

describe('conversations that are kept', () => {
  const keeping = {
    driver: 'stream-json',
    run: ['cli', '{param:task}{earlier}'],
    resume: ['cli', 'go on'],
    transcripts: true,
  }

  it('a card that asks for none has no word of it', () => {
    expect(Object.keys(card({}))).not.toEqual(expect.arrayContaining(['transcripts']))
    expect(card({ transcripts: false })).not.toHaveProperty('resume')
    expect(card(keeping)).toMatchObject(keeping)
  })

  it.each([
    ['resume alone', { resume: ['cli'] }, 'resume', /needs `transcripts: true`/],
    ['transcripts without resume', { ...keeping, resume: undefined }, 'transcripts', /needs `resume`/],
    ['no place for the end of an earlier one', { ...keeping, run: ['cli'] }, 'run', /need \{earlier\} in it/],
    ['a driver that cannot go on', { ...keeping, driver: 'command' }, 'driver', /transcripts need stream-json/],
    ['the driver of the shim', { ...keeping, driver: undefined }, 'driver', /is sdk, which goes on with no earlier/],
    [
      'a place of the model in one of both',
      { ...keeping, resume: ['cli', '{model}'] },
      'resume',
      /same places: \{model\}/,
    ],
    ['a value that is none', { ...keeping, transcripts: 'yes' }, 'transcripts', /boolean/],
  ])('%s is refused by name', (_, more, key, message) => {
    const given = { name: 'one', description: 'one of a test', image: 'hub/one', run: ['one'], ...more }
    expect(agentCardShape.safeParse(given).error?.issues).toEqual([
      expect.objectContaining({ path: [key], message: expect.stringMatching(message) }),
    ])
  })
})

describe('a chat', () => {
  const words = (driver: string) =>
    agentCardShape
      .safeParse({ name: 'coder', description: 'd', image: 'hub/coder', run: ['cli'], mode: 'chat', driver })
      .error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)

  it('is refused by name for a driver that takes no prompts, with those that do; of stream-json with acp as the way', () => {
    const able = 'use one of sdk, json-lines, acp, acp-v2, stub'
    const why = (driver: string) =>
      `mode: chat needs a driver that is given prompts while it runs, and ${driver} is not: ${able}`
    expect(words('command')).toEqual([why('command')])
    expect(words('stream-json')).toEqual([`${why('stream-json')}; a coding CLI holds a chat by acp`])
    expect(words('acp')).toBeUndefined()
  })
})
