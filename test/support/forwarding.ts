/** The forwarding of an audit home, as after a start of the hub, to receivers that a test plays. */
import { silentLog } from '../../hub/base/telemetry.ts'
import { nextTurn } from '../../hub/base/turn.ts'
import type { Batch, Sink } from '../../hub/guard/forward/batch.ts'
import { createForwarder } from '../../hub/guard/forward/forwarder.ts'
import { auditShape, type TargetSettings } from '../../hub/guard/forward/settings.ts'
import type { Call } from '../../hub/guard/gate.ts'
import { mintGrant } from '../../hub/guard/grant.ts'
import { principalText } from '../../hub/guard/principal.ts'
import { createMeta } from '../../hub/store/meta.ts'
import { type AuditHome, entry } from './audit-home.ts'

export const targetOf = (given: Record<string, unknown>): TargetSettings => {
  const [target] = auditShape.parse({ forward: [given] }).forward
  if (target === undefined) throw new Error('no target')
  return target
}
/** One whose sink the test plays. */
export const played = (name: string, more: Record<string, unknown> = {}) =>
  targetOf({ kind: 'file', path: 'logs/none', name, ...more })

/** As the gate does: the effect and its record in one transaction. */
const gateOf = ({ store, audit }: AuditHome) => ({
  admit<Result>({ principal, operation, resource }: Call, effect: (grant: ReturnType<typeof mintGrant>) => Result) {
    return store.transaction(() => {
      const grant = mintGrant({ principal, operation, resource, decisionId: 'd', narrow: {}, auditSeq: 0 })
      const result = effect(grant)
      const { auditEffect = '' } = (result ?? {}) as { auditEffect?: string }
      const said = { principal: principalText(principal), action: 'hub.observed', effect: auditEffect }
      audit.append({ ...entry(resource), ...said })
      return result
    })
  },
})

export function forwardingOf(
  log: AuditHome,
  targets: { settings: TargetSettings; sink: Sink }[],
  open = new Map<string, string>(),
) {
  const resolved: string[] = []
  const told: string[] = []
  const alerts = {
    raise(cause: string, _severity: string, text: string) {
      if (!open.has(cause)) told.push(text)
      open.set(cause, text)
    },
    resolve: (cause: string) => void (open.delete(cause) && resolved.push(cause)),
  }
  const { audit, checkpoints, clock, store } = log
  const forwarder = createForwarder(targets, {
    ...{ audit, checkpoints, alerts, clock, log: silentLog(), turn: nextTurn, meta: createMeta(store) },
    gate: gateOf(log),
  })
  return { ...forwarder, open, told, resolved }
}

/** Rounds, until this holds. */
export async function roundsUntil(
  log: AuditHome,
  forwarder: { round(): void },
  holds: () => boolean,
  stepMs = 0,
): Promise<void> {
  for (let tries = 0; !holds(); tries += 1) {
    if (tries > 5000) throw new Error('it never came to that')
    forwarder.round()
    if (stepMs > 0) await log.clock.advance(stepMs)
    await new Promise((resolve) => setImmediate(resolve))
  }
}
export const seqsOf = ({ entries }: Batch) => entries.map(({ record }) => record.seq)
export const upTo = (last: number) => Array.from({ length: last }, (_, at) => at + 1)
