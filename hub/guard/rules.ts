/** Builds everything about the rules: the bundle, its health, changes of its data, and the decisions. */
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { toHubError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Redaction } from '../base/redaction.ts'
import type { Log } from '../base/telemetry.ts'
import type { Store } from '../store/database.ts'
import type { Meta } from '../store/meta.ts'
import type { Alerts } from './alerts/alerts.ts'
import { createPolicyHealth } from './conditions/policy-health.ts'
import type { Gate } from './gate.ts'
import type { GuardMeters } from './meters.ts'
import type { Modes } from './modes.ts'
import { createAccepted } from './policy/accepted.ts'
import { type CommitOf, createPolicy, type PolicyTerms, SHIPPED_TERMS } from './policy/bundle.ts'
import { createPolicyChanges, type PolicyChanges } from './policy/data-difference.ts'
import { createDecisionReader, createDecisions, newestBundleVersion } from './policy/decisions.ts'
import { hubPrincipal } from './principal.ts'

export interface RulesParts {
  clock: Clock
  random: Random
  log: Log
  store: Store
  meta: Meta
  modes: Modes
  alerts: Alerts
  redaction: Redaction
  meters: Pick<GuardMeters, 'ruleSeconds'>
  commitOf?: CommitOf
}

/** Loads at once; a hub without rules starts anyway, and says so (S1-16). */
export function createRules(
  options: { home: string; instance: string; bundleFolder: string; terms?: PolicyTerms | undefined },
  parts: RulesParts,
) {
  const { home, instance, bundleFolder, terms = SHIPPED_TERMS } = options
  const { clock, random, log, store, meta, modes, alerts, commitOf } = parts
  const policy = createPolicy(
    {
      bundleDir: bundleFolder,
      dataPath: join(home, 'policy', 'data.json'),
      versionMin: newestBundleVersion(store),
      goesWithoutRules: true,
      terms,
    },
    {
      ...{ clock, accepted: createAccepted({ database: store }), onRollback: store.onRollback },
      ...(commitOf === undefined ? {} : { commitOf }),
    },
  )
  const rules = createPolicyHealth({ failClosed: terms.failClosed }, { policy, modes, alerts })
  policy.onFault((reason) => {
    log.error({ reason }, 'the rules gave no exact answer; it counts as a denial')
    rules.faulted(reason)
  })
  const unloaded = policy.unloaded()
  if (unloaded !== undefined) {
    const { from } = policy.active()
    log.error({ reason: unloaded.reason, from }, 'the rules were refused at the start')
    rules.unloaded(unloaded)
  }
  return {
    policy,
    rules,
    policyChanges: createPolicyChanges({ policy, meta }),
    decisionReader: createDecisionReader(store),
    decisions: createDecisions(
      { labels: { instance } },
      {
        ...{ policy, database: store, clock, random },
        hide: parts.redaction.text,
        spread: parts.meters.ruleSeconds,
      },
    ),
  }
}

/** At the start: if data was changed while the hub was down, writes a record that names the difference. Throws nothing. */
export function recordRules(parts: { gate: Gate; policyChanges: PolicyChanges; log: Log }): void {
  const { gate, policyChanges, log } = parts
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
}
