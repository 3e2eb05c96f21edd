/** What a person is asked, in words: who, what and on what, and no id longer than it has to be (S2-26). */
import { expect, test } from 'vitest'
import { askedWords } from '../../../hub/protocol/asked-words.ts'

const asked = { agent: null, principal: 'operator', operation: null, resource: null, question: 'why' }

test.each([
  [
    {
      agent: 'shop',
      principal: 'hub:dispatcher',
      operation: 'task.dispatch',
      resource: 'task:01a22f33-c9b2-7072-952a-26eebd2bd5e6',
    },
    'may agent shop start task bd2bd5e6?',
  ],
  [
    { agent: 'child', principal: 'agent:boss/sjkvsykwdbagdf7h', operation: 'task.delegate', resource: 'task:x' },
    'may agent boss give a task to agent child?',
  ],
  [
    { agent: 'a', principal: 'agent:a/sjkvsykwdbagdf7h', operation: 'message.send', resource: 'agent:b' },
    'may agent a send a message to agent b?',
  ],
  [{ operation: 'token.create', resource: 'token:ci' }, 'may the operator make the token ci?'],
  [{ principal: 'automation:ci', operation: 'backup.run', resource: 'hub' }, 'may token ci use backup.run on hub?'],
  [{ principal: 'device:phone', operation: 'task.retry', resource: 'task:7' }, 'may device phone run again task 7?'],
])('%j', (act, wish) => {
  expect(askedWords({ ...asked, ...act })).toEqual({ who: 'a rule', wish, what: `${wish} why` })
})

test('S2-30: a question of the hub about money is its own words', () => {
  const question = 'Task 3718ca9e has spent 1.60 of 2.00 USD. May it spend 2.00 more?'
  const words = askedWords({ ...asked, kind: 'budget', agent: 'solo', principal: 'hub:egress', question })
  expect(words).toEqual({ who: 'the hub', what: question, wish: null })
})

test('a question of an agent, and one of a hub before there were acts, is its own words', () => {
  expect(askedWords({ ...asked, agent: 'solo' })).toEqual({ who: 'solo', what: 'why', wish: null })
  expect(askedWords({ question: 'why', principal: '' } as never)).toEqual({ who: 'an agent', what: 'why', wish: null })
})
