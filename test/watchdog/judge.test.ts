import { createPublicKey } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Reading } from '../../watchdog/base/clock.ts'
import { parseConfig } from '../../watchdog/config/config.ts'
import { conditionsOf } from '../../watchdog/judge/conditions.ts'
import { judgeDeadline } from '../../watchdog/judge/containers.ts'
import type { Facts, Memory } from '../../watchdog/judge/facts.ts'
import { containerFindings, engineIsAway } from '../../watchdog/judge/findings.ts'
import { planHeartbeat, planUp } from '../../watchdog/judge/heartbeat.ts'
import { announcedNow, firstMemory, judge, planAdvance, planLease } from '../../watchdog/judge/judge.ts'
import type { Answer, Heard } from '../../watchdog/judge/lease.ts'
import { firstState, type State } from '../../watchdog/judge/state.ts'

import {
  createSteerableClock,
  HOUR,
  INSTANCE,
  makeAnswer,
  makeCheckpoint,
  makeContainer,
  makeHome,
  sessionOf,
  ZEROS,
} from '../support/watchdog-home.ts'

const config = parseConfig({})
const silent: Heard = { kind: 'silent', reason: 'no answer' }
const answered = (over: Parameters<typeof makeAnswer>[0] = {}): Heard => ({ kind: 'answer', answer: makeAnswer(over) })
const factsAt = (now: Reading, over: Partial<Facts> = {}): Facts => ({
  now,
  containers: { kind: 'listed', list: [] },
  heard: answered(),
  disagreement: null,
  ledger: { kind: 'missing' },
  checkpointKey: null,
  own: [],
  ...over,
})

/** Walks rounds by hand: each step moves the clock, advances the state and judges. */
function walk() {
  const clock = createSteerableClock()
  let state: State = firstState(clock.read(), INSTANCE)
  let memory: Memory = { ...firstMemory(0), everAnswered: true }
  return {
    clock,
    get state() {
      return state
    },
    change(next: (state: State) => State) {
      state = next(state)
    },
    step(moveMs: number, over: Partial<Facts> | ((now: Reading) => Partial<Facts>) = {}) {
      clock.move(moveMs)
      const now = clock.read()
      state = planAdvance(state, now, config)
      const judged = judge(state, memory, factsAt(now, typeof over === 'function' ? over(now) : over), config)
      state = judged.state
      memory = judged.memory
      return {
        ...judged,
        ids: judged.findings.map((one) => one.id),
        conditions: conditionsOf(judged.state),
        level: (id: string) => judged.findings.find((one) => one.id === id)?.level ?? 0,
      }
    },
  }
}

describe('hub health', () => {
  test('S1-22: two misses are none, the third is a finding, the fourth the same one, an answer ends it [presence-7, watch-27, watch-28]', () => {
    const w = walk()
    expect(w.step(30_000, { heard: silent }).ids).toEqual([])
    expect(w.step(30_000, { heard: silent }).ids).toEqual([])
    expect(w.step(30_000, { heard: silent }).ids).toContain('hub_health')
    expect(w.step(30_000, { heard: silent }).level('hub_health')).toBe(1)
    expect(w.step(30_000).ids).toEqual([])
    expect(w.step(30_000, { heard: silent }).ids).toEqual([])
  })

  test('fault A3: an engine without a version in common is critical, and over with the first that is understood [watch-6]', () => {
    const w = walk()
    const judged = w.step(30_000, { disagreement: 'it speaks only API 1.60 and later' })
    expect(judged.findings).toMatchObject([{ id: 'engine_unsupported', severity: 'critical' }])
    expect(judged.findings[0]?.text).toMatch(/only API 1\.60 and later.*--filter label=hub\.instance=\S+\)$/)
    expect(w.step(30_000).ids).toEqual([])
  })

  test('T92: a forged answer is a miss and a critical finding at once, and its sessions are not believed [watch-35, alert-15]', () => {
    const w = walk()
    const judged = w.step(30_000, { heard: { kind: 'forged', reason: 'its MAC is wrong' } })
    expect(judged.findings).toMatchObject([{ id: 'hub_forged', severity: 'critical' }])
    expect(judged.memory.misses).toBe(1)
  })

  test('T92: a proven answer that is not understood is a miss and a warning, louder at the third in a row, and wakes nobody [watch-36]', () => {
    const w = walk()
    const heard: Heard = { kind: 'unreadable', reason: 'its version is unknown' }
    for (const [index, level] of [1, 1, 2, 2].entries()) {
      const judged = w.step(30_000, { heard })
      expect(judged.level('hub_unreadable')).toBe(level)
      expect(judged.findings.every(({ severity }) => severity === 'warning')).toBe(true)
      expect(judged.memory.misses).toBe(index + 1)
    }
    expect(w.step(30_000).ids).toEqual([])
    expect(w.step(30_000, { heard }).level('hub_unreadable')).toBe(1)
  })

  test('the start-up grace counts no miss before the first answer, and ends after 60 s [watch-32]', () => {
    const clock = createSteerableClock()
    const first = firstState(clock.read(), INSTANCE)
    for (const [afterMs, misses] of [
      [59_999, 0],
      [60_000, 1],
    ] as const) {
      const state = { ...first, lineMs: afterMs }
      expect(judge(state, firstMemory(0), factsAt(clock.read(), { heard: silent }), config).memory.misses).toBe(misses)
    }
  })

  test('an announced restart is silent for 5 min and then a finding; an announced stop is silent until it is called off [watch-33, stop-3]', () => {
    const w = walk()
    w.change((state) => ({ ...state, announced: announcedNow('restart', state.lineMs, 9e9, config) }))
    for (let at = 0; at < 10; at += 1) expect(w.step(30_000, { heard: silent }).ids).toEqual([])
    expect(w.step(30_000, { heard: silent }).ids).toContain('hub_health')
    const v = walk()
    v.step(30_000, { heard: answered({ announced: { kind: 'shutdown' } }) })
    for (let at = 0; at < 100; at += 1) expect(v.step(HOUR, { heard: silent }).ids).toEqual([])
    v.step(30_000)
    for (let at = 0; at < 3; at += 1) v.step(30_000, { heard: silent })
    expect(v.step(30_000, { heard: silent }).ids).toContain('hub_health')
  })

  test('an announced stop is over with the first answer of another process, though no round saw the hub away; an answer of the same one ends nothing [watch-33]', () => {
    const by = (run: string | null, over: Partial<Answer> = {}) => ({ heard: answered({ run, ...over }) })
    const third = (begin: readonly ReturnType<typeof by>[]) => {
      const w = walk()
      for (const facts of begin) w.step(30_000, facts)
      for (let at = 0; at < 2; at += 1) w.step(30_000, { heard: silent })
      const judged = w.step(30_000, { heard: silent })
      return { isTold: judged.ids.includes('hub_health'), isPaused: judged.state.presence.paused }
    }
    for (const kind of ['down', 'shutdown', 'restart'] as const) {
      const ending = by('a', { announced: { kind } })
      expect(third([by('a'), ending, by('b')]), kind).toEqual({ isTold: true, isPaused: false })
      // The one that ends answers until its end; an older hub does not say which process it is.
      for (const run of ['a', null])
        expect(third([by(run), by(run, { announced: { kind } }), by(run)]).isTold, kind).toBe(false)
    }
    // Announced at the door, by the command: no answer of the one that ended has said it.
    const w = walk()
    w.step(30_000, by('a'))
    w.change((state) => ({ ...state, announced: announcedNow('down', state.lineMs, HOUR, config) }))
    expect(w.step(30_000, by('a')).state.announced).not.toBeNull()
    expect(w.step(30_000, by('b')).state.announced).toBeNull()
  })
})

describe('deadline labels', () => {
  const clock = createSteerableClock()
  const now = clock.read()
  const boot = (ms: number) => ({ 'hub.expires-boot': `${now.bootId}:${ms}` })
  test.each([
    ['running 1 ms before +15 s', 'running', boot(now.bootMs - 14_999), null],
    ['running at exactly +15 s', 'running', boot(now.bootMs - 15_000), 'ttl_passed'],
    ['running 1 ms after', 'running', boot(now.bootMs - 15_001), 'ttl_passed'],
    ['paused at +15 s', 'paused', boot(now.bootMs - 15_000), 'ttl_passed'],
    ['restarting at +15 s', 'restarting', boot(now.bootMs - 15_000), 'ttl_passed'],
    [
      'running with the label of another boot',
      'running',
      { 'hub.expires-boot': `boot-z:${now.bootMs + HOUR}` },
      'boot_mismatch',
    ],
    ['running with no readable deadline', 'running', { 'hub.expires-boot': 'soon' }, 'deadline_unreadable'],
    ['exited is judged by wall: before', 'exited', { 'hub.expires-at': String(now.wallMs - 14_999), ...boot(0) }, null],
    ['exited is judged by wall: at', 'exited', { 'hub.expires-at': String(now.wallMs - 15_000) }, 'ttl_passed'],
    ['created is judged by wall', 'created', { 'hub.expires-at': String(now.wallMs - 15_000) }, 'ttl_passed'],
    ['dead is judged by wall', 'dead', { 'hub.expires-at': String(now.wallMs - 15_000) }, 'ttl_passed'],
    ['removing is judged by wall', 'removing', { 'hub.expires-at': String(now.wallMs - 15_000) }, 'ttl_passed'],
    ['one in a state of a later engine at +15 s', 'hibernating', boot(now.bootMs - 15_000), 'ttl_passed'],
    ['exited from another boot keeps to the wall', 'exited', { 'hub.expires-boot': 'boot-z:1' }, null],
  ])('T94: %s [watch-46, watch-47]', (_name, state, labels, fault) => {
    expect(judgeDeadline(makeContainer(now, { state }, labels as Record<string, string>), now, 15_000)).toBe(fault)
  })

  test('T71, T72: a wall step of ten years either way neither kills nor prolongs a running container [watch-10, clock-3]', () => {
    const w = walk()
    const one = makeContainer(w.clock.read())
    const over = {
      containers: { kind: 'listed' as const, list: [one] },
      heard: answered({ sessions: [sessionOf(one)] }),
    }
    w.clock.stepWall(87_600 * HOUR)
    expect(w.step(1_000, over).recycle).toEqual([])
    w.clock.stepWall(-2 * 87_600 * HOUR)
    expect(w.step(1_000, over)).toMatchObject({ recycle: [], findings: [{ id: 'clock_fault' }] })
    expect(w.step(HOUR + 15_000, over).recycle).toMatchObject([{ fault: 'ttl_passed' }])
  })

  test('T73: a suspend counts for the time to live [away-1, clock-3]', () => {
    const w = walk()
    const one = makeContainer(w.clock.read())
    w.clock.sleep(2 * HOUR)
    expect(w.step(0, { containers: { kind: 'listed', list: [one] }, heard: silent }).recycle).toMatchObject([
      { fault: 'ttl_passed' },
    ])
  })
})

describe('orphans', () => {
  const listed = (list: ReturnType<typeof makeContainer>[]) => ({ containers: { kind: 'listed' as const, list } })
  test.each(['created', 'running', 'paused', 'restarting', 'exited', 'dead', 'removing'])(
    'T94, X9: a container in state %s without a session is an orphan at 60 s, not before [watch-40]',
    (state) => {
      const w = walk()
      const one = makeContainer(w.clock.read(), { state })
      expect(w.step(59_999, listed([one])).recycle).toEqual([])
      expect(w.step(1, listed([one])).recycle).toMatchObject([{ fault: 'orphan' }])
    },
  )

  test('a live session keeps its container, and only the container it names [watch-41]', () => {
    const w = walk()
    const one = makeContainer(w.clock.read())
    const two = makeContainer(w.clock.read(), {}, { 'hub.session': one.labels['hub.session'] ?? '' })
    const judged = w.step(60_000, { ...listed([one, two]), heard: answered({ sessions: [sessionOf(one)] }) })
    expect(judged.recycle.map((verdict) => verdict.container.id)).toEqual([two.id])
  })

  test('S1-24: with the hub dead the ledger decides; missing or damaged it kills nothing as an orphan, deadlines still count [presence-7, watch-42, watch-45]', () => {
    const w = walk()
    const live = makeContainer(w.clock.read())
    const orphan = makeContainer(w.clock.read())
    const late = makeContainer(w.clock.read(), {}, { 'hub.expires-boot': `boot-a:${w.clock.read().bootMs}` })
    const over = { ...listed([live, orphan, late]), heard: silent }
    const read = w.step(90_000, { ...over, ledger: { kind: 'read', sessions: [sessionOf(live), sessionOf(late)] } })
    expect(read.recycle.map((one) => [one.container.id, one.fault])).toEqual([
      [orphan.id, 'orphan'],
      [late.id, 'ttl_passed'],
    ])
    for (const ledger of [{ kind: 'missing' }, { kind: 'damaged', reason: 'x' }] as const) {
      const judged = w.step(30_000, { ...over, ledger })
      expect(judged.recycle.map((one) => one.fault)).toEqual(['ttl_passed'])
    }
    expect(w.step(30_000, { ...over, ledger: { kind: 'damaged', reason: 'x' } }).ids).toContain('ledger')
    expect(w.step(30_000, { ...over, ledger: { kind: 'missing' } }).ids).toContain('ledger')
  })

  test('a finding acted on in vain is louder at the third round after, and critical [watch-54, alert-14]', () => {
    const w = walk()
    const one = makeContainer(w.clock.read())
    expect(w.step(60_000, listed([one])).level('orphan')).toBe(1)
    expect(w.step(30_000, listed([one])).level('orphan')).toBe(1)
    expect(w.step(30_000, listed([one])).level('orphan')).toBe(1)
    expect(w.step(30_000, listed([one])).findings).toMatchObject([{ id: 'orphan', level: 2, severity: 'critical' }])
    expect(w.step(30_000).ids).toEqual([])
  })

  test('fault A6: containers that do not go are a warning where nothing of them runs; the alarm names the process where one does', () => {
    const one = makeContainer({ ...createSteerableClock().read() })
    const verdicts = [{ container: one, fault: 'orphan' as const, actedRounds: 5 }]
    const told = (remains: Memory['remains']) => containerFindings(verdicts, remains)[0]
    expect(told({ [one.name]: [] })).toMatchObject({ level: 1, severity: 'warning' })
    expect(told({ [one.name]: [] })?.text).toContain('None of their processes runs any more')
    expect(told({ [one.name]: [31] })).toMatchObject({ level: 2, severity: 'critical' })
    expect(told({ [one.name]: [31] })?.text).toContain('sudo kill -9 31')
    for (const remains of [{}, { [one.name]: 'unknown' as const }])
      expect(told(remains)).toMatchObject({ level: 2, severity: 'critical' })
  })

  test('an engine that does not answer is a finding at the second round and nothing is judged [watch-7]', () => {
    const w = walk()
    const down = { containers: { kind: 'failed' as const, reason: 'hangs' } }
    expect(w.step(30_000, down).ids).toEqual([])
    expect(w.step(30_000, down)).toMatchObject({ findings: [{ id: 'engine_unavailable' }], recycle: [] })
  })

  test('fault A11: an engine that fails every second round is no finding; one that is told ends with two good rounds in a row [watch-7]', () => {
    const w = walk()
    const down = { containers: { kind: 'failed' as const, reason: 'hangs' } }
    for (let turn = 0; turn < 20; turn += 1) expect(w.step(30_000, turn % 2 === 0 ? down : {}).ids).toEqual([])
    const told: [number, number, boolean, boolean][] = [
      [1, 0, false, false],
      [2, 0, false, true],
      [0, 0, true, true],
      [0, 1, true, true],
      [1, 0, true, true],
      [0, 2, true, false],
    ]
    for (const [engineMisses, engineAnswers, isTold, isAway] of told)
      expect(engineIsAway({ engineMisses, engineAnswers }, isTold)).toBe(isAway)
  })
})

describe('throughput', () => {
  test('S1-23: six hours of waiting without one dispatch is a finding; a dispatch, an empty queue, safe mode, draining and silence are not [watch-37, watch-38]', () => {
    const waiting = { heard: answered({ queued: 1, dispatched: 4 }) }
    const w = walk()
    w.step(0, waiting)
    expect(w.step(6 * HOUR - 1, waiting).ids).toEqual([])
    expect(w.step(1, waiting).ids).toEqual(['throughput'])
    expect(w.step(1, { heard: answered({ queued: 1, dispatched: 5 }) }).ids).toEqual([])
    for (const heard of [
      answered({ queued: 0, dispatched: 4 }),
      answered({ queued: 1, dispatched: 4, mode: 'safe' }),
      answered({ queued: 1, dispatched: 4, mode: 'draining' }),
      silent,
    ]) {
      const v = walk()
      v.step(0, waiting)
      v.step(3 * HOUR, { heard })
      v.step(1, waiting)
      expect(v.step(4 * HOUR, waiting).ids).not.toContain('throughput')
    }
  })
})

describe('presence', () => {
  const quiet = { heard: answered() }
  test('T95: reminders at 18 h and 22 h, missed at 24 h, safe at 26 h, stop 24 h later, each to the millisecond [time-3, time-4, time-8]', () => {
    const table: [number, string, number][] = [
      [18, 'heartbeat_due', 1],
      [22, 'heartbeat_due', 2],
      [24, 'heartbeat_due', 3],
      [26, 'heartbeat_missed', 2],
      [38, 'heartbeat_missed', 3],
      [48, 'heartbeat_missed', 4],
    ]
    const w = walk()
    let atMs = 0
    for (const [hours, id, level] of table) {
      expect(w.step(hours * HOUR - 1 - atMs, quiet).level(id), `${id} before ${hours} h`).toBeLessThan(level)
      expect(w.step(1, quiet).level(id), `${id} at ${hours} h`).toBe(level)
      atMs = hours * HOUR
    }
    expect(w.step(2 * HOUR - 1, quiet).conditions).toEqual(['heartbeat_missed'])
    const stopped = w.step(1, quiet)
    expect(planLease(w.state, config)).toMatchObject({
      demand: 'safe',
      conditions: ['heartbeat_missed', 'unattended_stop'],
      deadlineInMs: 0,
    })
    expect(stopped.ids, 'its report is told once it has ended').not.toContain('unattended_stop')
    w.change((state) => ({ ...state, presence: { ...state.presence, stopReport: { gone: 6, failed: 1 } } }))
    expect(w.step(1, quiet).findings.find((one) => one.id === 'unattended_stop')).toMatchObject({
      level: 1,
      text: expect.stringMatching(/6 containers confirmed gone\. 1 could not be confirmed as gone/),
    })
  })

  test('T95: reboots every hour and wall steps neither shorten nor reset it [stop-34, clock-5]', () => {
    const w = walk()
    for (let hour = 0; hour < 25; hour += 1) {
      w.clock.stepWall(hour % 2 === 0 ? 400 * HOUR : -400 * HOUR)
      w.step(0, quiet)
      w.clock.reboot(HOUR)
      expect(w.step(0, quiet).state.presence.safeSinceMs).toBeNull()
    }
    expect(w.step(2 * HOUR, quiet).state.presence).toMatchObject({ nowMs: 27 * HOUR, safeSinceMs: 26 * HOUR })
  })

  test('T74: a reboot with a clock of 1970 counts what this boot has lasted and no more, and says so [watch-10, clock-8, clock-9]', () => {
    const w = walk()
    w.step(HOUR, quiet)
    w.clock.reboot(-50 * 365 * 24 * HOUR)
    expect(w.step(0, quiet)).toMatchObject({
      state: { presence: { nowMs: HOUR + 20_000 } },
      findings: [{ id: 'clock_fault' }],
    })
  })

  test('T73: a deadline that passed asleep is safe mode at once; the contact and the stop wait 2 h, once per period [away-1, away-3]', () => {
    const w = walk()
    w.clock.sleep(30 * HOUR)
    const woken = w.step(0, quiet)
    expect(woken.findings.find((one) => one.id === 'heartbeat_missed')).toMatchObject({ level: 1 })
    expect(w.step(2 * HOUR - 1, quiet).level('heartbeat_missed')).toBe(1)
    expect(w.step(1, quiet).findings.find((one) => one.id === 'heartbeat_missed')).toMatchObject({
      level: 2,
    })
    w.clock.sleep(22 * HOUR - 1)
    expect(w.step(0, quiet).conditions).not.toContain('unattended_stop')
    w.clock.sleep(1)
    expect(w.step(0, quiet).conditions, 'the grace of this period is used up').toContain('unattended_stop')
  })

  test('T73: a ceiling that passed asleep waits for the grace as well [away-2]', () => {
    const w = walk()
    w.step(26 * HOUR, quiet)
    w.clock.sleep(60 * HOUR)
    expect(w.step(0, quiet).conditions).not.toContain('unattended_stop')
    expect(w.step(2 * HOUR - 1, quiet).conditions).not.toContain('unattended_stop')
    expect(w.step(1, quiet).conditions).toContain('unattended_stop')
  })

  test('a weak heartbeat prolongs to 7 days past the last strong one, ends nothing, and in safe mode restarts the ceiling', () => {
    const w = walk()
    const weak = () =>
      w.change((state) => ({ ...state, presence: planHeartbeat(state.presence, false, state.mark.wallMs, config) }))
    for (let day = 0; day < 7; day += 1) {
      expect(w.step(23 * HOUR, quiet).ids).not.toContain('heartbeat_missed')
      weak()
    }
    const sevenDays = w.step(168 * HOUR - 7 * 23 * HOUR - 1, quiet)
    expect(sevenDays.level('heartbeat_due')).toBe(2)
    expect(w.step(1, quiet).level('heartbeat_due')).toBe(3)
    const v = walk()
    v.step(30 * HOUR, quiet)
    v.change((state) => ({ ...state, presence: planHeartbeat(state.presence, false, state.mark.wallMs, config) }))
    expect(v.step(24 * HOUR - 1, quiet).conditions).not.toContain('unattended_stop')
    expect(v.step(0, quiet).ids).toContain('heartbeat_missed')
    expect(v.step(1, quiet).conditions).toContain('unattended_stop')
  })

  test('after `hub up` a strong heartbeat ends all of it', () => {
    const w = walk()
    w.step(60 * HOUR, quiet)
    w.change((state) => ({ ...state, presence: planUp(state.presence) }))
    w.change((state) => ({ ...state, presence: planHeartbeat(state.presence, true, state.mark.wallMs, config) }))
    expect(w.step(0, quiet)).toMatchObject({ findings: [] })
    expect(planLease(w.state, config)).toMatchObject({ demand: 'normal', heartbeatAgeMs: 0, deadlineInMs: 26 * HOUR })
  })

  test('after an announced stop the clock stands only once the engine confirms that nothing is left, and runs again with the hub [stop-36]', () => {
    const w = walk()
    w.change((state) => ({ ...state, announced: announcedNow('down', state.lineMs, 0, config) }))
    const one = makeContainer(w.clock.read())
    w.step(HOUR, { heard: silent, containers: { kind: 'failed', reason: 'x' } })
    w.step(0, { heard: silent, containers: { kind: 'listed', list: [one] } })
    expect(w.step(1, { heard: silent }).state.presence).toMatchObject({ paused: true, nowMs: HOUR + 1 })
    expect(w.step(500 * HOUR, { heard: silent }).ids).toEqual([])
    expect(w.step(HOUR, quiet).state.presence).toMatchObject({ paused: false, nowMs: HOUR + 1 })
    expect(w.step(HOUR, quiet).state.presence.nowMs).toBe(2 * HOUR + 1)
  })
})

describe('the witness', () => {
  test('T100: a linked, longer row is remembered; overlap is fine; a smaller log, another head, a broken link or signature is a sticky mismatch [watch-53]', () => {
    const { checkpointKey, remove } = makeHome()
    remove()
    const publicKey = createPublicKey(checkpointKey)
    const head = (letter: string) => letter.repeat(64)
    const one = makeCheckpoint(checkpointKey, 5, head('a'), null)
    const two = makeCheckpoint(checkpointKey, 9, head('b'), one)
    const three = makeCheckpoint(checkpointKey, 12, head('c'), two)
    const shown = (size: number, auditHead: string, checkpoints: readonly (typeof one)[]) => ({
      heard: answered({ auditSize: size, auditHead, checkpoints }),
      checkpointKey: publicKey,
    })
    const good = () => {
      const w = walk()
      expect(w.step(1, shown(9, head('b'), [one, two])).ids).toEqual([])
      return w
    }
    expect(good().state.witness).toMatchObject({ size: 9, head: head('b') })
    expect(planLease(good().state, config).witnessSize).toBe(9)
    expect(good().step(1, shown(13, head('d'), [one, two, three])).state.witness?.size).toBe(12)
    expect(good().step(1, shown(9, head('b'), [])).ids).toEqual([])
    const other = makeHome()
    other.remove()
    const bad = [
      shown(8, ZEROS, []),
      shown(9, head('x'), []),
      shown(10, head('y'), [makeCheckpoint(checkpointKey, 9, head('x'), one)]),
      shown(9, head('x'), [makeCheckpoint(checkpointKey, 9, head('x'), one)]),
      shown(12, head('c'), [makeCheckpoint(checkpointKey, 12, head('c'), one)]),
      shown(12, head('c'), [makeCheckpoint(other.checkpointKey, 12, head('c'), two)]),
      shown(12, head('c'), [makeCheckpoint(checkpointKey, 12, head('c'), two, 'another')]),
      shown(11, head('c'), [three]),
      shown(12, head('c'), [{ ...three, wallMs: 2 }]),
    ]
    for (const [index, facts] of bad.entries()) {
      const w = good()
      const judged = w.step(1, facts)
      expect(judged.ids, `case ${index}`).toEqual(['witness_mismatch'])
      expect(judged.evidence).toContain('{}')
      expect(judged.state.witness, 'what was witnessed stays').toMatchObject({ size: 9 })
      expect(planLease(judged.state, config)).toMatchObject({ demand: 'safe', conditions: ['witness_mismatch'] })
      expect(w.step(1, shown(9, head('b'), [])), 'it sticks, and evidence is kept once').toMatchObject({
        evidence: null,
        findings: [{ id: 'witness_mismatch' }],
      })
    }
    const w = good()
    expect(w.step(1, { ...shown(12, head('c'), [three]), checkpointKey: null }).ids).toEqual(['witness_unproven'])
    expect(w.state.witness?.size).toBe(9)
  })
})
