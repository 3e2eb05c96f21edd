/** T97: every condition of the watchdog against every word, credential, restart and crash; what ends it is what the table says, and nothing else. */
import { afterEach, describe, expect, test } from 'vitest'
import { openState } from '../../watchdog/act/state-file.ts'
import { CONDITIONS, type ConditionName, conditionsOf } from '../../watchdog/judge/conditions.ts'
import type { State } from '../../watchdog/judge/state.ts'
import { planStop } from '../../watchdog/judge/stops.ts'
import type { Watch } from '../../watchdog/watch/watch.ts'
import { type WatchScene, watchScene } from '../support/watch-scene.ts'
import { HOUR, makeAnswer, makeContainer } from '../support/watchdog-home.ts'

const homes: { remove(): void }[] = []
afterEach(() => {
  for (const home of homes.splice(0)) home.remove()
})

const HEAD = 'a'.repeat(64)
const NAMES = Object.keys(CONDITIONS) as ConditionName[]
/** The state with just this condition. */
const HELD: Readonly<Record<ConditionName, (state: State) => State>> = {
  heartbeat_missed: (state) => ({ ...state, presence: { ...state.presence, safeSinceMs: 0, ceilingFromMs: 0 } }),
  unattended_stop: (state) => ({
    ...state,
    presence: { ...state.presence, stoppedSinceMs: 0, stopReport: { gone: 0, failed: 0 } },
  }),
  witness_mismatch: (state) => ({ ...state, mismatchSinceMs: 0 }),
  away: (state) => ({
    ...state,
    presence: { ...state.presence, away: { sinceMs: 0, untilMs: 100 * HOUR, keepWorking: false, note: '' } },
  }),
  emergency_stop: (state) => planStop(state, 'contact', ''),
}

const onDisk = (at: WatchScene): State => {
  const file = openState(at.paths.state, 1)
  file.close()
  if (file.found === null) throw new Error('no state')
  return file.found
}
function holding(...names: ConditionName[]) {
  const at = watchScene()
  homes.push(at)
  const file = openState(at.paths.state, at.clock.read().wallMs)
  if (file.found === null) throw new Error('no state')
  file.save(names.reduce((state, name) => HELD[name](state), file.found))
  file.close()
  at.hub.answer = (demand) => ({ kind: 'answer', answer: makeAnswer({ mode: demand, auditSize: 1, auditHead: HEAD }) })
  return at
}

interface Stage {
  at: WatchScene
  watch: Watch
  restart(): Watch
}
const by = (source: string) => ({ source, note: '' })
const WORDS: Readonly<Record<string, (stage: Stage) => unknown>> = {
  ...Object.fromEntries(
    ['cli', 'api', 'console', 'device'].map((source) => [
      `a heartbeat by ${source}`,
      ({ watch }: Stage) => watch.heartbeat(true, by(source)),
    ]),
  ),
  'a heartbeat by webhook': ({ watch }) => watch.heartbeat(false, by('webhook')),
  'hub back': ({ watch }) => watch.back(by('cli')),
  'hub up': ({ watch }) => watch.up(),
  'hub up, then a heartbeat by webhook': ({ watch }) => [watch.up(), watch.heartbeat(false, by('webhook'))],
  'hub up, then a heartbeat by cli': ({ watch }) => [watch.up(), watch.heartbeat(true, by('cli'))],
  'hub resume': ({ watch }) => watch.resume(),
  'the head as shown': ({ watch }) => watch.acceptHead(HEAD),
  'another head': ({ watch }) => watch.acceptHead('b'.repeat(64)),
  'the contact pressing again': ({ watch }) => watch.shutdown('', 'contact'),
  'an announced restart': ({ watch }) => watch.announce('restart', 1000),
  'hub shutdown': ({ watch }) => watch.shutdown('', 'operator'),
  'a restart of the watchdog': ({ restart }) => restart(),
  'a reboot': ({ at, restart }) => [at.clock.reboot(HOUR), restart()],
  'a reboot with a clock of 1970': ({ at, restart }) => [at.clock.reboot(-50 * 8760 * HOUR), restart()],
  'a step of the wall by ten years': ({ at }) => at.clock.stepWall(10 * 8760 * HOUR),
  'a night asleep': ({ at }) => at.clock.sleep(9 * HOUR),
  'a hub that says all is well': ({ at }) => {
    at.hub.answer = () => ({ kind: 'answer', answer: makeAnswer({ mode: 'normal', auditSize: 1, auditHead: HEAD }) })
  },
}
const STRONG = ['cli', 'api', 'console', 'device'].map((source) => `a heartbeat by ${source}`)
/** Written out from docs/safety.md 1, against the code. */
const ENDED_BY: Readonly<Record<ConditionName, readonly string[]>> = {
  heartbeat_missed: [...STRONG, 'hub back', 'hub up, then a heartbeat by cli'],
  unattended_stop: ['hub up, then a heartbeat by cli'],
  witness_mismatch: ['the head as shown'],
  away: ['hub back'],
  emergency_stop: ['hub resume'],
}

describe('what sticks and what ends it', () => {
  test.each(NAMES.flatMap((name) => Object.keys(WORDS).map((word) => [name, word] as const)))(
    'T97: %s and %s [cond-25, cond-26, cond-32]',
    async (name, word) => {
      const at = holding(name)
      const leases: (readonly string[])[] = []
      const { answer } = at.hub
      let one = at.start()
      const stage: Stage = {
        at,
        get watch() {
          return one.watch
        },
        restart() {
          one.file.close()
          one = at.start()
          return one.watch
        },
      }
      await one.watch.round()
      expect(conditionsOf(onDisk(at))).toEqual([name])
      await WORDS[word]?.(stage)
      at.hub.answer = (demand, conditions) => {
        leases.push(conditions)
        return answer?.(demand, conditions) ?? { kind: 'silent', reason: '' }
      }
      await one.watch.round()
      const added = word === 'the contact pressing again' && name !== 'emergency_stop' ? ['emergency_stop'] : []
      const kept = ENDED_BY[name].includes(word) ? [] : [name]
      expect(leases[0]).toEqual([...kept, ...added])
      expect(conditionsOf(onDisk(at)), 'and so on the disk').toEqual(leases[0])
      one.file.close()
    },
  )

  test('T97: all five at once: each ends by its own word and takes no other with it (I5) [cond-1]', async () => {
    const at = holding('heartbeat_missed', 'unattended_stop', 'witness_mismatch', 'emergency_stop')
    const { watch, file } = at.start()
    await watch.round()
    const left = () => conditionsOf(onDisk(at))
    expect(left()).toEqual(['heartbeat_missed', 'unattended_stop', 'witness_mismatch', 'emergency_stop'])
    watch.resume()
    expect(left()).toEqual(['heartbeat_missed', 'unattended_stop', 'witness_mismatch'])
    watch.heartbeat(true, by('cli'))
    expect(left()).toEqual(['unattended_stop', 'witness_mismatch'])
    watch.acceptHead(HEAD)
    expect(left()).toEqual(['unattended_stop'])
    watch.up()
    watch.back(by('cli'))
    expect(left()).toEqual([])
    file.close()
  })

  test('every row names how it ends, and the contact hears of each but the stop they pressed', () => {
    for (const name of NAMES) expect(CONDITIONS[name].endsBy).toMatch(/^hub /)
    expect(NAMES.filter((name) => !CONDITIONS[name].contactIsTold)).toEqual(['emergency_stop'])
    expect(NAMES.filter((name) => !CONDITIONS[name].sticky)).toEqual([])
  })
})

describe('a crash at each step', () => {
  test('T97: a condition is on the disk before the lease that carries it and before the stop that follows from it [cond-24, stop-37]', async () => {
    const at = watchScene()
    homes.push(at)
    const { watch, file } = at.start()
    const carried: string[] = []
    at.hub.answer = (demand, conditions) => {
      expect(conditionsOf(onDisk(at))).toEqual(conditions)
      carried.push(conditions.join())
      return { kind: 'answer', answer: makeAnswer({ mode: demand }) }
    }
    let stops = 0
    at.hub.stop = () => {
      stops += 1
      expect(conditionsOf(onDisk(at))).toContain('unattended_stop')
      expect(onDisk(at)).toMatchObject({ announced: { kind: 'shutdown' }, presence: { stopReport: null } })
      return []
    }
    for (let hour = 0; hour <= 51; hour += 1) {
      await watch.round()
      at.clock.move(HOUR)
    }
    expect(stops).toBe(1)
    expect([...new Set(carried)]).toEqual(['', 'heartbeat_missed', 'heartbeat_missed,unattended_stop'])
    file.close()
  })

  test('S1-30, T97: killed in the midst of the stop it is made again, and done once it is not made a third time, whoever restarts what [time-9, time-10, stop-30]', async () => {
    const at = watchScene()
    homes.push(at)
    const first = at.start()
    await first.watch.round()
    const one = makeContainer(at.clock.read())
    at.engine.present.set(one.id, one)
    at.clock.move(50 * HOUR)
    let stops = 0
    // Dies here: nothing after this call is ever done by this process.
    at.hub.stop = () => {
      stops += 1
      throw new Error('killed')
    }
    await first.watch.round()
    first.file.close()
    expect(onDisk(at).presence).toMatchObject({ stopReport: null, stoppedSinceMs: expect.any(Number) })
    expect(
      at.told().some((line) => line.includes('unattended_stop')),
      'no report of what has not ended',
    ).toBe(false)

    at.hub.stop = () => {
      stops += 1
      return []
    }
    let again = at.start()
    await again.watch.round()
    await again.watch.round()
    expect(stops).toBe(2)
    expect(at.engine.present.size).toBe(0)
    expect(at.told().filter((line) => line.startsWith('raised unattended_stop'))).toHaveLength(1)

    // A service manager brings both back, over and over: the hub answers, is told to be safe, and nothing is stopped anew.
    for (let turn = 0; turn < 5; turn += 1) {
      again.file.close()
      again = at.start()
      await again.watch.round()
      expect(conditionsOf(onDisk(at))).toContain('unattended_stop')
      at.clock.move(HOUR)
    }
    expect(stops).toBe(2)
    const stray = makeContainer(at.clock.read())
    at.engine.present.set(stray.id, stray)
    await again.watch.round()
    expect(at.engine.present.size, 'what somebody starts all the same is removed').toBe(0)
    again.file.close()
  })

  test('a heartbeat the disk did not take ends nothing, and says so [cond-25]', async () => {
    const at = holding('heartbeat_missed')
    const { watch, file } = at.start()
    await watch.round()
    file.close()
    expect(() => watch.heartbeat(true, by('cli'))).toThrow()
    expect(() => watch.back(by('cli'))).toThrow()
    expect(conditionsOf(onDisk(at))).toEqual(['heartbeat_missed'])
    const next = at.start()
    await next.watch.round()
    expect(next.watch.status()).toMatchObject({ conditions: ['heartbeat_missed'] })
    next.file.close()
  })
})
