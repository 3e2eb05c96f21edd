/**
 * Whether the rules can be asked (T20, T21). Owner of `policy_unavailable`; never a reason to allow.
 *
 * P1. A reload that was refused leaves the last good rules in force and stops new work until one succeeds.
 * P2. A question without an exact answer is a no for that caller alone. Only when a question that always has an answer has none either are
 *     the rules themselves broken: an agent that finds an input they trip over must not be able to stop the hub.
 */
import { toHubError } from '../../base/errors.ts'
import type { Modes } from '../modes.ts'
import type { Policy } from '../policy/bundle.ts'

export interface PolicyHealth {
  /** Swaps the rules. Throws `policy_unavailable`, and raises it. */
  reload(): void
  /** The rules gave no exact answer to somebody. */
  faulted(reason: string): void
  /** Asks the known question, when there is cause to. */
  tick(): void
}

const KNOWN_QUESTION = JSON.stringify({
  operation: 'health.show',
  principal: { kind: 'operator', id: 'operator' },
  resource: {},
  mode: 'normal',
})

export function createPolicyHealth(parts: {
  policy: Pick<Policy, 'active' | 'reload'>
  modes: Pick<Modes, 'raise' | 'clear'>
}): PolicyHealth {
  const { policy, modes } = parts
  let stale: string | undefined
  let heard: string | undefined

  function tell(): void {
    const why = stale ?? heard
    if (why === undefined) modes.clear('policy_unavailable')
    else modes.raise('policy_unavailable', why)
  }
  return {
    reload() {
      try {
        policy.reload()
        stale = undefined
        tell()
      } catch (thrown) {
        stale = `the last reload was refused, the rules before it are in force: ${toHubError(thrown).message}`
        tell()
        throw thrown
      }
    },
    faulted(reason) {
      heard ??= reason
    },
    tick() {
      if (heard !== undefined && !policy.active().engine.evaluate(KNOWN_QUESTION).fault) heard = undefined
      tell()
    },
  }
}
