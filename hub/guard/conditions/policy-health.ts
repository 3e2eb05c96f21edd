/**
 * Whether the rules can be asked (T20, T21). Owner of `policy_unavailable` and of the alerts `policy_refused` and `policy_built_in`; never a
 * reason to allow.
 *
 * P1. If the operator's part is refused, nothing changes: the rules accepted before stay in force, work goes on, and an alert says where the
 *     fault is until a reload succeeds (fault C12). So it is at a reload and at a start (S1-16). A shipped bundle that cannot be loaded again
 *     stops new work, and with `policy.failClosed: false` raises the same alert instead.
 * P2. A question without an exact answer is a denial for that caller only. The rules count as broken only if a question that always has an
 *     answer gets none either: an agent that finds an input they fail on must not be able to stop the hub.
 * P3. Without any rules the hub answers reads and starts nothing until a reload succeeds. With `policy.failClosed: false` the built-in rules
 *     decide, and an alert says so (S1-60).
 */
import { type HubError, toHubError } from '../../base/errors.ts'
import type { Alerts } from '../alerts/alerts.ts'
import type { Modes } from '../modes.ts'
import type { Policy } from '../policy/bundle.ts'

export interface PolicyHealth {
  /** Swaps the rules. Throws `policy_unavailable`, and says so by alert or condition. */
  reload(): void
  /** What was found at the start was refused, for this reason. */
  unloaded(why: HubError): void
  /** The rules gave no exact answer to somebody. */
  faulted(reason: string): void
  /** Why the files are not in force, while rules before them are. */
  refused(): string | undefined
  /** Asks the known question, when there is cause to. */
  tick(): void
}

const REFUSED = 'policy_refused'
const BUILT_IN = 'policy_built_in'
const KNOWN_QUESTION = JSON.stringify({
  operation: 'health.show',
  principal: { kind: 'operator', id: 'operator' },
  resource: {},
  mode: 'normal',
})

export function createPolicyHealth(
  { failClosed }: { failClosed: boolean },
  parts: {
    policy: Pick<Policy, 'active' | 'reload'>
    modes: Pick<Modes, 'raise' | 'clear'>
    alerts: Pick<Alerts, 'raise' | 'resolve'>
  },
): PolicyHealth {
  const { policy, modes, alerts } = parts
  /** No rules at all, or shipped ones that cannot be loaded again. */
  let broken: string | undefined
  let refused: string | undefined
  let heard: string | undefined

  function tell(): void {
    const why = broken ?? heard
    if (why === undefined) modes.clear('policy_unavailable')
    else modes.raise('policy_unavailable', why)
  }
  function refuse(what: string, why: string): void {
    if (refused !== undefined && refused !== why) alerts.resolve(REFUSED, 'The files were changed again.')
    refused = why
    alerts.raise(REFUSED, 'warning', `${what}: ${why}. The earlier rules stay in force.`)
  }
  function failed(error: HubError): void {
    const { from } = policy.active()
    if (from === 'none') broken = `no rules are in force: ${error.message}`
    else if (from === 'built-in')
      alerts.raise(
        BUILT_IN,
        'warning',
        `no rules are in force, and the built-in ones let only your own tasks start (policy.failClosed is false): ${error.message}`,
      )
    else if (error.facts.broken === 'data') refuse("the operator's rules were not accepted", error.message)
    else if (failClosed)
      broken = `the shipped rules cannot be loaded again, and nothing new starts by the earlier ones: ${error.message}`
    else refuse('the shipped rules cannot be loaded again', error.message)
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
      broken = refused = undefined
      alerts.resolve(REFUSED, 'The rules were read again and are in force.')
      alerts.resolve(BUILT_IN, 'The rules were read and are in force.')
      tell()
    },
    unloaded: failed,
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
