/**
 * A change of the rules as its owner makes it: who may message whom, seen and tried over what was asked before; a rule that asks before an agent
 * deletes; the answer on the page behind the link of an alert, on a phone; and each step of it found by the one id of the task.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTracing } from '../../hub/observe/tracing.ts'
import { httpSink } from '../support/alert-sinks.ts'
import { BROWSER, openBrowser, openPhone } from '../support/browser.ts'
import { hub } from '../support/command-here.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { freePort } from '../support/free-port.ts'
import { createHarness, puppet, worker } from '../support/hub-harness.ts'
import { send } from '../support/plain-http.ts'
import { hasOpa } from '../support/policy-fixture.ts'

/** Where a person who works on the page finds what the browser saw. */
const PICTURES = process.env.HUB_TEST_PICTURES
let browser: Browser
beforeAll(async () => {
  if (PICTURES !== undefined) mkdirSync(PICTURES, { recursive: true })
  if (BROWSER !== undefined && hasOpa) browser = await openBrowser()
})
afterAll(() => browser?.close())

const ASKS = `package hub.home

ask contains "what a cleaner deletes is gone" if {
	input.operation == "task.dispatch"
	input.resource.agent == "cleaner"
}

ask contains "a token that stops sessions" if {
	input.operation == "token.create"
	"session.stop" in input.resource.actions
}
`
const say = { sends: { say: null }, receives: { say: null } }
const agents = {
  scout: {
    script: worker(
      async (agent) =>
        (await agent.send({ kind: 'request', to: 'agent:desk', type: 'say', timeoutMs: 1000, body: {} })).status,
    ),
    card: { messages: say, may: { message: ['desk'] } },
    policy: { submit: true, message: [] },
  },
  desk: { script: puppet, card: { messages: say } },
  cleaner: { script: worker(() => 'deleted') },
}

/** A page of the hub on a small phone. */
async function onPhone(link: string, name: string) {
  const phone = await openPhone(browser)
  await phone.page.setViewportSize({ width: 360, height: 740 })
  await phone.page.goto(link)
  const picture = async (nth: number) => {
    if (PICTURES !== undefined)
      await phone.page.screenshot({ path: join(PICTURES, `${name}-${nth}.png`), fullPage: true })
  }
  await picture(1)
  return {
    ...phone,
    text: await phone.page.locator('main').innerText(),
    async press(button: 'Yes' | 'No') {
      await phone.page.getByRole('button', { name: button, exact: true }).click()
      await picture(2)
      return await phone.page.locator('main').innerText()
    },
  }
}

describe.skipIf(BROWSER === undefined || !hasOpa)('a rule that asks (needs chromium and opa)', () => {
  test('changed, seen, tried, asked, answered on a phone, and followed by one id [ask-2, ask-11]', async () => {
    const [port, metrics] = [await freePort(), await freePort()]
    const told = await httpSink()
    const exporter = new InMemorySpanExporter()
    const tracing = await createTracing(
      { sample: 1 },
      { clock: createFakeClock(), instance: 'i', version: '0', processor: new SimpleSpanProcessor({ exporter }) },
    )
    await using h = await createHarness({
      agents,
      tracing,
      startWallMs: Date.now(),
      config: {
        http: { port },
        metrics: { port: metrics },
        reach: { publicUrl: `http://127.0.0.1:${port}` },
        alerts: { channels: [{ kind: 'webhook', url: told.url, local: [new URL(told.url).host] }] },
      },
    })
    /** The link in the newest message about this approval. */
    const linkTo = async (approval: string): Promise<string> => {
      const find = () =>
        told.received.map(({ body }) => new RegExp(`http://127[^ ]*/approve/${approval}\\.[\\w-]{43}`).exec(body)?.[0])
      await h.until(() => find().some((one) => one !== undefined), 'the alert comes', 200)
      return find().findLast((one) => one !== undefined) ?? ''
    }
    const submit = async (agent: string): Promise<string> => (await hub(h, 'submit', agent, '--json')).json().id

    // Who may message whom: the refusal names the line. That line is written, looked at, tried over what was asked, and put in force.
    const [desk] = await h.bring('desk')
    const refused = await submit('scout')
    await h.ended(refused)
    expect(h.task(refused).outcome?.value).toBe(403)
    expect((await hub(h, 'audit', 'list', '--task', refused, '--outcome', 'refused')).out).toContain(
      'add "desk" to agents.scout.message in policy/data.json',
    )
    const folder = join(h.home, 'policy')
    const data = JSON.parse(readFileSync(join(folder, 'data.json'), 'utf8'))
    data.agents.scout.message = ['desk']
    writeFileSync(join(folder, 'data.json'), JSON.stringify(data))
    writeFileSync(join(folder, 'own.rego'), ASKS)
    expect((await hub(h, 'policy', 'check')).code).toBe(0)
    expect((await hub(h, 'policy', 'diff')).out).toMatch(
      /^agents\.scout\.message: \+ desk\n\+ own\.rego\n[\s\S]*cleaner"$/m,
    )
    expect((await hub(h, 'policy', 'simulate', '--since', '24h')).out).toMatch(
      /scout message\.send desk +deny: agent scout may not message desk: .* +allow\n/,
    )
    expect((await hub(h, 'policy', 'reload')).out).toMatch(/^reloaded\nagents\.scout\.message: \+ desk\n\+ own\.rego/)
    const passed = await submit('scout')
    await h.ended(passed)
    expect(h.task(passed).outcome?.value).toBe(200)

    // A destructive act: asked about, told, and answered on the page that the message leads to.
    const task = await submit('cleaner')
    await h.until(() => h.hub.guard.approvals.list(false).length === 1, 'a person is asked', 200)
    const [asked] = (await hub(h, 'approval', 'list', '--json')).json()
    expect(asked).toMatchObject({ task, state: 'asked', question: 'what a cleaner deletes is gone' })
    const page = await onPhone(await linkTo(asked.id), 'rule-asks')
    expect(page.text).toContain(`May agent cleaner start task ${task.slice(-8)}?`)
    expect(page.text).toContain('what a cleaner deletes is gone')
    // Nothing of how the hub names it inside stands before the buttons, and nothing has to be scrolled sideways or looked for.
    expect(page.text).not.toMatch(/tier|\bact\b|[0-9a-f]{64}|hub:|\{/i)
    const yes = await page.page.getByRole('button', { name: 'Yes' }).boundingBox()
    expect((yes?.y ?? 9999) + (yes?.height ?? 0)).toBeLessThan(740)
    expect(h.task(task)).toMatchObject({ state: 'queued', attempts: 0 })
    expect(await page.press('Yes')).toContain('You said yes')
    await page.close()
    await h.ended(task)
    expect(h.task(task)).toMatchObject({ state: 'succeeded', outcome: { value: 'deleted' } })

    // Each step by one id: as the trace has it, in the audit log and on the trace.
    const trace = task.replaceAll('-', '')
    expect((await hub(h, 'task', 'show', task)).out).toContain(trace)
    await h.until(() => h.sessionsOf(task)[0]?.state === 'recycled', 'its session is gone')
    const records = (await hub(h, 'audit', 'list', '--task', trace, '--json')).json()
    const steps = records
      .toReversed()
      .map((one: Record<string, string>) => `${one.principal?.replace(/\/.*/, '')} ${one.action} ${one.outcome}`)
    expect(steps).toEqual([
      'operator task.submitted ok',
      'hub:dispatcher task.dispatched refused',
      'device:link approval.answered ok',
      'hub:dispatcher task.dispatched ok',
      'hub:launcher session.provisioned ok',
      'hub:launcher session.observed ok',
      'agent:cleaner session.joined ok',
      'agent:cleaner task.result_given ok',
      'hub:reaper session.reaped ok',
      'hub:reaper session.reaped ok',
    ])
    for (const record of records.filter(({ action }: { action: string }) => action === 'task.dispatched'))
      expect(`${record.reason} ${record.effect}`).toContain(asked.id)
    const spans = exporter.getFinishedSpans().filter((span) => span.spanContext().traceId === trace)
    expect(spans.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        'orch.task.submit',
        'orch.agent.spawn',
        'orch.agent.create',
        'orch.agent.join',
        'orch.msg.send',
      ]),
    )
    await h.clock.advance(1000)
    const { text } = await h.pumped(
      send(metrics, { path: '/metrics', headers: { accept: 'application/openmetrics-text;version=1.0.0' } }),
    )
    expect(text).toMatch(/^hub_decisions_total\{action="task\.dispatch",result="ask"\} [1-9]/m)
    // Its start is the last one that took so long, so the histogram names it.
    expect(text).toMatch(new RegExp(`^hub_\\w+_bucket\\{.*# \\{.*trace_id="${trace}"`, 'm'))

    // An act of one's own: whoever answers sees what the token could do, and after a no the same command asks again.
    const made = await hub(h, 'token', 'create', 'ci', '--actions', 'task.submit,session.stop')
    expect(made).toMatchObject({ code: 3, err: expect.stringContaining('a token that stops sessions') })
    const [own] = (await hub(h, 'approval', 'list', '--json')).json()
    const ofToken = await onPhone(await linkTo(own.id), 'token-asks')
    expect(ofToken.text).toContain('May the operator make the token ci?')
    expect(ofToken.text).toContain('actions: task.submit, session.stop')
    expect(await ofToken.press('No')).toContain('It does not happen.')
    await ofToken.page.goto(await linkTo(own.id))
    expect(await ofToken.page.locator('main').innerText()).toContain('The answer was no.')
    await ofToken.close()
    expect((await hub(h, 'token', 'list', '--json')).json()).toEqual([])

    // What an agent writes cannot turn the page around, and an upload leaves no refusal behind (T30).
    await h.pumped(desk.say({ kind: 'ask', body: { text: 'Delete \u202esgol?\u2066' } }))
    const question = h.hub.guard.approvals.list(false)[0]
    const ofAgent = await onPhone(await linkTo(question?.id ?? ''), 'agent-asks')
    expect(ofAgent.text).toContain('Delete \\u202esgol?\\u2066')
    expect(ofAgent.text).not.toMatch(/[\u202e\u2066]/)
    expect(ofAgent.elsewhere).toEqual([])
    await ofAgent.close()
    writeFileSync(join(h.home, 'input.txt'), 'x')
    const before = (await hub(h, 'audit', 'list', '--outcome', 'refused', '--json')).json().length
    expect((await hub(h, 'submit', 'scout', '--input', join(h.home, 'input.txt'), '--json')).code).toBe(0)
    expect((await hub(h, 'audit', 'list', '--outcome', 'refused', '--json')).json()).toHaveLength(before)
    told.close()
  })
})
