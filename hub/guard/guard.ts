/**
 * The guard ring: who may do what, and the proof of it. Built in the order in which the parts need each other; the gate is the last, and
 * the only way in.
 */
import { mkdirSync } from 'node:fs'
import type { Clock } from '../base/clock.ts'
import { HubError, toHubError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Redaction } from '../base/redaction.ts'
import type { Log } from '../base/telemetry.ts'
import { nextTurn } from '../base/turn.ts'
import type { TierLimits } from '../protocol/approval.ts'
import type { Profile } from '../protocol/flags.ts'
import type { Tracer } from '../protocol/traces.ts'
import type { Ballast } from '../store/ballast.ts'
import type { Store } from '../store/database.ts'
import { beginRun } from '../store/upgrade.ts'
import { createAlertDelivery, createAlerting } from './alerts/build.ts'
import type { AlertSettings } from './alerts/settings.ts'
import type { DiskFacts, DiskMarks } from './conditions/disk.ts'
import { createEvents } from './events.ts'
import { createForwarding } from './forward/build.ts'
import type { TargetSettings } from './forward/settings.ts'
import { createGate } from './gate.ts'
import { createHost, createTimes } from './host.ts'
import { createIdentities } from './identities.ts'
import type { HubKeys } from './identity/keys.ts'
import { createModes } from './modes.ts'
import { makeStopOrder, readStopOrder } from './operator/stop-order.ts'
import { createOperator } from './operator.ts'
import type { CommitOf, PolicyTerms } from './policy/bundle.ts'
import { createRecord } from './record.ts'
import { createRecordBudget } from './record-budget.ts'
import { createRefusals, tellRefused } from './refusals.ts'
import { createRules, recordRules } from './rules.ts'
import { isUnrecordable } from './unstored.ts'

const RECORDS_PER_HOUR = 150_000
const NO_ALERTS: AlertSettings = { zone: '' }

export interface GuardOptions {
  home: string
  instance: string
  keys: HubKeys
  bundleFolder: string
  /** Absent: every default, which is only the file. */
  alerts?: AlertSettings
  /** Where the audit log is sent as well. */
  forward?: readonly TargetSettings[]
  /** Own records of one session in the audit log; the shipped number without. */
  recordsPerHour?: number
  /** Marks of the home's disk; stated defaults without. */
  disk?: DiskMarks
  /** How strict this installation is; `standard` without. */
  profile?: Profile
  /** What is asked of the rules; as shipped without. */
  policy?: PolicyTerms
  /** How long what waits for a person may wait, by tier; stated defaults without. */
  waits?: TierLimits
}

export interface GuardOuter {
  clock: Clock
  random: Random
  log: Log
  /** Every text that is written down or shown goes through it. */
  redaction: Redaction
  store?: Store
  commitOf?: CommitOf
  statfs?: (path: string) => DiskFacts
  ballast?: Ballast
  /** Reads a secret of an alert channel when a message is sent; throws if there is none. */
  secretOf?: (name: string) => string
  /** Keeps spans; absent where nobody does. */
  tracer?: Tracer | undefined
}

export type Guard = ReturnType<typeof createGuard>

export function createGuard(options: GuardOptions, outer: GuardOuter) {
  const { home, instance, keys, bundleFolder } = options
  const { clock, random, log, redaction } = outer
  mkdirSync(home, { recursive: true, mode: 0o700 })
  makeStopOrder(home)
  const { store, meta, epoch } = beginRun({ home, store: outer.store }, { clock, log })
  const events = createEvents(instance, clock, {
    run: epoch,
    redaction,
    onFault: (thrown) =>
      log.error({ reason: toHubError(thrown).reason }, 'a listener of the event feed failed; it missed an event'),
  })
  const modes = createModes({ store, clock, hide: redaction.text })
  const times = createTimes({ clock, log, store, meta, modes, tracer: outer.tracer })
  const { steady, meters } = times
  const settings = options.alerts ?? NO_ALERTS
  const alerting = createAlerting(
    { settings },
    { store, modes, events, clock, steadyMs: steady.wallMs, meta, random, log, redaction, meters },
  )
  const { alerts, alertWatch } = alerting
  modes.onChange((mode, conditions) => {
    const names = conditions.map((condition) => condition.name)
    log[mode === 'normal' ? 'info' : 'warn']({ mode, conditions: names }, 'the mode changed')
    events.publish('hub.mode.changed.v1', 'hub', { mode, conditions: names })
    alertWatch.modeChanged()
    times.workClock.look()
  })
  const order = readStopOrder(home)
  if (order !== undefined) modes.raise('emergency_stop', order)
  // On the first fault, not a round later (S1-16, T79).
  store.onFailure(({ reason }) => modes.raise('store_failing', reason))

  const ruling = createRules(
    { home, instance, bundleFolder, terms: options.policy },
    { ...outer, store, meta, modes, alerts, meters },
  )
  const { decisions } = ruling
  const record = createRecord(
    { home, instance, keys },
    { clock, steady, random, log, store, meta, modes, alertWatch, decisions, redaction, meters },
  )
  const { audit } = record
  const alertDelivery = createAlertDelivery(
    { settings, home, instance },
    { alerting, modes, audit, clock, random, log, secretOf: outer.secretOf ?? noSecret },
  )
  const host = createHost(
    { home, marks: options.disk },
    { ...outer, times, store, modes, alerts, audit, rules: ruling.rules },
  )
  const identities = createIdentities({ home, instance }, { clock, times, random, log, store, meta })
  const operator = createOperator(
    { home, instance, watchdogKey: keys.watchdog, profile: options.profile ?? 'standard', waits: options.waits },
    { clock, times, random, log, store, meta, modes, alerts, events, redaction, ruling },
  )
  const refusals = createRefusals(clock.monotonicMs, meters.refusals)
  const gate = createGate({
    ...{ store, audit, modes, decisions, refusals, meters, tracer: outer.tracer },
    asks: operator.approvals,
    nonces: identities.nonces,
    look: times.pace.look,
    makeRoom: host.makeRoom,
    wishes: operator.wishes,
    budget: createRecordBudget(() => options.recordsPerHour ?? RECORDS_PER_HOUR, clock.monotonicMs),
    onSummed: ({ entry, count }) => log.warn({ principal: entry.principal, count, reason: entry.reason }, 'refused'),
    onRefused: (call, error) => tellRefused(call, error, { log, events }),
  })
  times.observations.recordBy(gate)
  const forwarder = createForwarding(
    { targets: options.forward ?? [], home },
    { ...record, ...{ meta, alerts, gate, clock, log, turn: nextTurn, secretOf: outer.secretOf ?? noSecret } },
  )

  const all = {
    ...{ store, meta, epoch, events, modes, gate, refusals, host, alertDelivery, forwarder, redaction, meters },
    ...{ ...alerting, ...ruling, ...record, ...identities, ...operator },
  }
  return {
    ...all,
    /** At the start: data that was changed while the hub was down is a record that names the difference. */
    recordRules: () => recordRules({ gate, log, policyChanges: ruling.policyChanges }),
    /** At the start, before any work is taken up: writes the stops that could not be written before. */
    writeStops() {
      try {
        gate.flush()
      } catch (thrown) {
        if (!isUnrecordable(toHubError(thrown))) throw thrown
        log.error({ reason: toHubError(thrown).reason }, 'earlier stops cannot be written yet')
      }
    },
    /** After a write fault that did not latch: writes the waiting records first, then clears the condition. */
    recoverStore: () => recoverStore(all),
    close() {
      try {
        operator.workClock.save(true)
        writeWhatWaits(all, log)
      } finally {
        operator.wishes.kept.close()
        store.close()
      }
    },
  }
}

function noSecret(name: string): string {
  throw new HubError('config_invalid', `there is no secret ${name}`)
}

function recoverStore({ store, modes, gate, host }: Pick<Guard, 'store' | 'modes' | 'gate' | 'host'>): void {
  const failure = store.failure()
  if (failure !== undefined) modes.raise('store_failing', failure.reason)
  if (!modes.has('store_failing') || failure?.latched) return
  try {
    gate.flush()
    host.steady.save()
    modes.clear('store_failing')
  } catch (thrown) {
    // Still full. The loop that asks has done its work anyway (S0-10).
    if (!isUnrecordable(toHubError(thrown))) throw thrown
  }
}

/** Writes what still waits, on a full disk with the ballast's room. No fault here keeps the process from ending. */
function writeWhatWaits(parts: Pick<Guard, 'store' | 'gate' | 'checkpoints' | 'host'>, log: Log): void {
  const { store, gate, checkpoints, host } = parts
  try {
    gate.sumRefusals(true)
    gate.sumAdmitted(true)
  } catch (thrown) {
    log.error({ reason: toHubError(thrown).reason }, 'the last counts of refusals could not be written')
  }
  for (let isLast = store.failure()?.latched === true; !isLast; ) {
    try {
      gate.flush()
      checkpoints.take()
      store.checkpoint()
      break
    } catch (thrown) {
      log.error({ reason: toHubError(thrown).reason }, 'the write-ahead log could not be emptied into the database')
      isLast = !host.ballast.release()
    }
  }
}
