/**
 * Feature flags and profiles (S1-59): the one table of what may be switched while the hub runs, by whom it is held, and what nobody may
 * switch. Each flag switches one thing that the hub does today; off is always the stricter side. No IO.
 */

/** How strict an installation is as a whole: `profile` in hub.yaml. From the most open to the strictest. */
export const PROFILES = ['development', 'standard', 'production', 'strict'] as const
export type Profile = (typeof PROFILES)[number]

export interface FlagRow {
  /** What is so while it is on. */
  means: string
  /** What is so while it is off. */
  off: string
  usual: boolean
  /** Where a profile begins with another value. It can be changed there, as that profile permits. */
  usualIn: Partial<Record<Profile, boolean>>
  /** Where a profile holds the value: nothing changes it, and no emergency does. */
  heldIn: Partial<Record<Profile, boolean>>
}

const flag = (
  means: string,
  off: string,
  usual: boolean,
  more: Partial<Pick<FlagRow, 'usualIn' | 'heldIn'>> = {},
): FlagRow => ({ means, off, usual, usualIn: {}, heldIn: {}, ...more })

export const FLAGS = {
  dispatch: flag(
    'tasks and services start',
    'no session begins; what is asked for waits in the queue, and what runs goes on',
    true,
  ),
  delegation: flag(
    'agents may give tasks to other agents, where card and rules grant it',
    'each delegation is refused; children that are there already go on',
    true,
  ),
  restarts: flag(
    'after a crash the hub runs a task again by itself, where the card permits it',
    'a task whose program crashed is held until `hub task release`',
    true,
    { usualIn: { development: false } },
  ),
  shells: flag(
    'agents whose card says `shell: true` may start',
    'no session of an agent whose card says `shell: true` begins',
    true,
    {
      heldIn: { strict: false },
    },
  ),
  relaxations: flag(
    'agents whose card says `relax` may start, where the rules grant it',
    'no session of an agent whose card says `relax` begins',
    true,
    { heldIn: { strict: false } },
  ),
  unproven: flag(
    'agents may start from an image of which nobody can say where it comes from',
    'a session begins only from an image that was built here, or whose signature was checked',
    true,
    { heldIn: { strict: false } },
  ),
  trials: flag(
    'copies of agents that `hub agent try` makes (NAME--dev) may start',
    'no session of a trial copy (NAME--dev) begins',
    true,
    { usualIn: { production: false }, heldIn: { strict: false } },
  ),
  drafts: flag(
    'agents with `driver: acp-v2` may start: it speaks a draft of the Agent Client Protocol, version 2',
    'no session of an agent with `driver: acp-v2` begins',
    false,
    { heldIn: { strict: false } },
  ),
  monitor: flag(
    'a critical alert of a runtime monitor recycles the session that it names',
    'what a runtime monitor posts is refused',
    false,
  ),
} as const satisfies Record<string, FlagRow>
export type FlagName = keyof typeof FLAGS
export const FLAG_NAMES = Object.keys(FLAGS) as FlagName[]

/** The row of a flag, or undefined. Own keys only, so `constructor` finds nothing. */
export const flagOf = (name: string): FlagRow | undefined =>
  Object.hasOwn(FLAGS, name) ? FLAGS[name as FlagName] : undefined

/** What no flag, profile or emergency switches off. These names are refused with the reason. */
export const MANDATORY: Readonly<Record<string, string>> = {
  approvals: 'where a rule asks, a person answers',
  audit: 'each act leaves a record, or does not happen',
  authentication: 'each request proves who sends it',
  hardening: 'each container has the whole profile of docs/sandbox.md, and is compared with it before it starts',
  policy: 'the rules are asked about each act but stops, and what they do not allow is refused',
  presence: 'without the lease of the watchdog nothing starts',
  redaction: 'what is stored or shown is redacted first',
  stopping: 'every way to stop works in every mode',
}

/** Under these a flag changes only by an emergency entry, which ends by itself. */
export const EMERGENCY_ONLY: ReadonlySet<Profile> = new Set(['production', 'strict'])

/** How long an emergency entry may hold. */
export const EMERGENCY_MS_MIN = 60_000
export const EMERGENCY_MS_MAX = 24 * 3_600_000

/** The value with which a profile begins. */
export const usualIn = ({ usual, usualIn: other }: FlagRow, profile: Profile): boolean => other[profile] ?? usual
