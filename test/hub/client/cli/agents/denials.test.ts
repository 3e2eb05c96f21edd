import { describe, expect, test } from 'vitest'
import { refusalOf, refusalText } from '../../../../../hub/client/cli/agents/try.ts'
import type { HubEvent } from '../../../../../hub/protocol/events.ts'

const names = { name: 'a', dev: 'a--dev' }
const event = (data: Record<string, unknown>, type: HubEvent['type'] = 'hub.message.refused.v1'): HubEvent => ({
  specversion: '1.0',
  id: 'x-1',
  sequence: 1,
  source: '/hub/x',
  type,
  subject: 'session:s',
  time: '2026-01-01T00:00:00.000Z',
  data,
})

describe('what an agent was refused', () => {
  test('is shown with the line of policy/data.json that mends it, under the name of the agent', () => {
    const detail = 'agent a--dev may not message b: add "b" to agents.a--dev.message in policy/data.json'
    const refusal = refusalOf(event({ operation: 'message.send', resource: 'agent:b', code: 'policy_denied', detail }))
    if (refusal === undefined) throw new Error('no refusal')
    expect(refusalText(refusal, names)).toEqual([
      'denied: message.send agent:b: policy_denied: agent a may not message b: add "b" to agents.a.message in policy/data.json',
      '  fix: add "b" to agents.a.message in policy/data.json (`hub agent allow a` grants what the card asks for)',
    ])
  })

  test('is shown with the line of the card where that mends it, and else with what the code says', () => {
    const card = 'agent a--dev may not use topic t: add "t" to may.topics of the card of agent a--dev'
    expect(refusalText({ code: 'policy_denied', detail: card, what: '' }, names)[1]).toBe(
      '  fix: add "t" to may.topics of the card of agent a',
    )
    expect(refusalText({ code: 'rate_limited', detail: 'slow', what: '' }, names)[1]).toContain('retryAfterMs')
    expect(refusalText({ code: 'no_such_code', detail: '', what: '' }, names)[1]).toContain('hub audit list')
  })

  test('is no news where the SDK settles it by itself, and nothing else is a refusal', () => {
    expect(refusalOf(event({ code: 'nonce_used' }))).toBeUndefined()
    expect(refusalOf(event({ code: 'policy_denied' }, 'hub.task.log.v1'))).toBeUndefined()
    expect(refusalOf(event({}))).toBeUndefined()
  })

  test('cannot move the cursor, whatever an agent puts into it (T30)', () => {
    const [line] = refusalText({ code: 'policy_denied', detail: 'a\u001b[2Jb\nc', what: 'x' }, names)
    expect(line).toContain('a\\u001b[2Jb\\nc')
  })
})
