/** Builds the guard ring: who may do what, and the proof of it. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { toHubError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import { nextTurn } from '../base/turn.ts'
import { askWatchdog } from '../edge/watchdog-client.ts'
import type { AlertSettings } from '../guard/alerts/settings.ts'
import { createCheckpoints } from '../guard/audit/checkpoint.ts'
import { createDecisionMarks } from '../guard/audit/decision-marks.ts'
import { createAuditLog } from '../guard/audit/log.ts'
import { createSealing } from '../guard/audit/sealing.ts'
import { segmentBytes, segmentPath } from '../guard/audit/segment-file.ts'
import { createShownHeads } from '../guard/audit/shown-heads.ts'
import { createAuditVerifier } from '../guard/audit/verifier.ts'
import { checkStart } from '../guard/audit/walk.ts'
import { witnessIn } from '../guard/audit/witnessed.ts'
import type { DiskFacts, DiskMarks } from '../guard/conditions/disk.ts'
import { createEvents } from '../guard/events.ts'
import { createGate } from '../guard/gate.ts'
import { createCredentials } from '../guard/identity/credentials.ts'
import { createDenyList } from '../guard/identity/deny-list.ts'
import { createKeyRing } from '../guard/identity/key-ring.ts'
import type { HubKeys } from '../guard/identity/keys.ts'
import { createNonces } from '../guard/identity/nonces.ts'
import { createTokens } from '../guard/identity/tokens.ts'
import { createModes } from '../guard/modes.ts'
import { createApprovals } from '../guard/operator/approvals.ts'
import { createContact } from '../guard/operator/contact.ts'
import { createLease } from '../guard/operator/lease.ts'
import { makeStopOrder, readStopOrder } from '../guard/operator/stop-order.ts'
import { createStopWishes } from '../guard/operator/stop-wishes.ts'
import { createPolicy } from '../guard/policy/bundle.ts'
import { createPolicyChanges } from '../guard/policy/changes.ts'
import { createDecisions, newestBundleVersion } from '../guard/policy/decisions.ts'
import { hubPrincipal, principalText } from '../guard/principal.ts'
import { createRecordBudget } from '../guard/record-budget.ts'
import { createRefusals } from '../guard/refusals.ts'
import { isUnrecordable } from '../guard/unstored.ts'
import { OPERATIONS } from '../protocol/operations.ts'
import type { Ballast } from '../store/ballast.ts'
import { openStore, type Store } from '../store/database.ts'
import { createMeta } from '../store/meta.ts'
import { createAlerting } from './alerting.ts'
import { createFooting } from './footing.ts'
import { upgradeAtOnce } from './upgrade.ts'

const LOOKED_AT = 'audit_looked_at'
const NONCE_ROWS_MAX = 200_000
const RECORDS_PER_HOUR = 150_000
const NO_ALERTS: AlertSettings = { zone: '' }

export interface GuardOptions {
  home: string
  instance: string
  keys: HubKeys
  bundleFolder: string
  /** Absent: every default, which is the file alone. */
  alerts?: AlertSettings
  /** Own records of one session in the audit log; the shipped number without. */
  recordsPerHour?: number
  /** Marks of the home's disk; stated defaults without. */
  disk?: DiskMarks
}

export interface GuardOuter {
  clock: Clock
  random: Random
  log: Log
  store?: Store
  commitOf?: (path: string) => string | undefined
  statfs?: (path: string) => DiskFacts
  ballast?: Ballast
}

export type Guard = ReturnType<typeof createGuard>

export function createGuard(options: GuardOptions, outer: GuardOuter) {
  const { home, instance, keys } = options
  const { clock, random, log, commitOf } = outer
  mkdirSync(home, { recursive: true, mode: 0o700 })
  makeStopOrder(home)
  const store = outer.store ?? openStore(join(home, 'hub.db'))
  const applied = upgradeAtOnce(store, home, clock.wallMs())
  if (applied.length > 0) log.info({ applied }, 'the database schema was brought up to date')

  const meta = createMeta(store)
  const epoch = Number(meta.get('epoch') ?? 0) + 1
  meta.set('epoch', String(epoch))
  const events = createEvents(instance, clock, {
    run: epoch,
    onFault: (thrown) =>
      log.error({ reason: toHubError(thrown).reason }, 'a listener of the event feed failed; it missed an event'),
  })
  /** Hears of the mode once it is there; what stood before it is seen by its first look. */
  let alerting: ReturnType<typeof createAlerting> | undefined
  const modes = createModes({
    store,
    clock,
    onChange: (mode, conditions) => {
      const names = conditions.map((condition) => condition.name)
      log[mode === 'normal' ? 'info' : 'warn']({ mode, conditions: names }, 'the mode changed')
      events.publish('hub.mode.changed.v1', 'hub', { mode, conditions: names })
      alerting?.watch.modeChanged()
    },
  })
  const order = readStopOrder(home)
  if (order !== undefined) modes.raise('emergency_stop', order)
  // Of the steady clock once it is there: it raises a condition, and that may be an alert.
  let steadyMs: () => number = clock.wallMs
  alerting = createAlerting(
    { settings: options.alerts ?? NO_ALERTS },
    { store, modes, events, clock, steadyMs: () => steadyMs(), meta, random, log },
  )
  // On the first fault, not a round later (S1-16, T79).
  store.onFailure(({ reason }) => modes.raise('store_failing', reason))
  const audit = createAuditLog({ store, clock, home })
  const checkpoints = createCheckpoints({
    store,
    audit,
    clock,
    instance,
    privateKey: keys.checkpoint.privateKey,
    publicKey: keys.checkpoint.publicKey,
  })
  const footing = createFooting(
    { home, marks: options.disk },
    {
      ...{ clock, random, log, store, meta, modes, alerts: alerting.alerts, audit },
      gate: () => gate,
      policy: () => policy,
      resumed: () => lease.slept(),
      ...(outer.statfs === undefined ? {} : { statfs: outer.statfs }),
      ...(outer.ballast === undefined ? {} : { ballast: outer.ballast }),
    },
  )
  const { steady, rules, watch } = footing
  steadyMs = steady.wallMs
  const nonces = createNonces({ rowsMax: NONCE_ROWS_MAX }, { store, meta, clock })
  const policy = createPolicy(
    {
      bundleDir: options.bundleFolder,
      dataPath: join(home, 'policy', 'data.json'),
      versionMin: newestBundleVersion(store),
    },
    {
      clock,
      ...(commitOf === undefined ? {} : { commitOf }),
      onUnloaded(error) {
        log.error({ reason: error.reason }, 'no rules could be loaded; the hub answers reads and starts nothing')
        rules.unloaded(error.message)
      },
      onFault(reason) {
        log.error({ reason }, 'the rules gave no exact answer; it counts as a denial')
        rules.faulted(reason)
      },
    },
  )
  const policyChanges = createPolicyChanges({ policy, meta })
  const decisions = createDecisions({ labels: { instance } }, { policy, database: store, clock, random })
  const wishes = createStopWishes({ home, doneUpTo: Number(meta.get('stop_wishes_done') ?? 0) })
  const refusals = createRefusals(clock.monotonicMs)
  const gate = createGate({
    store,
    audit,
    modes,
    decisions,
    nonces,
    look: watch.pace.look,
    makeRoom: footing.makeRoom,
    wishes: {
      kept: wishes,
      nowMs: clock.wallMs,
      done: (serial) => meta.set('stop_wishes_done', String(serial)),
    },
    refusals,
    budget: createRecordBudget(options.recordsPerHour ?? RECORDS_PER_HOUR, clock.monotonicMs),
    onSummed: ({ entry, count }) => log.warn({ principal: entry.principal, count, reason: entry.reason }, 'refused'),
    onRefused: (call, error) => {
      const principal = principalText(call.principal)
      log.warn(
        {
          principal,
          action: OPERATIONS[call.operation].audit,
          resource: call.resource,
          code: error.code,
          reason: error.reason,
        },
        'refused',
      )
      if (call.principal.kind === 'agent') {
        events.publish('hub.message.refused.v1', `session:${call.principal.session}`, {
          operation: call.operation,
          resource: call.resource,
          code: error.code,
          detail: error.message,
        })
      }
    },
  })
  const marks = createDecisionMarks({ store, audit, forgetMemory: decisions.forget })
  const { watch: alertWatch } = alerting
  const onUnsealed = alertWatch.sealingJudged
  const sealing = createSealing({ home, audit, checkpoints, marks, clock, log, turn: nextTurn, onUnsealed })
  const verifier = createAuditVerifier({
    walk: { home, audit, checkpoints },
    turn: nextTurn,
    clock,
    onVerdict: alertWatch.chainJudged,
    askWitness: () =>
      askWatchdog(join(home, 'watchdog', 'run', 'watchdog.sock'), '/v1/status', undefined, 'GET').then(
        witnessIn,
        (thrown) => ({ kind: 'away', reason: toHubError(thrown).message }),
      ),
    onMismatch: (reason) => modes.raise('witness_mismatch', reason),
    onLooked() {
      try {
        meta.set(LOOKED_AT, String(steady.wallMs()))
      } catch (thrown) {
        if (toHubError(thrown).code !== 'store_unavailable') throw thrown
      }
    },
  })
  const keyRing = createKeyRing(
    { folder: join(home, 'keys') },
    { store, meta, clock: steady, onDropped: (what) => log.warn({ what }, 'a key rotation was cut short') },
  )
  const denyList = createDenyList({ store, clock })
  const credentials = createCredentials({ store, nowMs: steady.wallMs, random })
  const tokens = createTokens({
    instance,
    keys: keyRing,
    clock: steady,
    heldBackMs: watch.pace.heldBackMs,
    random,
    denied: denyList.has,
  })
  const approvals = createApprovals({ store, clock, random, alerts: alerting.alerts })
  const contact = createContact({ store, clock: steady, random })
  const lease = createLease({ key: keys.watchdog, instance, modes, meta, clock, look: watch.pace.look })

  /** What still waits is written, on a full disk from the ballast; nothing keeps the process from ending. */
  function finish(): void {
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
        log.error({ reason: toHubError(thrown).reason }, 'the database could not be brought to an end')
        isLast = !footing.ballast.release()
      }
    }
  }

  return {
    store,
    meta,
    epoch,
    events,
    modes,
    alerts: alerting.alerts,
    alertRows: alerting.rows,
    outbox: alerting.outbox,
    alertWatch,
    audit,
    sealing,
    marks,
    verifier,
    shownHeads: createShownHeads(),
    /** When the whole audit log was looked through last; undefined before the first. */
    lookedAtMs: () => Number(meta.get(LOOKED_AT) ?? Number.NaN) || undefined,
    /** What has to hold before anything else begins; what is not whole makes the hub safe, and it starts. */
    checkStart() {
      const bytesOf = (name: string) => segmentBytes(segmentPath(home, name))
      const pick = (below: number) => random.bytes(6).readUIntBE(0, 6) % below
      const fault = checkStart({ audit, checkpoints, bytesOf, pick })
      if (fault !== null) alertWatch.chainJudged(fault)
    },
    checkpoints,
    nonces,
    keyRing,
    denyList,
    credentials,
    policy,
    policyChanges,
    /** At the start: data that was changed while the hub was down is a record that names the difference. */
    recordRules() {
      const difference = policyChanges.sinceRecorded()
      try {
        if (difference === undefined) policyChanges.record()
        else
          gate.admit({ principal: hubPrincipal('policy'), operation: 'hub.observe', resource: 'policy:data' }, () => {
            policyChanges.record()
            return { auditEffect: difference }
          })
      } catch (thrown) {
        log.error({ reason: toHubError(thrown).reason }, 'a change of policy/data.json could not be recorded')
      }
    },
    decisions,
    gate,
    refusals,
    tokens,
    lease,
    approvals,
    contact,
    footing,
    /** At the start, before anything is taken up: what was stopped while the store could not be written is written. */
    writeStops() {
      try {
        gate.flush()
      } catch (thrown) {
        if (!isUnrecordable(toHubError(thrown))) throw thrown
        log.error({ reason: toHubError(thrown).reason }, 'what was stopped cannot be written yet')
      }
    },
    /** After a write fault that did not latch: writes the waiting records first, then clears the condition. */
    recoverStore() {
      const failure = store.failure()
      if (failure !== undefined) modes.raise('store_failing', failure.reason)
      if (!modes.has('store_failing') || failure?.latched) return
      try {
        gate.flush()
        steady.save()
        modes.clear('store_failing')
      } catch (thrown) {
        // Still full. The loop that asks has done its work all the same (S0-10).
        if (!isUnrecordable(toHubError(thrown))) throw thrown
      }
    },
    close() {
      try {
        finish()
      } finally {
        wishes.close()
        store.close()
      }
    },
  }
}
