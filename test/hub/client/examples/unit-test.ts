/** How an agent is tested without a hub; the tests of this repository run it. */
import assert from 'node:assert/strict'
import { createFakeHub } from '../../../../hub/client/agent/fake-hub.ts'
import { register as registerLead } from './lead.ts'
import { register as registerReader } from './reader.ts'

export async function testReader(): Promise<void> {
  const hub = createFakeHub({ inputs: { 'a.txt': 'one two', 'b/c.txt': 'three' } })
  registerReader(hub)
  assert.deepEqual(await hub.perform(), { outcome: 'succeeded', value: { files: 2, words: 3 } })
  assert.equal(hub.artifacts.get('report.md')?.toString(), '# 3 words in 2 files\n')
  assert.equal(hub.progressed.length, 2)
}

export async function testLead(): Promise<void> {
  const hub = createFakeHub({
    onDelegate: ({ agent }) => ({ value: `read by ${agent}` }),
    onRequest: (to, type) => ({ ok: to === 'agent:judge' && type === 'lead.check' }),
  })
  registerLead(hub)
  const asked = hub.deliver('lead.count')
  assert.deepEqual(await hub.perform(), { outcome: 'succeeded', value: { ok: true, value: 'read by reader' } })
  assert.deepEqual(await asked, { seen: 0 })
  assert.deepEqual(
    hub.sent.map(({ kind, to }) => `${kind} ${to}`),
    ['delegate hub', 'request agent:judge', 'event topic:reports'],
  )
}

export async function testLeadThatIsRefused(): Promise<void> {
  const hub = createFakeHub({ refuse: ({ kind }) => (kind === 'delegate' ? 'policy_denied' : undefined) })
  registerLead(hub)
  assert.equal((await hub.perform()).outcome, 'failed')
  assert.deepEqual(hub.sent, [])
}
