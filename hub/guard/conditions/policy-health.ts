/**
 * Whether the rules can be asked (T20, T21). Owner of `policy_unavailable` and of the alert `policy_refused`; never a reason to allow.
 *
 * P1. If the operator's data is refused at a reload, nothing changes: the earlier rules stay in force, work goes on, and an alert says where
 *     the fault is until a reload succeeds (fault C12). A shipped bundle that cannot be loaded again stops new work.
 * P2. A question without an exact answer is a denial for that caller only. The rules count as broken only if a question that always has an
 *     answer gets none either: an agent that finds an input they fail on must not be able to stop the hub.
 * P3. Without any rules at the start the hub answers reads and starts nothing until a reload succeeds (S1-16).
 */
import { type HubError, toHubError } from '../../base/errors.ts'
import type { Alerts } from '../alerts/alerts.ts'
import type { Modes } from '../modes.ts'
import type { Policy } from '../policy/bundle.ts'

export interface PolicyHealth {
  /** Swaps the rules. Throws `policy_unavailable`, and says so by alert or condition. */
  reload(): void
  /** Nothing could be loaded at the start. */
  unloaded(why: string): void
  /** The rules gave no exact answer to somebody. */
  faulted(reason: string): void
  /** Why the last reload was refused, while the rules before it are in force. */
  refused(): string | undefined
  /** Asks the known question, when there is cause to. */
  tick(): void
}

const REFUSED = 'policy_refused'
const KNOWN_QUESTION = JSON.stringify({
  operation: 'health.show',
  principal: { kind: 'operator', id: 'operator' },
  resource: {},
  mode: 'normal',
})

export function createPolicyHealth(parts: {
  policy: Pick<Policy, 'active' | 'reload'>
  modes: Pick<Modes, 'raise' | 'clear'>
  alerts: Pick<Alerts, 'raise' | 'resolve'>
}): PolicyHealth {
  const { policy, modes, alerts } = parts
  /** No rules at all, or shipped ones that cannot be loaded again. */
  let broken: string | undefined
  let isUnloaded = false
  let refused: string | undefined
  let heard: string | undefined

  function tell(): void {
    const why = broken ?? heard
    if (why === undefined) modes.clear('policy_unavailable')
    else modes.raise('policy_unavailable', why)
  }
  function failed(error: HubError): void {
    if (isUnloaded) broken = `no rules are in force: ${error.message}`
    else if (error.facts.broken === 'data') {
      if (refused !== undefined && refused !== error.message) alerts.resolve(REFUSED, 'The file was changed again.')
      refused = error.message
      alerts.raise(
        REFUSED,
        'warning',
        `policy/data.json was not accepted: ${error.message}. The earlier rules stay in force.`,
      )
    } else
      broken = `the shipped rules cannot be loaded again, and nothing new starts by the earlier ones: ${error.message}`
    tell()
  }
  return {
    reload() {
      try {
        policy.reload()
      } catch (thrown) {
        failed(toHubError(thrown))
        throw thrown
      }
      isUnloaded = false
      broken = refused = undefined
      alerts.resolve(REFUSED, 'The rules were read again and are in force.')
      tell()
    },
    unloaded(why) {
      isUnloaded = true
      broken = `no rules are in force: ${why}`
      tell()
    },
    faulted(reason) {
      heard ??= reason
    },
    refused: () => refused,
    tick() {
      if (heard !== undefined && !policy.active().engine.evaluate(KNOWN_QUESTION).fault) heard = undefined
      tell()
    },
  }
}
