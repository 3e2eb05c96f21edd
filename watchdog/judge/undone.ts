/**
 * A finding whose action does not happen in time is itself an alarm (X5; docs/safety.md 4). One table:
 * what is wanted, whether it was seen done, and the alarm if it was not, for some rounds in a row. What is removed container by
 * container is counted for each container (findings.ts), with the same number of rounds. Pure.
 */
import { conditionsOf } from './conditions.ts'
import type { Facts } from './facts.ts'
import type { Finding } from './findings.ts'
import type { State } from './state.ts'

interface ActionRow {
  /** The findings or conditions that want it. */
  readonly of: string
  /** Whether it is wanted and was not done, as far as this round saw; null: this round could not tell, and the count stays. */
  readonly undone: (state: State, facts: Facts) => boolean | null
  readonly alarm: (state: State, facts: Facts) => string
  readonly severity: Finding['severity']
}

/** Rounds in a row without the action. */
const UNDONE_ROUNDS_MAX = 3

const STOPS = new Set(['unattended_stop', 'emergency_stop'])
const OBEYS = new Set(['safe', 'draining'])

export const ACTIONS = {
  safe_not_obeyed: {
    of: 'every condition that demands safe mode (conditions.ts)',
    undone(state, { heard }) {
      if (conditionsOf(state).length === 0) return false
      // Without an answer no lease counts, and the hub goes safe by itself; that is hub_health.
      return heard.kind === 'answer' ? !OBEYS.has(heard.answer.mode) : null
    },
    alarm: (state, { heard }) =>
      `The hub was told to go into safe mode (${conditionsOf(state).join(', ')}), but says that its mode is ${heard.kind === 'answer' ? heard.answer.mode : 'away'}. Stop it: hub shutdown`,
    severity: 'critical',
  },
  stop_unconfirmed: {
    of: 'unattended_stop, emergency_stop',
    // Listed containers are removed and counted one by one; this row is for when nobody can say what is left.
    undone: (state, { containers }) =>
      conditionsOf(state).some((one) => STOPS.has(one)) && containers.kind === 'failed',
    alarm: (_state, { containers }) =>
      `Everything should be stopped, but nothing confirms it: the container engine does not answer (${containers.kind === 'failed' ? containers.reason : ''}). On the host run: docker ps, or switch the machine off`,
    severity: 'critical',
  },
  lease_refused: {
    of: 'the lease of every round',
    undone: (_state, { heard }) => heard.kind === 'refused',
    alarm: (_state, { heard }) =>
      `The hub refuses its leases (${heard.kind === 'refused' ? heard.reason : ''}), so it starts no tasks. ${heard.kind === 'refused' && heard.isIll ? 'The hub has an internal error: run hub doctor, then hub restart' : 'Check that hub and watchdog use the same home and keys/watchdog.key, then run: hub restart'}`,
    severity: 'warning',
  },
} as const satisfies Record<string, ActionRow>

export type ActionName = keyof typeof ACTIONS
/** Rounds in a row without it. */
export type Undone = Readonly<Record<ActionName, number>>

export const NOTHING_UNDONE: Undone = { safe_not_obeyed: 0, stop_unconfirmed: 0, lease_refused: 0 }

/** The counts after this round, and the alarms of those past their deadline. */
export function judgeActions(known: Undone, state: State, facts: Facts): { undone: Undone; findings: Finding[] } {
  const names = Object.keys(ACTIONS) as ActionName[]
  const counted = names.map((name) => {
    const seen = ACTIONS[name].undone(state, facts)
    return [name, seen === null ? known[name] : seen ? known[name] + 1 : 0] as const
  })
  const undone = { ...NOTHING_UNDONE, ...Object.fromEntries(counted) }
  const findings = names
    // An open alarm outlives a restart, which starts the counts again: only the action ends it.
    .filter((name) => undone[name] >= UNDONE_ROUNDS_MAX || (undone[name] > 0 && state.alerts[name] !== undefined))
    .map((name): Finding => {
      const { severity, alarm } = ACTIONS[name]
      return { id: name, level: 1, severity, text: alarm(state, facts) }
    })
  return { undone, findings }
}
