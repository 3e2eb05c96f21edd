/** While the store fails the witness still hears of what happens: how much waits, and its head (S1-18); what is lost then is told (fault D1). */
import { expect, test } from 'vitest'
import { fillDisk } from '../support/guard-home.ts'
import { createHarness, type Harness, puppet } from '../support/hub-harness.ts'
import { openRealWatch } from '../support/real-watch.ts'

const STOP = ['/v1/mode/safe', {}] as const
/** Refused while the store fails: unlike a stop its record is kept in memory alone. */
const REFUSED = ['/v1/tasks', { agent: 'one' }] as const

/** Until more records wait than before: the first few may still find room in the page that is open. */
async function wait(h: Harness, [path, body]: typeof STOP | typeof REFUSED): Promise<number> {
  const { audit } = h.hub.guard
  const before = audit.bufferState().size
  for (let nth = 0; nth < 200 && audit.bufferState().size <= before; nth += 1) await h.operator('POST', path, body)
  return audit.bufferState().size
}

test('S1-18: while the store fails the watchdog remembers what waits, and forgets it silently once it is in the log as it was told [audit-10]', async () => {
  await using h = await createHarness({ agents: { one: { script: puppet } } })
  await h.bring('one')
  const w = await openRealWatch(h)
  try {
    expect(await w.round()).toEqual([])
    const mend = fillDisk(h.hub.guard)
    await wait(h, STOP)
    expect(await w.round()).not.toContain('audit_lost')
    const one = w.watch.status().buffered as { seq: number; head: string; count: number }
    expect(one).toMatchObject({
      count: h.hub.guard.audit.bufferState().size,
      head: h.hub.guard.audit.bufferState().head,
    })
    // It grows, and is as it was: the part that was told before is looked for in what waits now.
    await wait(h, STOP)
    expect(await w.round()).not.toContain('audit_lost')
    const two = w.watch.status().buffered as typeof one
    expect(two.count).toBeGreaterThan(one.count)
    mend()
    await h.until(() => h.hub.guard.audit.bufferState().size === 0, 'what waited is written', 1000)
    expect(await w.round()).not.toContain('audit_lost')
    expect(w.watch.status()).toMatchObject({ buffered: null, auditLost: 0 })
    const hashes = h.audit().map(({ hash }) => hash)
    expect([hashes[one.seq - 1], hashes[two.seq - 1]]).toEqual([one.head, two.head])
  } finally {
    w.close()
  }
})

test('S1-18, fault D1: what waited and was lost with a hub that was killed is an alert of the watchdog, until a heartbeat [watch-48, audit-11]', async () => {
  await using h = await createHarness({ agents: { one: { script: puppet } } })
  await h.bring('one')
  const w = await openRealWatch(h)
  try {
    await w.round()
    fillDisk(h.hub.guard)
    const lost = await wait(h, REFUSED)
    await w.round()
    await h.kill()
    expect(await w.round(), 'nobody has said yet that they are lost').not.toContain('audit_lost')
    await h.start(false)
    expect(await w.round()).toContain('audit_lost')
    expect(w.watch.status()).toMatchObject({ auditLost: lost, buffered: null })
    // The next one that waits is another matter, and the alert stays.
    expect(await w.round()).toContain('audit_lost')
    w.watch.heartbeat(true, { source: 'cli', note: '' })
    expect(await w.round()).not.toContain('audit_lost')
  } finally {
    w.close()
  }
})
