/** T98, S1-34: the channels beside each other, with a clock whose timers are steered: back-off, order, giving up, quiet hours, hanging. */
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { failingFindings } from '../../watchdog/tell/alerts.ts'
import type { Letter, Post } from '../../watchdog/tell/channels/letter.ts'
import { createDelivery, type Parcel } from '../../watchdog/tell/delivery.ts'
import { OUTBOX_SLOTS, openOutbox } from '../../watchdog/tell/outbox.ts'
import { createTimerClock, makeLetter } from '../support/alert-sinks.ts'

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

interface Named extends Parcel {
  readonly name: string
}
const HOUR = 3_600_000

function scene(answers: Record<string, (letter: Letter) => Promise<void>>, quiet = () => false) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'wd-delivery-'))
  folders.push(folder)
  const clock = createTimerClock()
  const outbox = openOutbox<Named>(path.join(folder, 'outbox'), 1)
  const got: string[] = []
  const routes = Object.entries(answers).map(([key, answer]) => {
    const deliver = async (letter: Letter) => {
      await answer(letter)
      got.push(`${key} ${letter.id}`)
    }
    const post: Post = { label: key, kind: 'push', loud: true, deadlineMs: 5_000, deliver }
    return { key, post }
  })
  const delivery = createDelivery<Named>(routes, {
    clock,
    outbox,
    render: ({ name }) => makeLetter({ id: name }),
    waits: (parcel) => parcel.severity === 'warning' && quiet(),
  })
  const add = (to: string, name: string, severity: Parcel['severity'] = 'warning', lineMs = 0) =>
    delivery.add({ to, name, severity, lineMs, wallMs: clock.read().wallMs })
  const state = (key: string) => delivery.states().find((one) => one.key === key)
  return { clock, outbox, delivery, add, got, state }
}
const refuse = async () => {
  throw new Error('refused')
}
const take = async () => {}

test('T98: a channel that hangs for ever delays neither the caller nor another channel, and is tried again after its deadline [alert-30]', async () => {
  let asked = 0
  const { clock, delivery, add, got, state } = scene({
    hangs: () => {
      asked += 1
      return new Promise(() => {})
    },
    works: take,
  })
  for (const to of ['hangs', 'works']) for (const name of ['a', 'b']) add(to, name)
  delivery.turn(0)
  await clock.move(0)
  expect(got).toEqual(['works a', 'works b'])
  await clock.move(6_000)
  expect(state('hangs')).toMatchObject({ failures: 1, reason: 'it took longer than 6000 ms', waiting: 2 })
  await clock.move(5_000)
  expect(asked).toBe(2)
  add('works', 'c')
  delivery.turn(0)
  await clock.move(0)
  expect(got).toEqual(['works a', 'works b', 'works c'])
})

test('T98: a refusing channel is asked after 5, 20, 80 s and then every 5 min; what it takes at last is taken once and in order [alert-4]', async () => {
  let open = false
  const asked: number[] = []
  const { clock, delivery, add, got, state } = scene({
    mail: async () => {
      asked.push(clock.read().bootMs - 5_000_000)
      if (!open) throw new Error('451 later')
    },
  })
  for (const name of ['a', 'b', 'c']) add('mail', name)
  delivery.turn(0)
  await clock.move(800_000)
  expect(asked).toEqual([0, 5_000, 25_000, 105_000, 405_000, 705_000])
  expect(state('mail')).toMatchObject({ failures: 6, reason: '451 later', waiting: 3, givenUp: 0 })
  open = true
  await clock.move(300_000)
  expect([...got].sort()).toEqual(['mail a', 'mail b', 'mail c'])
  expect(state('mail')).toMatchObject({ failures: 0, waiting: 0, lastOkAtMs: expect.any(Number) })
})

test('critical goes first, and a letter that its receiver refuses for itself does not stand before the others for ever', async () => {
  const { clock, delivery, add, got } = scene({
    push: async (letter) => {
      if (letter.id === 'poison') throw new Error('400')
    },
  })
  add('push', 'poison')
  add('push', 'plain')
  add('push', 'grave', 'critical')
  delivery.turn(0)
  await clock.move(800_000)
  expect(got).toEqual(['push grave', 'push plain'])
})

test('what is older than a day, critical three days, is given up and counted; so is what finds its share of the outbox full', async () => {
  const { clock, delivery, add, state } = scene({ dead: refuse, other: take })
  add('dead', 'w')
  add('dead', 'c', 'critical')
  add('dead', 'unknown-channel-of-an-older-file')
  delivery.turn(24 * HOUR)
  await clock.move(0)
  expect(state('dead')).toMatchObject({ waiting: 3, givenUp: 0 })
  delivery.turn(24 * HOUR + 1)
  expect(state('dead')).toMatchObject({ waiting: 1, givenUp: 2 })
  delivery.turn(72 * HOUR + 1)
  expect(state('dead')).toMatchObject({ waiting: 0, givenUp: 3 })
  add('dead', 'first', 'critical')
  for (let count = 0; count < OUTBOX_SLOTS; count += 1) add('dead', `n${count}`)
  expect(state('dead')?.waiting).toBe(OUTBOX_SLOTS / 2)
  expect(delivery.waiting().some(({ name }) => name === 'first')).toBe(true)
  add('other', 'still room')
  delivery.turn(0)
  await clock.move(0)
  expect(state('other')).toMatchObject({ waiting: 0, givenUp: 0 })
})

test('T98: a loss is a finding until that channel takes a letter, and the one that follows it at once does not hide it [watch-13, alert-5]', async () => {
  const FACTS = { outboxFault: null, outboxDamage: null, contact: 'C', noticesWait: false }
  let open = false
  const { clock, delivery, add, got, state } = scene({
    mail: async () => {
      if (!open) throw new Error('451 later')
    },
    other: take,
  })
  const found = () => failingFindings(delivery.states(), FACTS).map(([id]) => id)
  add('mail', 'lost')
  add('mail', 'kept', 'critical')
  delivery.turn(0)
  await clock.move(24 * HOUR)
  delivery.turn(24 * HOUR + 1)
  open = true
  await clock.move(HOUR)
  expect(got).toEqual(['mail kept'])
  expect(found()).toEqual(['messages_lost'])
  delivery.turn(25 * HOUR)
  add('other', 'elsewhere', 'warning', 25 * HOUR)
  delivery.turn(25 * HOUR)
  await clock.move(0)
  expect(found(), 'what another channel takes is no comfort').toEqual(['messages_lost'])
  add('mail', 'next', 'warning', 25 * HOUR)
  delivery.turn(25 * HOUR + 30_000)
  await clock.move(0)
  expect(found()).toEqual([])
  expect(state('mail')).toMatchObject({ givenUp: 1, lost: 0 })
})

test('a parcel to a channel that the configuration no longer has is dropped, not kept for ever', () => {
  const { outbox, delivery } = scene({ mail: take })
  outbox.put({ to: 'gone', name: 'x', severity: 'critical', lineMs: 0, wallMs: 0 })
  delivery.turn(0)
  expect(outbox.list()).toEqual([])
})

test('what waits for quiet hours goes at their end, critical at once; only what was never tried can be taken back [alert-8]', async () => {
  let quiet = true
  const { clock, delivery, add, got } = scene({ push: take }, () => quiet)
  add('push', 'w1')
  add('push', 'w2')
  add('push', 'c', 'critical')
  delivery.turn(0)
  await clock.move(HOUR)
  expect(got).toEqual(['push c'])
  expect(delivery.takeBack(({ name }) => name === 'w1').map(({ name }) => name)).toEqual(['w1'])
  quiet = false
  expect(
    delivery.takeBack(() => true),
    'it may be under way from now on',
  ).toEqual([])
  delivery.turn(0)
  await clock.move(0)
  expect(got).toEqual(['push c', 'push w2'])
})

test('kill -9 between raising and delivering: the next process delivers what stood in the outbox, and only that [alert-1]', async () => {
  const { clock, outbox, delivery, add, got } = scene({ mail: take })
  add('mail', 'a')
  delivery.turn(0)
  await clock.move(0)
  add('mail', 'b')
  const later: string[] = []
  const deliver = async (letter: Letter) => void later.push(letter.id)
  const post: Post = { label: 'mail', kind: 'email', loud: false, deadlineMs: 5_000, deliver }
  const next = createDelivery<Named>([{ key: 'mail', post }], {
    clock,
    outbox,
    render: ({ name }) => makeLetter({ id: name }),
    waits: () => false,
  })
  next.turn(0)
  await clock.move(0)
  expect({ got, later }).toEqual({ got: ['mail a'], later: ['b'] })
})
