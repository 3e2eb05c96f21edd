/** Doctor's rows of declared upstreams: what keeps one from being used, and how busy the way outward is (E20). */
import type { UpstreamView } from '../../protocol/egress/upstream-views.ts'
import type { Archives } from '../../work/egress/archives.ts'
import type { EgressMeters } from '../egress/records.ts'
import type { Check } from './doctor.ts'

const mib = (bytes: number) => `${(bytes / 1024 ** 2).toFixed(1)} MiB`

/** One row for each thing that is wrong; one for all, if nothing is. Nothing without upstreams. */
export function upstreamChecks(
  upstreams: readonly UpstreamView[],
  meters: Pick<EgressMeters, 'open' | 'turnedAway'>,
  sessionMost: number,
  archives: ReturnType<Archives['view']>,
): Check[] {
  if (upstreams.length === 0) return []
  const wrong = upstreams.flatMap(({ name, key, reachedBy, models, quota }): Check[] => {
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
      ...models.flatMap(({ model, problem }) =>
        problem === null
          ? []
          : [row(null, problem, `hub upstream price ${name} ${model} --input DOLLARS --output DOLLARS`)],
      ),
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
