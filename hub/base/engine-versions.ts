/**
 * Which version of the engine's API this process speaks (fault A3): the newest that engine and hub both know. Every engine answers
 * `GET /version` without one, and says there what it accepts. Pure.
 *
 * V1. Nothing is guessed: an answer that is not an engine's, contradicts itself or names no version that the hub knows is refused, with what to do.
 * V2. The hub uses no version newer than those known here: what a newer one adds was not measured (compare.ts).
 */
type Version = readonly [major: number, minor: number]

/** Docker 20.10. */
const OLDEST: Version = [1, 41]
/** Docker 29. What each version in between adds was measured on real engines. */
const NEWEST: Version = [1, 56]

const textOf = ([major, minor]: Version): string => `${major}.${minor}`
const isAbove = (one: Version, other: Version): boolean => (one[0] === other[0] ? one[1] > other[1] : one[0] > other[0])

/** The first and the last version that the hub knows, for tests that hold them to what was measured. */
export const API_RANGE = { oldest: textOf(OLDEST), newest: textOf(NEWEST) } as const
/** Every one of them, as a pattern for a path: `v1.41` to `v1.56`. */
export const API_PATTERN = `v1\\.(?:${Array.from({ length: NEWEST[1] - OLDEST[1] + 1 }, (_, at) => OLDEST[1] + at).join('|')})`

export type Agreement = { api: string; engineNewest: string } | { why: string; mend: string }

function versionOf(value: unknown): Version | undefined {
  const found = typeof value === 'string' ? /^(\d{1,3})\.(\d{1,3})$/.exec(value) : null
  return found === null ? undefined : [Number(found[1]), Number(found[2])]
}

/** The version to use with an engine that gave this answer to `GET /version`; or why there is none, and what to do. */
export function agreeApi(answer: unknown): Agreement {
  const said = (typeof answer === 'object' && answer !== null ? answer : {}) as Record<string, unknown>
  const newest = versionOf(said.ApiVersion)
  // Engines before 1.25 name no oldest version; they are too old anyway.
  const oldest = said.MinAPIVersion === undefined ? OLDEST : versionOf(said.MinAPIVersion)
  if (newest === undefined || oldest === undefined)
    return {
      why: 'what answers there names no API version, so it is no Docker engine',
      mend: 'set engine.socket in hub.yaml to the socket of a Docker engine',
    }
  if (isAbove(oldest, newest) && said.MinAPIVersion !== undefined)
    return {
      why: `it says that it speaks API ${textOf(oldest)} to ${textOf(newest)}, which contradicts itself`,
      mend: 'look at what listens there: it is not a working Docker engine',
    }
  if (isAbove(OLDEST, newest)) return { why: `it speaks ${textOf(newest)}`, mend: 'install Engine 20.10 or later' }
  if (isAbove(oldest, NEWEST))
    return {
      why: `it speaks only API ${textOf(oldest)} and later, this hub knows up to ${textOf(NEWEST)}`,
      mend: 'upgrade the hub, or let the engine accept an older API (DOCKER_MIN_API_VERSION, or min-api-version in its daemon.json)',
    }
  return { api: textOf(isAbove(newest, NEWEST) ? NEWEST : newest), engineNewest: textOf(newest) }
}

/** Whether an engine refuses the version that a call was made in; it then has not looked at the call. */
export const isApiRefused = (status: number, text: string): boolean =>
  status === 400 && /client version \S{1,16} is too (?:old|new)/.test(text)
