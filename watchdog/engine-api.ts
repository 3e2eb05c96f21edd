/**
 * Which version of the engine's API the watchdog speaks (fault A3): the newest that both know, by its answer to `GET /version`. Pure, and
 * written apart from the hub's rule on purpose.
 */
const OLDEST = 41
const NEWEST = 56

/** `prefix`: what each path begins with, such as `/v1.44`. */
export type Spoken = { readonly prefix: string } | { readonly why: string }

const minorOf = (value: unknown): number | null => {
  const found = typeof value === 'string' ? /^(\d{1,3})\.(\d{1,3})$/.exec(value) : null
  if (found === null) return null
  // Whatever follows 1.x is later than all of it.
  return Number(found[1]) > 1 ? 1000 * Number(found[1]) + Number(found[2]) : Number(found[1]) * Number(found[2])
}

/** What to speak with an engine that gave this answer, or why there is no version that both know. */
export function agreeApi(text: string): Spoken {
  let said: { ApiVersion?: unknown; MinAPIVersion?: unknown } | null
  try {
    said = JSON.parse(text)
  } catch {
    said = null
  }
  const newest = minorOf(said?.ApiVersion)
  const oldest = said?.MinAPIVersion === undefined ? 0 : minorOf(said.MinAPIVersion)
  if (newest === null || oldest === null) return { why: 'what answers there names no API version' }
  if (newest < OLDEST) return { why: `it speaks API up to ${said?.ApiVersion}, 1.${OLDEST} is needed` }
  if (oldest > newest) return { why: `it says that it speaks API ${said?.MinAPIVersion} to ${said?.ApiVersion}` }
  if (oldest > NEWEST)
    return { why: `it speaks only API ${said?.MinAPIVersion} and later, and up to 1.${NEWEST} is known here` }
  return { prefix: `/v1.${Math.min(newest, NEWEST)}` }
}

/** Whether an engine refused the version that a call was made in; it has not looked at the call then. */
export const isApiRefused = (status: number, body: Buffer): boolean =>
  status === 400 && /client version \S{1,16} is too (?:old|new)/.test(body.toString('utf8', 0, 500))
