/**
 * The watch itself: state, rounds, and what the door may ask of it. main.ts runs it; tests run it with a fake clock and engine.
 * R1 the state moves only in `commit`, synchronously, between two awaits: a heartbeat that arrives during a round is never lost.
 * R2 a heartbeat is persisted before it is answered; a passed deadline is persisted before the lease that carries it.
 * R3 one round never throws; a failing part is reported by the next.
 */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Acts, Stopped } from '../act/act.ts'
import type { StateFile } from '../act/state-file.ts'
import type { Clock } from '../base/clock.ts'
import { privateFolder } from '../base/home.ts'
import type { Config } from '../config/config.ts'
import { conditionsOf } from '../judge/conditions.ts'
import { announcedNow, firstMemory, judge, planAdvance, planLease, planWaking } from '../judge/judge.ts'
import type { StopOrder } from '../judge/lease.ts'
import type { Announced, State } from '../judge/state.ts'
import { planStop } from '../judge/stops.ts'
import { elapsedBetween } from '../judge/timeline.ts'
import { judgeWitness, type Shown, type WitnessWord, witnessNow } from '../judge/witness.ts'
import type { HubLine } from '../observe/hub-line.ts'
import type { Observe } from '../observe/observe.ts'
import { readCheckpointKey } from '../observe/observe.ts'
import type { Alerts } from '../tell/alerts.ts'
import { planTelling } from '../tell/plan.ts'
import { createOperatorWords, type OperatorWords } from './operator-words.ts'
import { type Seen, statusOf } from './status.ts'

export interface Log {
  info(fields: object, text: string): void
  warn(fields: object, text: string): void
}

export interface Watch extends OperatorWords {
  /** One round: advance, lease, observe, judge, act. Never throws. True if the next should follow at once. */
  round(): Promise<boolean>
  /** Sends a lease now, beside whatever the round is doing (lease-loop.ts); not while everything is stopped. Never throws. */
  renew(send: HubLine['lease']): Promise<void>
  /** `by`: the stop is remembered with the announcement: by contact and emergency as a condition, by the operator so that tasks are held. */
  announce(kind: Announced['kind'], forMs: number, by?: 'contact' | 'emergency' | 'operator'): void
  /** Stops everything, by the hub or by label. By contact and emergency the condition is persisted first and outlives everything. */
  shutdown(reason: string, by: 'contact' | 'emergency' | 'operator'): Promise<Stopped>
  /** Removes a drill's canary by its label; announces nothing, raises no condition, touches no other container. */
  drill(session: string): Promise<Stopped>
  /** The operator ends what the contact or `--emergency` began; answers whether there was any, and which stop it was. */
  resume(): { ended: boolean; stopId: number }
  /** Witnesses the last checkpoints of a hub that ends, because nobody will ask for them before it is back (T100). */
  witness(shown: Shown): WitnessWord['kind']
  /** The operator accepts the hub's current head; false if it is not the head last shown. */
  acceptHead(head: string): boolean
  status(): Readonly<Record<string, unknown>>
  /** Milliseconds since the last finished round; null before the first. */
  roundAgeMs(): number | null
}

/** The watch over one home, from the state it starts with. */
export function createWatch(
  options: { config: Config; evidence: string; checkpointKey: string; first: State },
  parts: {
    clock: Clock
    file: StateFile
    observe: Observe
    acts: Acts
    alerts: Alerts
    log: Log
    /** Called after a round that was judged and is on disk. */
    judgedWell?: () => void
  },
): Watch {
  const { config } = options
  const { clock, log } = parts
  let state = options.first
  let memory = firstMemory(state.lineMs)
  let stateFault: string | null = null
  let shown: { size: number; head: string } | null = null
  let hub: Seen['hub'] = { answering: false, mode: 'unknown', reason: 'not asked yet' }
  let engine = 'not asked yet'
  let finished: { rounds: number; bootMs: number } | null = null
  let stopping: Promise<Stopped> | null = null

  function commit(next: State): void {
    parts.file.save(next)
    state = next
    stateFault = null
  }
  /** For what must continue although the disk fails; the fault becomes a finding. */
  function tryCommit(next: State): void {
    try {
      commit(next)
    } catch (error) {
      state = next
      stateFault = (error as Error).message
    }
  }
  const announcing = (from: State, kind: Announced['kind'], forMs = Number.MAX_SAFE_INTEGER): State => ({
    ...from,
    announced: announcedNow(kind, from.lineMs, forMs, config),
  })
  const roundAgeMs = () => (finished === null ? null : Math.max(0, clock.read().bootMs - finished.bootMs))
  function advanced(now = clock.read()): State {
    const next = planAdvance(state, now, config)
    memory = planWaking(memory, elapsedBetween(state.mark, now), next.lineMs)
    return next
  }
  function keepEvidence(text: string): void {
    try {
      privateFolder(options.evidence)
      writeFileSync(path.join(options.evidence, `witness-${state.mark.wallMs}.txt`), text, { mode: 0o600, flag: 'wx' })
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'the evidence could not be kept')
    }
  }

  /** Only one stop runs at a time; another request gets the same answer. */
  function stopEverything(order: StopOrder): Promise<Stopped> {
    stopping ??= parts.acts.stopEverything(planLease(state, config), order).finally(() => {
      stopping = null
    })
    return stopping
  }

  async function oneRound(): Promise<boolean> {
    let follow = false
    tryCommit(advanced())
    const leased = planLease(state, config)
    const stateOwn =
      stateFault === null ? [] : [['state_failing', `The watchdog cannot write its state: ${stateFault}`] as const]
    const facts = await parts.observe(leased, [...stateOwn, ...parts.alerts.own()])

    // One reading for both: a process that was paused between two would see a clock that went back.
    const now = clock.read()
    const judged = judge(advanced(now), memory, { ...facts, now }, config)
    memory = judged.memory
    const told = planTelling(judged, facts.heard, config)
    for (const event of told.events) log.warn({ ...event }, 'alert')
    for (const notice of told.notices) log.warn({ ...notice }, 'the contact is told')
    try {
      parts.alerts.tell(told.events, told.notices, judged.state)
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'the alert file could not be written')
    }
    tryCommit(told.state)
    parts.alerts.turn(state.lineMs)
    if (judged.evidence !== null) keepEvidence(judged.evidence)
    const { heard } = facts
    hub =
      heard.kind === 'answer'
        ? { answering: true, mode: heard.answer.mode, reason: '' }
        : { answering: false, mode: 'offline', reason: heard.reason }
    engine = facts.containers.kind === 'listed' ? 'ok' : facts.containers.reason
    if (heard.kind === 'answer') shown = { size: heard.answer.auditSize, head: heard.answer.auditHead }

    if (state.presence.stoppedSinceMs !== null && state.presence.stopReport === null) {
      // The hub ends too; its silence afterwards is not news.
      tryCommit(planStop(announcing(state, 'shutdown'), 'unattended', ''))
      const stopped = await stopEverything({ by: 'unattended', reason: 'unattended_stop' })
      log.warn({ ...stopped }, 'unattended stop')
      const failed = stopped.containers.filter((one) => one.outcome === 'failed').length
      // If the engine is silent, there may be nothing to name; then nobody may say that everything has stopped.
      const unproven = stopped.unproven === undefined ? 0 : 1
      const stopReport = { gone: stopped.containers.length - failed, failed: Math.max(failed, unproven) }
      // Unless the operator came back meanwhile.
      if (state.presence.stoppedSinceMs !== null) tryCommit({ ...state, presence: { ...state.presence, stopReport } })
      follow = true
    } else if (judged.recycle.length > 0) {
      const done = await parts.acts.recycle(judged.recycle.map((one) => one.container))
      const remains = done.flatMap((one) => (one.remains === undefined ? [] : [[one.container, one.remains] as const]))
      memory = { ...memory, remains: Object.fromEntries(remains) }
      for (const one of done) log.info({ ...one }, 'recycled')
    }
    finished = { rounds: (finished?.rounds ?? 0) + 1, bootMs: clock.read().bootMs }
    if (stateFault === null) parts.judgedWell?.()
    return follow || conditionsOf(state).join() !== leased.conditions.join()
  }

  return {
    async round() {
      try {
        return await oneRound()
      } catch (error) {
        log.warn({ reason: (error as Error).stack ?? String(error) }, 'a round failed')
        return false
      }
    },
    async renew(send) {
      if (stopping !== null) return
      try {
        tryCommit(advanced())
        const heard = await send(planLease(state, config))
        // Takes only that it answers, and its mode: the round judges sessions and audit, because it knows what it listed before.
        if (heard.kind === 'answer') hub = { answering: true, mode: heard.answer.mode, reason: '' }
      } catch (error) {
        log.warn({ reason: (error as Error).message }, 'a lease between two rounds failed')
      }
    },
    ...createOperatorWords(config, {
      advanced,
      commit,
      hubMode: () => (hub.answering ? hub.mode : null),
      log,
    }),
    announce(kind, forMs, by) {
      const announced = announcing(advanced(), kind, forMs)
      if (by === undefined) commit(announced)
      // Stopping is never refused: not even when it cannot be written.
      else tryCommit(planStop(announced, by, ''))
    },
    async shutdown(reason, by) {
      tryCommit(planStop(announcing(advanced(), 'shutdown'), by, reason))
      const stopped = await stopEverything({ by, reason })
      log.warn({ by, reason, ...stopped }, 'shutdown')
      return stopped
    },
    drill: (session) => parts.acts.drill(session),
    resume() {
      const before = advanced()
      if (before.emergency !== null) commit({ ...before, emergency: null })
      return { ended: before.emergency !== null, stopId: before.stopId }
    },
    witness(last) {
      const before = advanced()
      const word = judgeWitness(
        before.witness,
        last,
        before.instance,
        readCheckpointKey(options.checkpointKey),
        before.heads,
      )
      if (word.kind === 'accepted') commit({ ...before, ...witnessNow(before, word.witness) })
      if (word.kind !== 'mismatch') return word.kind
      commit({ ...before, mismatchSinceMs: before.mismatchSinceMs ?? before.lineMs })
      keepEvidence(`${word.reason}\n${JSON.stringify(last)}\n`)
      return word.kind
    },
    acceptHead(head) {
      if (shown === null || shown.head !== head) return false
      // The next checkpoints are a new beginning; their signatures still count.
      commit({ ...advanced(), witness: null, heads: [], buffered: null, mismatchSinceMs: null })
      return true
    },
    status: () =>
      statusOf(
        advanced(),
        {
          rounds: finished?.rounds ?? 0,
          roundAgeMs: roundAgeMs(),
          hub,
          engine,
          memory,
          stopping: parts.acts.progress(),
        },
        config,
      ),
    roundAgeMs,
  }
}
