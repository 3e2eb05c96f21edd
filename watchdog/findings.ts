/** The findings of a round: one per cause, with a level that rises as it grows worse, and the words a person reads. Pure. */
import type { Config } from './config.ts'
import type { Fault } from './containers.ts'
import type { Container } from './engine.ts'
import type { Facts, Memory } from './facts.ts'
import type { State } from './state.ts'

export interface Finding {
  /** The cause; alerts are raised and resolved by it. */
  readonly id: string
  /** 1 and up; a rise is told again, louder. */
  readonly level: number
  readonly severity: 'warning' | 'critical'
  readonly text: string
}

export interface Verdict {
  readonly container: Container
  readonly fault: Fault | 'unattended_stop' | 'emergency_stop'
  /** Rounds in which it was already acted on. */
  readonly actedRounds: number
}

const WALL_BACK_MS = 5_000
/** After so many rounds of acting in vain the alarm is a louder one (safety.md section 4, "Acting"). */
const ACTED_ROUNDS_MAX = 3
const NAMED_MAX = 8
/** One may be a moment of an upgrade. */
const UNREADABLE_ROUNDS_MAX = 3

const WORDS: Readonly<Record<Verdict['fault'], string>> = {
  ttl_passed: 'past their time to live',
  boot_mismatch: 'running with the deadline of another boot',
  deadline_unreadable: 'without a readable deadline',
  orphan: 'that belong to no live session',
  unattended_stop: 'left after the unattended stop',
  emergency_stop: 'left after everything was stopped',
}

/** One finding for all containers of one fault. */
function containerFinding(
  fault: Verdict['fault'],
  verdicts: readonly Verdict[],
  remains: Memory['remains'],
): Finding[] {
  // A stop is told by itself; only what it left behind is news.
  const isStop = fault === 'unattended_stop' || fault === 'emergency_stop'
  const own = verdicts.filter((one) => one.fault === fault && (!isStop || one.actedRounds > 0))
  if (own.length === 0) return []
  const stuck = own.filter((one) => one.actedRounds >= ACTED_ROUNDS_MAX)
  const names = own.slice(0, NAMED_MAX).map((one) => `${one.container.name} (${one.container.state})`)
  const more = own.length > NAMED_MAX ? ` and ${own.length - NAMED_MAX} more` : ''
  const base = `${own.length} containers ${WORDS[fault]}, being removed: ${names.join(', ')}${more}.`
  const id = isStop ? fault.replace('stop', 'remains') : fault
  if (stuck.length === 0) return [{ id, level: 1, severity: 'warning', text: base }]
  const left = stuck.map(({ container }) => remains[container.name] ?? 'unknown')
  const pids = left.flatMap((one) => (one === 'unknown' ? [] : one))
  // What has no process any more harms nobody, however long the engine shows it (fault A6).
  const isHarmless = pids.length === 0 && !left.includes('unknown')
  const runs = isHarmless
    ? ' Nothing of them runs any more.'
    : pids.length === 0
      ? ''
      : ` Still running: process ${pids.join(', ')}; end it with: sudo kill -9 ${pids.join(' ')}.`
  const ids = stuck.slice(0, NAMED_MAX).map((one) => one.container.id.slice(0, 12))
  const text = `${base} ${stuck.length} did not go away in ${ACTED_ROUNDS_MAX} rounds of removing.${runs} On the host run: docker rm -f ${ids.join(' ')}; if that is refused too, restart the engine`
  if (isHarmless) return [{ id, level: 1, severity: 'warning', text }]
  return [{ id, level: 2, severity: 'critical', text }]
}

export const containerFindings = (verdicts: readonly Verdict[], remains: Memory['remains']): Finding[] =>
  (Object.keys(WORDS) as Verdict['fault'][]).flatMap((fault) => containerFinding(fault, verdicts, remains))

/** Looks in a row that raise or end `engine_unavailable`: one that fails every second time changes nothing (fault A11). */
const LOOKS_TO_CHANGE = 2

/** Whether the engine counts as away. `isTold`: it did before; an open alert outlives a restart, which begins the counts anew. Pure. */
export const engineIsAway = (memory: Pick<Memory, 'engineMisses' | 'engineAnswers'>, isTold: boolean): boolean =>
  isTold ? memory.engineAnswers < LOOKS_TO_CHANGE : memory.engineMisses >= LOOKS_TO_CHANGE

/** Everything but presence and containers. `memory` already counts this round. */
export function plainFindings(state: State, memory: Memory, facts: Facts, config: Config): Finding[] {
  const { heard, now, ledger } = facts
  const found: Finding[] = []
  const warn = (id: string, text: string) => found.push({ id, level: 1, severity: 'warning', text })
  const alarm = (id: string, text: string) => found.push({ id, level: 1, severity: 'critical', text })
  // An open alert outlives a restart of this process, which begins its counts anew: only an answer ends it.
  const over = (misses: number, id: string) => misses >= config.missesMax || state.alerts[id] !== undefined
  // After the unattended stop there is silence: whether the hub runs is the operator's matter then.
  const isQuiet = state.announced !== null || state.presence.stoppedSinceMs !== null
  const hubGone = over(memory.misses, 'hub_health') && !isQuiet && heard.kind !== 'answer'
  if (hubGone) {
    warn(
      'hub_health',
      `The hub did not answer ${config.missesMax} leases in a row (${heard.reason}); it dispatches nothing. See its log, then: hub up`,
    )
  }
  if (heard.kind === 'forged') {
    alarm('hub_forged', `Something on the hub's socket answered a lease wrongly: ${heard.reason}. It was not believed.`)
  }
  if (heard.kind === 'unreadable') {
    const isLouder = memory.unreadable >= UNREADABLE_ROUNDS_MAX || state.alerts.hub_unreadable?.level === 2
    found.push({
      id: 'hub_unreadable',
      level: isLouder ? 2 : 1,
      severity: 'warning',
      text: `The hub's answer to a lease is not understood: ${heard.reason}. No lease counts, so it dispatches nothing. Are hub and watchdog of one version? Upgrade both, then restart the watchdog`,
    })
  }
  if (ledger.kind === 'damaged') {
    warn(
      'ledger',
      `ledger.json is damaged (${ledger.reason}). Without it no orphan is removed while the hub is away; deadlines still are.`,
    )
  } else if (ledger.kind === 'missing' && hubGone) {
    warn(
      'ledger',
      'ledger.json is missing and the hub is away: no orphan is removed, deadlines still are. Start the hub: hub up',
    )
  }
  if (engineIsAway(memory, state.alerts.engine_unavailable !== undefined)) {
    warn(
      'engine_unavailable',
      `The container engine did not list our containers ${LOOKS_TO_CHANGE} times in a row (${memory.engineReason || 'see the last alert'}); nothing can be removed. See: docker info`,
    )
  }
  if (facts.disagreement !== null) {
    alarm(
      'engine_unsupported',
      `Engine and hub share no API version (${facts.disagreement}): the hub can start and stop nothing, the watchdog stops without a version. Upgrade the hub, or let the engine accept an older one (DOCKER_MIN_API_VERSION). By hand: docker rm -f $(docker ps -aq --filter label=hub.instance=${state.instance})`,
    )
  }
  if (state.throughput !== null && state.lineMs - state.throughput.sinceMs >= config.throughputWindowMs) {
    warn(
      'throughput',
      `Tasks are waiting and none was started for ${Math.round(config.throughputWindowMs / 60_000)} min. See: hub status`,
    )
  }
  if (state.mismatchSinceMs !== null) {
    alarm(
      'witness_mismatch',
      'The audit log is not the one that was witnessed; evidence is kept in watchdog/evidence. Run: hub audit verify',
    )
  }
  if (state.auditLost > 0) {
    warn(
      'audit_lost',
      `${state.auditLost} audit records that waited for a store that could not be written were lost with the hub: what they told of was done, and the log does not say so. It ends with: hub heartbeat; then see logs/hub.log of that time`,
    )
  }
  if (heard.kind === 'answer' && facts.checkpointKey === null && heard.answer.checkpoints.length > 0) {
    warn(
      'witness_unproven',
      'keys/checkpoint.pub is missing or broken, so the audit log is not witnessed. Restore it from a backup.',
    )
  }
  if (now.wallMs < state.wallHighMs - WALL_BACK_MS) {
    warn(
      'clock_fault',
      'The wall clock went back. Spans are counted by boot time and did not change. Check time synchronisation.',
    )
  }
  if (state.lost) {
    warn(
      'state_lost',
      'The watchdog lost its memory and holds safe mode. It ends with: hub heartbeat; then run hub audit verify',
    )
  }
  for (const [id, text] of facts.own) warn(id, text)
  return found
}
