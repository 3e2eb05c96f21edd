/** Doctor's rows of declared upstreams: what keeps one from being used, and how busy the way outward is (E20). */
import type { UpstreamView } from '../../protocol/egress/upstream-views.ts'
import type { Archives } from '../../work/egress/archives.ts'
import type { EgressMeters } from '../egress/records.ts'
import type { Check } from './doctor.ts'

const mib = (bytes: number) => `${(bytes / 1024 ** 2).toFixed(1)} MiB`

/** The files of prices: what is wrong with one, and of which day the shipped ones are. */
export interface PricesFound {
  fault: string | null
  dated: string | null
}

/** Prices change a few times a year. */
const OLD_DAYS = 90
const DAY_MS = 86_400_000

const isMetered = ({ kind, free }: UpstreamView): boolean =>
  !free && (kind === 'anthropic' || kind === 'openai' || kind === 'google')

/** One row, where something that costs money is declared. `nowMs`: the wall clock. */
export function priceChecks(upstreams: readonly UpstreamView[], { fault, dated }: PricesFound, nowMs: number): Check[] {
  if (!upstreams.some(isMetered)) return []
  const row = (ok: boolean | null, detail: string, mend: string): Check => ({ name: 'prices', ok, detail, mend })
  if (fault !== null) return [row(false, fault, 'correct that line; until then every call that costs money is refused')]
  const days = Math.floor((nowMs - Date.parse(dated ?? '')) / DAY_MS)
  return days > OLD_DAYS
    ? [
        row(
          null,
          `the shipped prices are of ${dated}, ${days} days ago: what is counted may differ from what is billed`,
          'update the hub, or compare with the price lists of your providers: hub upstream price UPSTREAM MODEL shows one and sets your own',
        ),
      ]
    : [row(true, `the shipped ones are of ${dated}`, 'hub upstream price UPSTREAM MODEL')]
}

/** What of its models has no price; one row if none of them has one, since then nothing of it can be called. */
function priceRows({ name, models, ...upstream }: UpstreamView): Check[] {
  const without = models.filter(({ problem }) => problem !== null)
  const mend = (model: string) => `hub upstream price ${name} ${model} --input DOLLARS --output DOLLARS`
  const [first] = without
  if (isMetered({ name, models, ...upstream }) && first !== undefined && without.length === models.length)
    return [
      {
        name: `upstream ${name}`,
        ok: false,
        detail: `none of its models has a price, so each call of ${without.map(({ model }) => model).join(', ')} is refused`,
        mend: mend(first.model),
      },
    ]
  return without.map(({ model, problem }) => ({
    ...{ name: `upstream ${name}`, ok: null, detail: problem ?? '', mend: mend(model) },
  }))
}

/** One row for each thing that is wrong; one for all, if nothing is. Nothing without upstreams. `hasPrices`: no file of prices has a fault. */
export function upstreamChecks(
  upstreams: readonly UpstreamView[],
  meters: Pick<EgressMeters, 'open' | 'turnedAway'>,
  sessionMost: number,
  archives: ReturnType<Archives['view']>,
  hasPrices: boolean,
): Check[] {
  if (upstreams.length === 0) return []
  const wrong = upstreams.flatMap((upstream): Check[] => {
    const { name, key, reachedBy, quota } = upstream
    const row = (ok: false | null, detail: string, mend: string) => ({ name: `upstream ${name}`, ok, detail, mend })
    const isReached = reachedBy.some(({ has }) => has.length > 0)
    return [
      ...(key.problem === null ? [] : [row(false, `the secret ${key.name} ${key.problem}`, key.mend ?? '')]),
      ...(isReached
        ? []
        : [
            row(
              null,
              'no agent may reach it',
              'name it in may.egress of a card, then hub agent allow AGENT; or remove it',
            ),
          ]),
      // A fault of a file is said once, in its own row.
      ...(hasPrices ? priceRows(upstream) : []),
      ...(quota === null
        ? []
        : [row(null, `its quota is used up (${quota.why})`, 'it ends by itself: hub upstream list says when')]),
    ]
  })
  const fine: Check = {
    name: 'upstreams',
    ok: true,
    detail: `${upstreams.length} declared, each with its key and an agent that may reach it`,
    mend: 'hub upstream list',
  }
  const { open, turnedAway } = meters
  const busy: Check = {
    name: 'egress',
    ok: turnedAway === 0 ? true : null,
    detail: `${open} requests and lines under way, at most ${sessionMost} of a session; ${turnedAway} connections were turned away since the start`,
    mend: 'hub session list: look at what an agent runs that opens so many',
  }
  const isRegistry = upstreams.some(({ kind }) => kind === 'npm' || kind === 'pypi')
  const cache: Check = {
    name: 'archives of registries',
    ok: true,
    detail: `${archives.archives} archives, ${mib(archives.bytes)} of at most ${mib(archives.bytesMax)}; since the start ${archives.found} were given out from here and ${archives.kept} kept`,
    mend: 'egress.cacheBytes in hub.yaml',
  }
  return [...(wrong.length === 0 ? [fine] : wrong), busy, ...(isRegistry ? [cache] : [])]
}
