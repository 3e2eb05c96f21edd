/**
 * Whether sessions may be started on this engine under the configured runtime (docs/sandbox.md 2; faults A5, A8, A9).
 *
 * N1. At start, and after each change of the engine, a canary session goes the whole way of a session. Nothing is dispatched until it has
 *     passed. What it finds becomes a condition (`engine_unfit`), an alert, and rows of the doctor. Sessions that run are kept.
 * N2. A runtime other than `runc` is refused by name until a canary has passed under it. Nothing falls back silently.
 * N3. The record of every provision holds the runtime's name and version, as the engine tells them.
 * N4. An engine that does not answer is no finding: dispatch waits until it answers.
 */
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Alerts } from '../../guard/alerts/alerts.ts'
import { type Modes, permits } from '../../guard/modes.ts'
import { fitnessText } from '../sandbox/fitness.ts'
import type { Runtime } from '../sandbox/profile.ts'
import type { Canary, CanaryReport } from './canary.ts'

export type CanaryState = 'waiting' | 'passed' | 'failed'

export interface RuntimeGate {
  /** Why no session may be asked for under the configured runtime, or undefined. */
  fault(): string | undefined
  /** Why queued tasks must wait, or undefined. */
  hold(): string | undefined
  /** For the record: `runc 1.1.5`. */
  text(): string
  /** The engine may be another one now, or may have a new configuration. */
  engineChanged(): void
  /** The engine made a container otherwise than it was told, and no canary saw that. Another canary must pass first. */
  doubt(): void
  /** Asks a changed engine, and begins a canary if one is due. Called before every round of the dispatcher. */
  round(): void
  /** Runs a canary now, if the mode permits it and none ran a moment ago. Answers what is known then. For the doctor. */
  prove(): Promise<{ state: CanaryState; report: CanaryReport | undefined }>
  view(): { state: CanaryState; tookMs: number | null; atMs: number | null; findings: string[] }
  /** Whether the engine is being asked or tried now: a container may be about to be made. */
  isLooking(): boolean
  /** Resolves when nothing is being looked at. */
  settled(): Promise<void>
}

/** After a canary that failed, or could not be run. */
const RETRY_MS = 60_000
/** After an engine that did not answer. */
const ASK_AGAIN_MS = 1000
/** If only the event stream broke, the engine is tried no more often than this. */
const RECENT_MS = 30_000
/** A result that is younger than this is reported again instead of trying again. */
const FRESH_MS = 5_000
const CAUSE = 'engine_unfit'
const REFUSED_FIX =
  'let the hub ask GET /version and GET /info (hub/work/sandbox/engine-filter.ts lists all it asks), then hub doctor'

export function createRuntimeGate(
  { runtime }: { runtime: Runtime },
  parts: {
    clock: Clock
    log: Log
    modes: Modes
    alerts: Pick<Alerts, 'raise' | 'resolve' | 'isOpen'>
    canary: Canary
    /** Called when queued tasks may start. */
    wake: () => void
  },
): RuntimeGate {
  const { clock, log, modes, alerts, canary, wake } = parts
  let version = ''
  let report: CanaryReport | undefined
  let passedAt = Number.NEGATIVE_INFINITY
  let triedAt = Number.NEGATIVE_INFINITY
  /** Nothing is dispatched until the engine was asked and, if one is due, a canary has passed. */
  let holding = true
  let asked = false
  let due = true
  let notBefore = Number.NEGATIVE_INFINITY
  let looking: Promise<void> | undefined
  let unproven: string | undefined = runtime === 'runc' ? undefined : 'no container has joined under it yet'

  const isPassed = () => report !== undefined && !report.findings.some(({ blocks }) => blocks)

  /** The engine's answer decides whether it is another one. If so, a canary must pass before anything else. */
  async function ask(): Promise<void> {
    asked = true
    const { engine, components, refused } = await canary.ask()
    version = components[runtime] ?? ''
    if (refused.length > 0) {
      report = { findings: refused, tookMs: 0, atMs: clock.wallMs(), engine }
      failed(fitnessText(refused))
      return
    }
    const isKnown = report !== undefined && report.engine === engine
    if (isKnown && isPassed() && clock.monotonicMs() - passedAt < RECENT_MS) {
      // The same engine, proven a moment ago: it is tried again in due time, and nothing waits for that.
      holding = false
      unproven = undefined
      notBefore = passedAt + RECENT_MS
      wake()
    }
  }

  async function run(): Promise<void> {
    const made = await canary.run()
    due = false
    triedAt = clock.monotonicMs()
    report = made
    const blocking = made.findings.filter(({ blocks }) => blocks)
    if (blocking.length === 0) passed(made)
    else failed(fitnessText(blocking))
    const noted = made.findings.filter(({ blocks }) => !blocks)
    for (const { id, words } of noted) log.warn({ finding: id, reason: words }, 'the canary session found this')
  }

  function passed({ tookMs }: CanaryReport): void {
    unproven = undefined
    holding = false
    passedAt = clock.monotonicMs()
    modes.clear('engine_unfit')
    if (alerts.isOpen(CAUSE)) alerts.resolve(CAUSE)
    log.info({ runtime, version, tookMs }, 'the canary session passed')
    wake()
  }

  function failed(why: string): void {
    holding = true
    due = true
    notBefore = clock.monotonicMs() + RETRY_MS
    log.error({ runtime, reason: why }, 'the canary session failed; no agent can start')
    if (runtime === 'runc') {
      // A condition keeps its first reason, but the reason may be another by now.
      if (modes.active().some(({ name, reason }) => name === 'engine_unfit' && reason !== why))
        modes.clear('engine_unfit')
      modes.raise('engine_unfit', why)
    } else unproven = why
    alerts.raise(CAUSE, 'warning', `No agent can be started on this engine: ${why}`)
  }

  const mayRun = (now: boolean): boolean =>
    due &&
    (now || clock.monotonicMs() >= notBefore) &&
    canary.hasImage() &&
    permits(modes.without('engine_unfit'), 'new_work')

  async function look(now: boolean): Promise<void> {
    try {
      if (!asked) await ask()
      if (mayRun(now)) await run()
    } catch (thrown) {
      const { code, message, reason } = toHubError(thrown)
      // It answers and refuses a question before any canary: a proxy in front of it, or another program.
      if (code === 'engine_refused') return failed(`${message}. To fix it: ${REFUSED_FIX}`)
      // Engine away, another mode by now, a store that fails: each has a condition of its own, and dispatch waits.
      const isAway = code === 'engine_unavailable'
      asked = !isAway
      notBefore = clock.monotonicMs() + (isAway ? ASK_AGAIN_MS : RETRY_MS)
      log.warn({ code, reason }, 'the engine could not be tried')
    }
  }

  function begin(now: boolean): Promise<void> {
    looking ??= look(now).finally(() => {
      looking = undefined
    })
    return looking
  }

  function engineChanged(): void {
    holding = true
    asked = false
    due = true
    notBefore = Number.NEGATIVE_INFINITY
    if (runtime !== 'runc') unproven = 'the engine changed; no container has joined under it since'
  }

  const stateOf = (): CanaryState => {
    if (report === undefined || (due && holding && isPassed())) return 'waiting'
    return isPassed() ? 'passed' : 'failed'
  }

  return {
    fault: () =>
      unproven === undefined
        ? undefined
        : `engine.runtime ${runtime} is not enabled: ${unproven}. Fix it (runsc needs --host-uds=open), or set engine.runtime: runc`,
    hold: () => (holding ? 'no canary session has passed on this engine yet' : undefined),
    text: () => `${runtime} ${version === '' ? 'of an unknown version' : version}`,
    engineChanged,
    doubt() {
      passedAt = Number.NEGATIVE_INFINITY
      engineChanged()
    },
    round() {
      if (looking !== undefined) return
      if (clock.monotonicMs() >= notBefore && (!asked || mayRun(false))) void begin(false)
    },
    async prove() {
      await looking
      if (clock.monotonicMs() - triedAt > FRESH_MS) {
        due = true
        await begin(true)
      }
      return { state: stateOf(), report }
    },
    view: () => ({
      state: stateOf(),
      tookMs: report?.tookMs ?? null,
      atMs: report?.atMs ?? null,
      findings: (report?.findings ?? []).map(({ id }) => id),
    }),
    isLooking: () => looking !== undefined,
    settled: async () => looking,
  }
}
