/** The judged state walked by hand through time, without a disk, a hub or an engine: for the whole timeline in milliseconds. */

import { type Config, parseConfig } from '../../watchdog/config/config.ts'
import { type ConditionName, conditionsOf } from '../../watchdog/judge/conditions.ts'
import type { Facts, Memory } from '../../watchdog/judge/facts.ts'
import { type AwayRequest, decideAway, planBack, planHeartbeat, planUp } from '../../watchdog/judge/heartbeat.ts'
import { firstMemory, judge, planAdvance, planLease, planWaking } from '../../watchdog/judge/judge.ts'
import { firstState, type State } from '../../watchdog/judge/state.ts'
import { elapsedBetween, type Presence } from '../../watchdog/judge/timeline.ts'
import { planNotices } from '../../watchdog/tell/notices/plan.ts'
import { createSteerableClock, HOUR, INSTANCE, makeAnswer } from './watchdog-home.ts'

const MINUTE = 60_000

/** What a notice to the contact is about. */
const ABOUT: Readonly<Record<string, string>> = {
  missed: 'heartbeat_missed',
  reminder: 'heartbeat_missed',
  stopped: 'unattended_stop',
  away: 'away',
}

/** `start`: when the first heartbeat was, as `2026-01-05T09:00`, UTC. */
export function presenceWalk(settings: object = {}, start = '2026-01-05T09:00') {
  const config: Config = parseConfig(settings)
  const clock = createSteerableClock()
  const beganMs = Date.parse(`${start}Z`)
  clock.stepWall(beganMs - clock.read().wallMs)
  let state: State = firstState(clock.read(), INSTANCE)
  let memory: Memory = { ...firstMemory(0), everAnswered: true }
  /** What was said and held, each change once, with the hours since the beginning by the presence clock. */
  const story: [hours: number, what: string][] = []
  const open = new Map<string, number>()
  let held = ''

  const hours = () => Math.round((state.lineMs / HOUR) * 1000) / 1000
  function note(what: string): void {
    story.push([hours(), what])
  }
  function look(facts: Partial<Facts> = {}): State {
    const now = clock.read()
    const gap = elapsedBetween(state.mark, now)
    state = planAdvance(state, now, config)
    memory = planWaking(memory, gap, state.lineMs)
    const judged = judge(
      state,
      memory,
      {
        now,
        containers: { kind: 'listed', list: [] },
        // An obedient hub.
        heard: { kind: 'answer', answer: makeAnswer({ mode: planLease(state, config).demand }) },
        disagreement: null,
        ledger: { kind: 'missing' },
        checkpointKey: null,
        own: [],
        ...facts,
      },
      config,
    )
    state = judged.state
    memory = judged.memory
    const telling = planNotices(state.contactTold, {
      findings: judged.findings,
      lineMs: state.lineMs,
      wallMs: state.mark.wallMs,
      presence: state.presence,
      stopAtMs: 0,
      hubCritical: false,
      hubPaused: false,
    })
    state = { ...state, contactTold: telling.told }
    const told = new Set(telling.notices.map(({ kind }) => ABOUT[kind]))
    // The stop itself is done at once here.
    if (state.presence.stoppedSinceMs !== null && state.presence.stopReport === null)
      state = { ...state, presence: { ...state.presence, stopReport: { gone: 0, failed: 0 } } }
    for (const { id, level } of judged.findings) {
      if (level > (open.get(id) ?? 0)) note(`${id} ${level}${told.has(id) ? ' and the contact' : ''}`)
      open.set(id, level)
    }
    for (const id of [...open.keys()])
      if (!judged.findings.some((one) => one.id === id)) {
        open.delete(id)
        note(`${id} resolved`)
      }
    const holds = conditionsOf(state).join(', ')
    if (holds !== held) note(holds === '' ? 'normal' : holds)
    held = holds
    return state
  }
  const say = (change: (p: Presence, wallMs: number) => Presence) => {
    state = planAdvance(state, clock.read(), config)
    state = { ...state, presence: change(state.presence, state.mark.wallMs) }
  }

  return {
    config,
    clock,
    story,
    get state() {
      return state
    },
    get presence() {
      return state.presence
    },
    conditions: (): readonly ConditionName[] => conditionsOf(state),
    look,
    /** Awake for so long, a round every ten minutes and one at the end. */
    live(forHours: number, during?: () => void): void {
      for (let leftMs = Math.round(forHours * HOUR); leftMs > 0; leftMs -= 10 * MINUTE) {
        clock.move(Math.min(10 * MINUTE, leftMs))
        during?.()
        look()
      }
    },
    strong: () => say((p, wallMs) => planHeartbeat(p, true, wallMs, config)),
    weak: () => say((p, wallMs) => planHeartbeat(p, false, wallMs, config)),
    up: () => say(planUp),
    back: () => say((p, wallMs) => planBack(p, wallMs, config)),
    /** Why not, or undefined. */
    away(request: Partial<AwayRequest>): string | undefined {
      state = planAdvance(state, clock.read(), config)
      const full = { untilInMs: 24 * HOUR, keepWorking: false, note: '', ...request }
      const next = decideAway(state.presence, full, conditionsOf(state), config)
      if (typeof next === 'string') return next
      state = { ...state, presence: next }
      return undefined
    },
    /** A new process over what is on the disk. */
    restart(): void {
      state = JSON.parse(JSON.stringify(state)) as State
      memory = firstMemory(state.lineMs)
    },
    /** The wall instant at which a heartbeat is due, as `2026-01-06T09:00`. */
    dueAt: (dueAtMs: number) =>
      new Date(clock.read().wallMs + dueAtMs - state.presence.nowMs).toISOString().slice(0, 16),
  }
}
export type PresenceWalk = ReturnType<typeof presenceWalk>
