/** The drill: the kill path on a canary, by the hub and by the watchdog, and every channel (docs/safety.md 5). */
import { expect, test } from 'vitest'
import { type DrillResult, judgeDrill } from '../../hub/work/dispatch/drill.ts'
import { type FakeWatchdog, openFakeWatchdog } from '../support/fake-watchdog.ts'
import { createHarness, type Harness, puppet } from '../support/hub-harness.ts'

const AGENTS = { drill: { script: puppet, card: { restarts: 0 } }, deaf: { script: puppet } }
const heard = { channels: [{ who: 'operator', channel: 'file', ok: true, why: '' }] }

/** A watchdog that removes what it is told to from the same engine. */
async function withWatchdog(h: Harness, run: (dog: FakeWatchdog) => Promise<void>) {
  const dog = await openFakeWatchdog(h.home)
  dog.answers['/v1/alert-test'] = heard
  dog.onAsk = ({ path, body }) => {
    if (path !== '/v1/shutdown') return undefined
    const found = [...h.engine.containers.values()].filter(({ session }) => session === body.session)
    for (const one of found) {
      one.exit(137)
      h.engine.containers.delete(one.id)
    }
    return {
      path: 'watchdog',
      requested: found.length,
      containers: found.map(({ name }) => ({ container: name, outcome: 'gone' })),
    }
  }
  try {
    await run(dog)
  } finally {
    await dog.close()
  }
}
const drill = async (h: Harness, body: object = {}) =>
  (await h.operator('POST', '/v1/drill', body)).body as unknown as DrillResult

test('a good drill stops one canary by each path, tries every channel, touches nothing else, and counts [stop-54, stop-60]', async () => {
  await using h = await createHarness({ agents: AGENTS })
  await withWatchdog(h, async (dog) => {
    const [deaf] = await h.bring('deaf')
    const result = await drill(h)
    expect(result).toMatchObject({ ok: true, skipped: null })
    expect(result.steps.map(({ name, ok }) => [name, ok])).toEqual([
      ['stopped by the hub', true],
      ['stopped by the watchdog', true],
      ['alert channels', true],
    ])
    expect(dog.heard.find(({ path }) => path === '/v1/shutdown')?.body).toMatchObject({
      by: 'drill',
      session: h.started[2]?.session,
    })
    expect([...h.engine.containers.values()].map(({ session }) => session)).toEqual([deaf.session])
    expect((await h.operator('GET', '/v1/mode')).body).toMatchObject({
      mode: 'normal',
      drill: { daysSinceGood: 0, overdue: false, lastOk: true },
    })
    expect(h.hub.work.catalogue.registry.find('drill')?.crashes, 'a canary that is removed is no crash').toBe(0)
    expect(h.audit().some(({ action }) => action === 'hub.drilled')).toBe(true)
    // With the contact it is the watchdog that sends the rehearsal.
    await drill(h, { withContact: true })
    expect(dog.heard.filter(({ path }) => path === '/v1/alert-test').at(-1)?.body).toEqual({
      who: 'contact',
      kind: 'rehearsal',
    })
  })
})

test('it is skipped with the reason unless the hub is normal, and changes no mode [stop-59]', async () => {
  await using h = await createHarness({ agents: AGENTS })
  await h.operator('POST', '/v1/mode/safe', {})
  expect(await drill(h)).toMatchObject({ ok: false, skipped: 'the hub is safe: operator_request', steps: [] })
  expect((await h.operator('GET', '/v1/mode')).body.mode).toBe('safe')
  expect(h.started).toEqual([])
})

test('a deaf watchdog, a deaf channel and a missing canary each fail their own step by name; nothing is left behind [stop-55]', async () => {
  await using h = await createHarness({ agents: AGENTS })
  await withWatchdog(h, async (dog) => {
    dog.onAsk = () => undefined
    dog.answers['/v1/shutdown'] = { path: 'watchdog', requested: 0, containers: [] }
    dog.answers['/v1/alert-test'] = { channels: [{ who: 'operator', channel: 'mail', ok: false, why: 'refused' }] }
    const { ok, steps } = await drill(h)
    expect(ok).toBe(false)
    expect(steps.map(({ ok: good }) => good)).toEqual([true, false, false])
    expect(steps[1]?.detail).toContain('removed 0 containers')
    expect(steps[2]?.detail).toContain('watchdog operator mail: refused')
    await h.quiet()
  })
  await using without = await createHarness({ agents: { deaf: { script: puppet } } })
  const { steps } = await drill(without)
  expect(steps[0]?.detail).toContain('there is no agent drill')
})

test('one is due after a month, with the contact after a quarter, counted from the last good one or from the beginning [time-20, stop-56]', () => {
  const DAY = 86_400_000
  const state = { last: null, goodAtMs: null, contactAtMs: null, sinceMs: 0 }
  const judge = (more: object, days: number, contactSinceMs: number | null = 0) =>
    judgeDrill({ ...state, ...more }, days * DAY, contactSinceMs)
  expect(judge({}, 31)).toMatchObject({ days: null, overdue: false, contactOverdue: false })
  expect(judge({}, 32)).toMatchObject({ overdue: true, contactOverdue: false })
  expect(judge({ goodAtMs: 10 * DAY }, 32)).toMatchObject({ days: 22, overdue: false })
  expect(judge({ goodAtMs: 90 * DAY }, 92)).toMatchObject({ overdue: false, contactOverdue: false })
  expect(judge({ goodAtMs: 90 * DAY }, 93)).toMatchObject({ overdue: false, contactOverdue: true })
  expect(judge({ contactAtMs: 90 * DAY }, 182), 'from the last one').toMatchObject({ contactOverdue: false })
  expect(judge({ contactAtMs: 90 * DAY }, 183)).toMatchObject({ contactOverdue: true })
  expect(judge({}, 93, 50 * DAY), 'a card of later').toMatchObject({ contactOverdue: false })
  expect(judge({}, 500, null), 'nobody to drill with').toMatchObject({ contactOverdue: false })
  expect(judge({ goodAtMs: 100 * DAY }, 50), 'a clock that went back').toMatchObject({ days: 0 })
})

test('an overdue drill is an alert, and a good one ends it [stop-56]', async () => {
  await using h = await createHarness({ agents: AGENTS })
  await withWatchdog(h, async () => {
    h.hub.guard.meta.set('drill_since_ms', String(h.clock.wallMs() - 40 * 86_400_000))
    await h.until(() => h.hub.guard.alerts.isOpen('drill_overdue'), undefined, 1000)
    await h.lease()
    expect(await drill(h)).toMatchObject({ ok: true })
    await h.until(() => !h.hub.guard.alerts.isOpen('drill_overdue'), undefined, 1000)
  })
})

test('a drill with the contact that is overdue is an alert of its own, which a good one with them ends, and no card no alert [stop-57]', async () => {
  await using h = await createHarness({ agents: AGENTS })
  await withWatchdog(h, async (dog) => {
    const { meta, alerts } = h.hub.guard
    meta.set('drill_contact_ms', String(h.clock.wallMs() - 93 * 86_400_000))
    const looks = async () => {
      const from = h.clock.monotonicMs()
      await h.until(() => h.clock.monotonicMs() - from > 40_000, undefined, 1000)
    }
    await looks()
    expect(alerts.isOpen('contact_drill_overdue')).toBe(false)
    dog.answers['/v1/contact'] = { card: null }
    expect((await h.operator('POST', '/v1/contact/card', { name: 'Bea', operator: 'Ada' })).status).toBe(200)
    await h.until(() => alerts.isOpen('contact_drill_overdue'), undefined, 1000)
    expect(alerts.list().find(({ cause }) => cause === 'contact_drill_overdue')?.severity).toBe('warning')
    await h.lease()
    await drill(h)
    await looks()
    expect(alerts.isOpen('contact_drill_overdue'), 'one without them is no rehearsal').toBe(true)
    await h.lease()
    expect(await drill(h, { withContact: true })).toMatchObject({ ok: true })
    await h.until(() => !alerts.isOpen('contact_drill_overdue'), undefined, 1000)
  })
})

test('the days since the last good one stand in status and doctor, and that there was none [stop-60]', async () => {
  await using h = await createHarness({ agents: AGENTS })
  const shown = async () => {
    const { drill: status } = (await h.operator('GET', '/v1/mode')).body as { drill: { daysSinceGood: number | null } }
    const { checks } = (await h.operator('GET', '/v1/doctor')).body as { checks: { name: string; detail: string }[] }
    return [status.daysSinceGood, checks.find(({ name }) => name === 'drill')?.detail]
  }
  const none = 'there has been no good one yet'
  expect(await shown()).toEqual([null, `${none}, with or without the contact`])
  h.hub.guard.meta.set('drill_good_ms', String(h.clock.wallMs() - 9 * 86_400_000))
  h.hub.guard.meta.set('drill_contact_ms', String(h.clock.wallMs() - 40 * 86_400_000))
  expect(await shown()).toEqual([9, 'last good one 9 days ago, with the contact: last good one 40 days ago'])
})
