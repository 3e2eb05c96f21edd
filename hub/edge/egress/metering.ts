/** Between the gateway and the account of money (docs/egress.md 4): what a judged request asks for, what it cost, and who hears of it. */
import { HubError } from '../../base/errors.ts'
import type { Alerts } from '../../guard/alerts/alerts.ts'
import { usdWritten } from '../../protocol/dollars.ts'
import { isRegional, type Upstream } from '../../protocol/egress/upstreams.ts'
import type { MeteredCall } from '../../work/egress/money/budget.ts'
import type { MeteredShape, UsageOutcome } from '../../work/egress/money/usage-reader.ts'
import type { Money } from '../../work/egress/money.ts'
import type { AgentCaller } from '../agents/requests.ts'
import type { Meter, Metered } from './ports.ts'

/** These alerts have no natural end: each is over if it has not happened again for so long. */
export const EGRESS_ALERT_LASTS_MS = 3_600_000
const METERED: ReadonlySet<string> = new Set<MeteredShape>([
  ...(['messages', 'chat', 'responses', 'embeddings', 'generateContent', 'embedContent'] as const),
])

function shapeOf({ head }: Metered): MeteredShape {
  const { shape = '' } = head
  if (!METERED.has(shape)) throw new HubError('internal', '', { reason: `${shape} is no shape that costs` })
  return shape as MeteredShape
}

/** What a quota is used up for: the secret by its name, never its value. */
const secretName = ({ secret }: Upstream): string =>
  secret === undefined ? '' : typeof secret === 'string' ? secret : JSON.stringify(secret.command)

export function createMetering(parts: { money: Money; alerts: Pick<Alerts, 'raise'> }): Meter {
  const { money, alerts } = parts

  function callOf({ session }: AgentCaller, upstream: Upstream, metered: Metered): MeteredCall {
    const { body, counted } = metered
    return {
      ...money.payerOf(session),
      ...{ upstream: upstream.name, free: upstream.free, maxOutput: upstream.maxOutput },
      ...{ shape: shapeOf(metered), model: body.model, inputBytes: body.inputBytes, prefixes: body.prefixes },
      ...{ askedOutput: body.askedOutput, choices: body.choices, media: body.media, counted },
      surcharges: isRegional(upstream) ? [...body.surcharges, 'regional'] : body.surcharges,
    }
  }

  return {
    atTurn(caller, upstream, metered, admit, signal) {
      const call = callOf(caller, upstream, metered)
      return money.atTurn(call, (verdict) => admit((grant) => money.reserve(grant, call, verdict)), signal)
    },
    needsCount: (caller, upstream, metered) => money.judge(callOf(caller, upstream, metered)).kind === 'count',
    reader: (metered, contentType) => money.createUsageReader(shapeOf(metered), contentType),
    settle(grant, upstream, id, end) {
      const { name } = upstream
      const secret = secretName(upstream)
      if (end.kind === 'failed_before' && end.answer !== undefined) {
        const paused = money.quota.judge(name, secret, end.answer)
        if (paused !== 'pass')
          alerts.raise(
            `upstream_exhausted:${name}`,
            'warning',
            paused.text,
            Math.max(EGRESS_ALERT_LASTS_MS, paused.untilMs - paused.sinceMs),
          )
      } else if (end.kind === 'answered' && money.quota.has(name, secret)) money.quota.answered(name, secret)
      const status = end.kind === 'failed_before' ? end.answer?.status : undefined
      const settled = money.settle(
        grant,
        id,
        end.kind === 'answered'
          ? (end.outcome as UsageOutcome)
          : end.kind === 'lost'
            ? { kind: 'lost' }
            : { kind: 'failed_before', ...(status === undefined ? {} : { status }) },
      )
      if (settled === undefined) return ''
      if (settled.odd !== undefined)
        alerts.raise(
          `usage_odd:${name}`,
          'warning',
          `The usage that ${name} told of a call of ${settled.model} is not believed: ${settled.odd}. The call counts with ${usdWritten(settled.usd)}, the larger of its reserve and of what these figures cost; correct it with \`hub budget settle ${id} AMOUNT\`.`,
          EGRESS_ALERT_LASTS_MS,
        )
      if (settled.isAbove)
        alerts.raise(
          `usage_above:${name}`,
          'warning',
          `A call of ${settled.model} at ${name} took more than it could take by the count of this hub: ${settled.text}. It counts in full. If ${name} had counted its input, its counts are not believed for a day.`,
          EGRESS_ALERT_LASTS_MS,
        )
      return settled.text
    },
    keyRefusals: money.keyRefusals,
    paused: (upstream, looks) => money.quota[looks ? 'isPaused' : 'stillPaused'](upstream.name, secretName(upstream)),
  }
}
