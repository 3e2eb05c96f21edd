/** A rule of the operator's own that asks (package `hub.home`, compiled by opa): from the file to the act that is admitted once (fault D14, D-R9, S2-26). */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { settleDatabase } from '../../hub/home/restore.ts'
import { hub } from '../support/command-here.ts'
import { fakeImage } from '../support/fake-engine.ts'
import { freePort } from '../support/free-port.ts'
import { createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'
import { send } from '../support/plain-http.ts'
import { hasOpa } from '../support/policy-fixture.ts'

interface Row {
  id: string
  state: string
  ending: string | null
  question: string
  operation: string
  rule: string
  agent: string
}
const rowsOf = async (h: Harness) =>
  (await h.operator('GET', '/v1/approvals?all=true')).body.approvals as unknown as Row[]
async function openAsk(h: Harness, not?: string): Promise<Row> {
  let found: Row | undefined
  await h.until(
    () =>
      h.hub.guard.store.prepare(`select 1 from approval where state = 'asked' and id <> ?`).get(not ?? '') !==
      undefined,
    'a person is asked',
    200,
  )
  for (const row of await rowsOf(h)) if (row.state === 'asked' && row.id !== not) found = row
  return found as Row
}

const ASKS = `package hub.home

ask contains "shop spends money" if {
	input.operation == "task.dispatch"
	input.resource.agent == "shop"
}

ask contains "a child costs" if {
	input.operation == "task.delegate"
	input.resource.agent == "child"
}
`

test.skipIf(!hasOpa)(
  'asks about a start and a delegation; a yes admits each once; who has no right to answer cannot; image and inputs are bound; a restored copy knows no yes [ask-2, ask-3, ask-9]',
  async () => {
    const port = await freePort()
    await using h = await createHarness({
      agents: {
        shop: { script: worker(() => 'sold') },
        boss: { script: puppet, card: { may: { delegate: ['child'] } } },
        child: { script: worker(() => 'done') },
      },
      config: { http: { port } },
    })
    writeFileSync(join(h.home, 'policy', 'own.rego'), ASKS)
    expect(await hub(h, 'policy', 'reload')).toMatchObject({ code: 0, out: expect.stringMatching(/\+ own\.rego/) })
    const as = async (secret: string, method: string, path: string, body?: object) => {
      const headers = { authorization: `Bearer ${secret}`, ...(body && { 'content-type': 'application/json' }) }
      const said = await h.pumped(send(port, { method, path, headers, ...(body && { body: JSON.stringify(body) }) }))
      return { status: said.status, body: JSON.parse(said.text) as Record<string, unknown> }
    }
    const device = async (name: string, rights: string[]) =>
      String((await h.operator('POST', '/v1/devices', { name, kind: 'app', rights })).body.secret)

    // The start waits, and says whom for.
    const shop = await h.submit('shop')
    const asked = await openAsk(h)
    expect(asked).toMatchObject({
      operation: 'task.dispatch',
      agent: 'shop',
      rule: 'hub.home.ask',
      question: 'shop spends money',
    })
    expect((await hub(h, 'task', 'show', shop)).out).toContain(`hub approve ${asked.id}`)
    expect(h.task(shop)).toMatchObject({ state: 'queued', attempts: 0 })

    // A device that may not answer does not, a token never; one that may, does.
    const viewer = await device('viewer', ['view', 'stop', 'heartbeat', 'resume'])
    const yes = { approve: true, text: '' }
    for (const approve of [true, false])
      expect(await as(viewer, 'POST', `/v1/approvals/${asked.id}/answer`, { approve, text: '' })).toMatchObject({
        status: 403,
        body: { code: 'policy_denied' },
      })
    expect((await openAsk(h)).id).toBe(asked.id)
    const phone = await device('phone', ['view', 'approve'])
    expect((await as(phone, 'POST', `/v1/approvals/${asked.id}/answer`, yes)).status).toBe(200)
    await h.ended(shop)
    expect(h.task(shop)).toMatchObject({ state: 'succeeded', attempts: 1 })
    expect(h.audit().findLast(({ action, outcome }) => action === 'task.dispatched' && outcome === 'ok')).toMatchObject(
      {
        resource: `task:${shop}`,
        reason: `shop spends money; approval ${asked.id} by device:phone`,
      },
    )

    // A delegation: refused with the id, admitted once, and asked about again.
    const [boss] = await h.bring('boss')
    const hire = () => h.pumped(boss.send({ kind: 'delegate', to: 'hub', body: { agent: 'child' } }))
    const refused = await hire()
    expect(refused).toMatchObject({ status: 403, body: { code: 'needs_approval' } })
    expect((await hub(h, 'approve', String(refused.body.approval))).code).toBe(0)
    const taken = await hire()
    expect(taken.status).toBe(200)
    // The same delegation, told once more because its answer may be lost: nobody is asked again. A new one is another act.
    const again = { id: String(taken.body.id), kind: 'delegate', to: 'hub', body: { agent: 'child' } } as const
    expect((await h.pumped(boss.send(again))).status).toBe(200)
    expect((await rowsOf(h)).filter(({ operation }) => operation === 'task.delegate')).toHaveLength(1)
    const repeated = h.audit().findLast(({ action }) => action === 'task.delegated')
    const named = h.hub.guard.store.prepare('select 1 from decision where decision_id = ?')
    expect(named.get(repeated?.decision_id)).toBeDefined()
    const second = await hire()
    expect(second).toMatchObject({ status: 403, body: { code: 'needs_approval' } })
    expect(second.body.approval).not.toBe(refused.body.approval)
    expect((await hub(h, 'reject', String(second.body.approval))).code).toBe(0)
    await h.until(() => h.started.filter(({ agent }) => agent === 'child').length === 1, 'one child starts')

    // Another image is another act. Inputs that are not those that were asked about never start, whatever was answered.
    const next = await h.submit('shop')
    const first = await openAsk(h)
    h.engine.images.set('hub/agent', fakeImage(`sha256:${'b'.repeat(64)}`))
    expect((await h.operator('POST', '/v1/agents/reload', {})).status).toBe(200)
    const ofImage = await openAsk(h, first.id)
    expect(ofImage.question).toBe('shop spends money (asked anew, because this changed: image)')
    expect((await rowsOf(h)).find(({ id }) => id === first.id)?.ending).toBe('superseded')
    h.hub.guard.store.prepare(`update task set params = '{"order":8}' where id = ?`).run(next)
    expect((await h.operator('POST', `/v1/approvals/${ofImage.id}/answer`, yes)).status).toBe(200)
    await h.ended(next)
    expect(h.task(next)).toMatchObject({ attempts: 0, error: { code: 'unreadable' } })
    await h.until(() => h.hub.guard.approvals.find(ofImage.id)?.ending === 'over', 'the yes ends with its task', 500)

    // A yes that nobody used, and one that still waits: in a copy from a backup neither is left, nor an alert that asks for it.
    const waits = [await h.submit('shop'), await h.submit('shop')]
    const one = await openAsk(h)
    await openAsk(h, one.id)
    h.hub.guard.store
      .prepare(`update approval set state = 'approved', answered_by = 'operator', ended_at_ms = 0 where id = ?`)
      .run(one.id)
    await h.kill()
    const held = settleDatabase(join(h.home, 'hub.db'), h.clock, {
      reason: 'a test',
      record: { action: 'hub.restored', reason: 'a test', effect: '' },
    })
    expect(held).toBeGreaterThanOrEqual(waits.length)
    await h.start()
    expect((await rowsOf(h)).filter(({ state }) => state === 'asked' || state === 'approved')).toEqual([])
    await h.clock.advance(6_000)
    expect(h.hub.guard.alerts.list().filter(({ cause }) => cause.startsWith('approval:'))).toEqual([])
    for (const id of waits) expect(h.task(id)).toMatchObject({ state: 'queued', attempts: 0 })
  },
)
