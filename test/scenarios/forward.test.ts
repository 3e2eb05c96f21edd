/** A hub that forwards its audit log: what a person sees of it, and that a kill loses nothing (S1-64). */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Check } from '../../hub/edge/doctor/doctor.ts'
import { createExportJudge, headerLine } from '../../hub/protocol/audit-export.ts'
import { httpSink } from '../support/alert-sinks.ts'
import { createHarness, worker } from '../support/hub-harness.ts'

interface State {
  name: string
  sentTo: number
  waiting: number
  isBehind: boolean
  isFailing: boolean
}

test('a hub goes on forwarding after a kill, says who is behind and since when it no longer is, and shows no address to those who only look; the doctor says what is wrong [audit-31]', async () => {
  const sink = await httpSink()
  sink.status = 500
  const { host } = new URL(sink.url)
  const forward = [
    { kind: 'file', path: 'logs/copy.jsonl' },
    { kind: 'webhook', name: 'siem', url: `${sink.url}/in`, local: host },
  ]
  await using h = await createHarness({
    agents: { echo: { script: worker(() => 'done') } },
    config: { audit: { forward } },
  })
  const states = async () => (await h.operator('GET', '/v1/mode')).body.forwarding as State[]
  const isOpen = () => h.hub.guard.alerts.isOpen('audit_forward:siem')
  await h.ended(await h.submit('echo'))
  await h.until(() => sink.received.length > 2, 'the webhook was tried', 1000)
  expect(await states()).toMatchObject([
    { name: 'file', isBehind: false, isFailing: false },
    { name: 'siem', sentTo: 0, isBehind: false, isFailing: true },
  ])
  await h.until(isOpen, 'it is behind', 2000)
  const { alerts } = (await h.operator('GET', '/v1/alerts')).body as { alerts: { cause: string; text: string }[] }
  expect(alerts.find(({ cause }) => cause === 'audit_forward:siem')?.text).toMatch(/records wait.*it answered 500/)
  expect(JSON.stringify(await states())).not.toContain('127.0.0.1')
  const { checks } = (await h.operator('GET', '/v1/doctor')).body as { checks: Check[] }
  expect(checks.filter(({ name }) => name.startsWith('forward '))).toMatchObject([
    { name: 'forward file', ok: true, mend: '' },
    {
      name: 'forward siem',
      ok: false,
      detail: expect.stringMatching(/records wait.*it answered 500/),
      mend: expect.stringContaining('audit.forward of hub.yaml'),
    },
  ])

  await h.kill()
  sink.status = 200
  sink.received.length = 0
  await h.start()
  await h.ended(await h.submit('echo'))
  await h.until(() => !isOpen(), 'it is no longer behind', 1000)
  const { audit, checkpoints } = h.hub.guard
  const isWhole = () => h.hub.guard.forwarder.states().every(({ sentTo }) => sentTo === audit.head().size)
  await h.until(() => isWhole() && checkpoints.newest()?.size === audit.head().size, 'everything was taken', 1000)

  const judged = (lines: string[]) => {
    const { size, head } = audit.head()
    const judge = createExportJudge({})
    judge.take(headerLine({ ...checkpoints.signer, size, head }))
    // What was not confirmed before the kill came twice; its id says so.
    const seen = new Set<string>()
    for (const line of lines) {
      const { id } = JSON.parse(line) as { id: string }
      if (!seen.has(id)) judge.take(line)
      seen.add(id)
    }
    return judge.end()
  }
  const copy = readFileSync(join(h.home, 'logs/copy.jsonl'), 'utf8').trimEnd().split('\n')
  expect(judged(copy)).toMatchObject({ fault: undefined, size: audit.head().size })
  const posted = sink.received.flatMap(({ body }) => JSON.parse(body) as object[])
  expect(judged(posted.map((event) => JSON.stringify(event)))).toMatchObject({ fault: undefined })
  expect((await states()).every(({ waiting }) => waiting === 0)).toBe(true)
  sink.close()
})
