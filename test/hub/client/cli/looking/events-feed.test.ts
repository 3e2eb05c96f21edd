/** `hub events`, from a hub that is played. */
import { expect, it } from 'vitest'
import { commandHome } from '../../../../support/command-home.ts'
import { eventFeed } from '../../../../support/fake-hub.ts'

const at = commandHome()

it('follows events over a restart of the hub, and says so (fault C38)', async () => {
  const event = (sequence: number) => ({
    sequence,
    time: `2026-01-01T00:00:0${sequence}Z`,
    type: 'hub.task.queued.v1',
    subject: 'task/1',
    data: {},
  })
  let asked = 0
  at.hub.on('GET /v1/health', () => ({ body: {} }))
  at.hub.on('GET /v1/events', () => ({
    raw(response) {
      asked += 1
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(`id: ${asked}\ndata: ${JSON.stringify(event(asked))}\n\n`, () => {
        // The line is cut in the middle, as when a process ends.
        if (asked === 1) response.destroy()
      })
    },
  }))
  const child = at.runAsProcess(['events', '--follow'], { endAfter: /01:00:02 CET/ })
  const { stdout, stderr } = await child
  expect(stdout).toContain('2026-01-01 01:00:01 CET 1 task.queued')
  expect(stdout).toContain('2026-01-01 01:00:02 CET 2 task.queued')
  expect(stderr).toContain('the hub has stopped; waiting for it')
  expect(stderr).toContain('the hub is back')
  expect(stderr).not.toMatch(/bug|aborted/)
  await at.closeHub()
  const none = await at.run(['events', '--follow'])
  expect([none.code, none.stderr]).toEqual([4, expect.stringContaining('does not answer')])
})

it('shows what the hub remembers of events, as lines or as a list, and ends', async () => {
  const event = { sequence: 4, time: '2026-01-01T00:00:00Z', type: 'hub.task.queued.v1', subject: 'task/1', data: {} }
  at.hub.on('GET /v1/events', () => eventFeed([event]))
  const text = await at.run(['events', '--since', '3'])
  expect([text.code, text.stdout]).toEqual([0, '2026-01-01 01:00:00 CET 4 task.queued task/1 {}\n'])
  expect(at.hub.asked[0]?.query.get('since')).toBe('3')
  expect(JSON.parse((await at.run(['events', '--json'])).stdout)).toEqual([event])
  // Fault D10: what the hub says is gone is no event, and is told.
  at.hub.on('GET /v1/events', () => ({
    raw(response) {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('event: lost\ndata: {"detail":"older events are gone"}\n\n')
      response.write(`id: 4\ndata: ${JSON.stringify(event)}\n\n`)
    },
  }))
  const torn = await at.run(['events', '--since', '1'])
  expect([torn.code, torn.stdout]).toEqual([0, '2026-01-01 01:00:00 CET 4 task.queued task/1 {}\n'])
  expect(torn.stderr).toContain('some events are lost')
})
