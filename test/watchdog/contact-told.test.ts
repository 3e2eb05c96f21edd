/** The last column of the condition table: of which conditions the backup contact hears, held by the hub or by the watchdog, and of which never. */
import { generateKeyPairSync } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { type ConditionName, CONDITIONS as OF_HUB } from '../../hub/guard/modes.ts'
import { CONDITIONS, type ConditionName as HeldName } from '../../watchdog/judge/conditions.ts'
import { type WatchScene, watchScene } from '../support/watch-scene.ts'
import { HOUR, makeAnswer, makeCheckpoint } from '../support/watchdog-home.ts'

const homes: { remove(): void }[] = []
afterEach(() => {
  for (const home of homes.splice(0)) home.remove()
})
const MAIL = { kind: 'email', host: 'mail.example.org', from: 'o@example.org', to: 'c@example.org' }

async function scene() {
  const at = watchScene({ operator: { name: 'Olga' }, contact: { name: 'Carl', channels: [MAIL] } })
  homes.push(at)
  const one = at.start()
  const rounds = async (count: number) => {
    for (let turn = 0; turn < count; turn += 1) {
      while (await one.watch.round());
      await one.alerts.settled()
      at.clock.move(30_000)
    }
    return at.came('C').map((line) => line.replace('C email: ', ''))
  }
  return { at, rounds, watch: one.watch }
}
const answering = (at: WatchScene, ...conditions: string[]) => {
  const mode = conditions.length === 0 ? 'normal' : 'safe'
  at.hub.answer = () => ({ kind: 'answer', answer: makeAnswer({ mode, conditions }) })
}

/** Those of the hub's own of which the contact hears; of what the watchdog holds it is the watchdog that tells. */
const TOLD_OF_HUB: Partial<Record<ConditionName, string>> = {
  critical_alert: 'A serious warning about the assistants of Olga',
  operator_request: 'Olga has put the assistants on hold as planned; nothing to do',
}
const own = Object.keys(OF_HUB).filter((name) => !Object.hasOwn(CONDITIONS, name)) as ConditionName[]

describe('a condition that the hub holds', () => {
  test.each(own)('%s: the contact is told once, as the table says, or never [cond-31]', async (name) => {
    const { at, rounds } = await scene()
    answering(at, name)
    const subject = TOLD_OF_HUB[name]
    expect(await rounds(6)).toEqual(subject === undefined ? [] : [subject])
  })
})

describe('a condition that the watchdog holds', () => {
  const MADE: Readonly<Record<HeldName, (given: Awaited<ReturnType<typeof scene>>) => unknown>> = {
    heartbeat_missed: ({ at }) => at.clock.move(26 * HOUR),
    unattended_stop: ({ at }) => at.clock.move(51 * HOUR),
    witness_mismatch({ watch }) {
      // Signed by a key that is not the hub's.
      const head = 'a'.repeat(64)
      const { privateKey } = generateKeyPairSync('ed25519')
      watch.witness({ auditSize: 5, auditHead: head, checkpoints: [makeCheckpoint(privateKey, 5, head, null)] })
    },
    away: ({ at, watch }) =>
      watch.away({ untilMs: at.clock.read().wallMs + 30 * HOUR, keepWorking: false }, { source: 'cli', note: '' }),
    emergency_stop: ({ watch }) => watch.shutdown('', 'contact'),
  }
  test.each(Object.keys(CONDITIONS) as HeldName[])(
    '%s: the contact is told, or not, as its row says [cond-31]',
    async (name) => {
      const given = await scene()
      expect(await given.rounds(2)).toEqual([])
      await MADE[name](given)
      const heard = await given.rounds(3)
      expect(given.watch.status().conditions).toContain(name)
      expect(heard.length > 0, heard.join()).toBe(CONDITIONS[name].contactIsTold)
    },
  )
})

test('a rest by the operator’s hand is one note in six hours, without an all-clear, and none beside an absence that was told [cond-20]', async () => {
  const { at, rounds, watch } = await scene()
  const subject = TOLD_OF_HUB.operator_request
  answering(at, 'operator_request')
  expect(await rounds(3)).toEqual([subject])
  answering(at)
  expect(await rounds(3)).toEqual([])
  answering(at, 'operator_request')
  expect(await rounds(3), 'again within six hours').toEqual([])
  answering(at)
  at.clock.move(7 * HOUR)
  expect(await rounds(3)).toEqual([])
  answering(at, 'operator_request')
  expect(await rounds(3)).toEqual([subject])
  answering(at)
  at.clock.move(7 * HOUR)
  await rounds(1)
  watch.away({ untilMs: at.clock.read().wallMs + 9 * HOUR, keepWorking: false }, { source: 'cli', note: '' })
  answering(at, 'operator_request', 'away')
  expect(await rounds(3)).toEqual(['Olga is away as planned; nothing to do'])
})
