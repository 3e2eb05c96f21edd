/**
 * What is switched now (S1-59): the table `flag`, the profile, and the emergency entries that end by themselves.
 *
 * F1. A value is judged at each look, from what is stored, the profile and the clocks: no loop has to run for an emergency entry to be over.
 * F2. Strictest first: what a profile holds is so, then an emergency entry that has not ended, then what was set, then what the profile
 *     begins with. What was set while another profile held the flag stays stored, and counts again under a profile that does not. So it is
 *     with an earlier `on` where a profile that permits only emergencies begins with the flag off: it would be on there without an end.
 * F3. An emergency entry ends by boot time within one boot, and by the steady clock after another. A clock that shows an instant before the
 *     entry ends it too.
 * F4. Flags change only by `flag.set` and `flag.expire`, with a record each. Of a name that nobody knows nothing is stored.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import { didYouMean } from '../../base/nearest.ts'
import type { Mark } from '../../base/span.ts'
import type { Log } from '../../base/telemetry.ts'
import {
  EMERGENCY_ONLY,
  FLAG_NAMES,
  FLAGS,
  type FlagName,
  flagOf,
  MANDATORY,
  PROFILES,
  type Profile,
  usualIn,
} from '../../protocol/flags.ts'
import type { FlagSetRequest } from '../../protocol/operations.ts'
import { spanText } from '../../protocol/spans.ts'
import type { Store } from '../../store/database.ts'
import type { Meta } from '../../store/meta.ts'
import type { Alerts } from '../alerts/alerts.ts'
import type { Events } from '../events.ts'
import type { Gate } from '../gate.ts'
import { assertGrant, type Grant } from '../grant.ts'
import { hubPrincipal } from '../principal.ts'

interface Entry {
  value: boolean
  reason: string
  forMs: number
  mark: Mark
}
interface Stored {
  value: boolean | undefined
  setAtMs: number
  entry: Entry | undefined
}

export interface FlagState {
  name: FlagName
  isOn: boolean
  /** What made it so. */
  by: 'held' | 'emergency' | 'set' | 'profile'
  means: string
  off: string
  /** The value with which the profile in force begins. */
  usual: boolean
  /** Profiles that hold it. */
  heldBy: Profile[]
  setAtMs: number | null
  emergency: { reason: string; leftMs: number; isOn: boolean } | null
}

export interface Flags {
  readonly profile: Profile
  /** Whether it is on now. Read from the store each time, so a change is seen as soon as it is committed. */
  isOn(name: FlagName): boolean
  /** Says that it is off and what would switch it on; empty if it is on. */
  whyOff(name: FlagName): string
  list(): FlagState[]
  /** The effect of `flag.set`. Throws `unknown_flag`, `flag_locked`, or `schema_invalid` for half an emergency entry. */
  set(grant: Grant, request: FlagSetRequest): { flag: FlagState; auditEffect: string }
  /** Records the end of emergency entries, through the gate. Nothing waits for it: they are over without it. */
  settle(gate: Gate): void
  /** At the start, through the gate: another profile than at the last one is a record. Throws nothing. */
  recordProfile(gate: Gate): void
}

/** How much of an emergency entry is left. Pure. */
export function leftOf({ forMs, mark }: Pick<Entry, 'forMs' | 'mark'>, now: Mark): number {
  if (mark.bootId === now.bootId) return Math.max(0, forMs - Math.max(0, now.bootMs - mark.bootMs))
  return now.wallMs < mark.wallMs ? 0 : Math.max(0, forMs - (now.wallMs - mark.wallMs))
}

const FLAGS_LOOP = hubPrincipal('flags')
const word = (isOn: boolean): string => (isOn ? 'on' : 'off')
const causeOf = (name: string) => `flag_emergency:${name}` as const

export function createFlags(
  options: { profile: Profile },
  parts: {
    store: Store
    meta: Pick<Meta, 'get' | 'set'>
    clock: Clock
    log: Log
    /** Never goes back over a restart (conditions/steady-clock.ts). */
    steadyMs: () => number
    alerts: Pick<Alerts, 'raise' | 'resolve'>
    events: Pick<Events, 'publish'>
  },
): Flags {
  const { profile } = options
  const { store, meta, clock, log, steadyMs, alerts, events } = parts
  const columns = `name, value, set_at_ms as setAtMs, emergency, reason, for_ms as forMs, boot_id as bootId, boot_ms as bootMs, wall_ms as wallMs`
  const found = store.prepare(`select ${columns} from flag where name = ?`)
  const withEntry = store.prepare('select name from flag where emergency is not null').pluck()
  const save = store.prepare('insert or replace into flag values (?, ?, ?, ?, ?, ?, ?, ?, ?)')
  const remove = store.prepare('delete from flag where name = ?')

  const now = (): Mark => ({ bootId: clock.bootId, bootMs: clock.bootMs(), wallMs: steadyMs() })

  function storedOf(name: string): Stored | undefined {
    const row = found.get(name) as
      | ({ value: number | null; setAtMs: number; emergency: number | null; reason: string | null } & {
          [Key in 'forMs' | 'bootMs' | 'wallMs']: number | null
        } & { bootId: string | null })
      | undefined
    if (row === undefined) return undefined
    const { value, setAtMs, emergency, reason, forMs, bootId, bootMs, wallMs } = row
    const entry: Entry | undefined =
      emergency === null || forMs === null || bootId === null || bootMs === null || wallMs === null
        ? undefined
        : { value: emergency === 1, reason: reason ?? '', forMs, mark: { bootId, bootMs, wallMs } }
    return { value: value === null ? undefined : value === 1, setAtMs, entry }
  }

  function write(name: string, { value, setAtMs, entry }: Stored): void {
    if (value === undefined && entry === undefined) return void remove.run(name)
    const { bootId = null, bootMs = null, wallMs = null } = entry?.mark ?? {}
    save.run(
      ...[name, value === undefined ? null : Number(value), setAtMs],
      ...[entry === undefined ? null : Number(entry.value), entry?.reason ?? null, entry?.forMs ?? null],
      ...[bootId, bootMs === null ? null : Math.round(bootMs), wallMs === null ? null : Math.round(wallMs)],
    )
  }

  function stateOf(name: FlagName): FlagState {
    const row = FLAGS[name]
    const stored = storedOf(name)
    const entry = stored?.entry
    const leftMs = entry === undefined ? 0 : leftOf(entry, now())
    const held = row.heldIn[profile as keyof typeof row.heldIn] as boolean | undefined
    const usual = usualIn(row, profile)
    const [isOn, by] = ((): [boolean, FlagState['by']] => {
      if (held !== undefined) return [held, 'held']
      if (entry !== undefined && leftMs > 0) return [entry.value, 'emergency']
      const set = stored?.value
      const isEndless = set === true && EMERGENCY_ONLY.has(profile) && usualIn(row, profile) !== row.usual
      return set === undefined || isEndless ? [usual, 'profile'] : [set, 'set']
    })()
    return {
      ...{ name, isOn, by, means: row.means, off: row.off, usual: held ?? usual },
      heldBy: PROFILES.filter((each) => Object.hasOwn(row.heldIn, each)),
      setAtMs: stored?.setAtMs ?? null,
      emergency: entry === undefined || leftMs === 0 ? null : { reason: entry.reason, leftMs, isOn: entry.value },
    }
  }

  /** Throws for a name that is no flag, and for a change that the profile does not permit. */
  function requireChange({ name, value, emergency }: FlagSetRequest): FlagName {
    const mandatory = Object.hasOwn(MANDATORY, name) ? MANDATORY[name] : undefined
    if (mandatory !== undefined)
      throw new HubError(
        'flag_locked',
        `${name} is mandatory and no flag: ${mandatory}. No profile and no emergency changes that`,
      )
    const row = flagOf(name)
    if (row === undefined)
      throw new HubError(
        'unknown_flag',
        `no flag is named ${name}${didYouMean(name, FLAG_NAMES)}; see \`hub flag list\``,
      )
    if (Object.hasOwn(row.heldIn, profile))
      throw new HubError('flag_locked', `the profile ${profile} holds ${name}: while it is in force, ${row.off}`)
    const endsEntry = value === null && storedOf(name)?.entry !== undefined
    if (EMERGENCY_ONLY.has(profile) && emergency === undefined && !endsEntry)
      throw new HubError(
        'flag_locked',
        `under the profile ${profile} a flag changes only for a time, by an emergency entry: hub flag set ${name} ${value === null ? 'on|off' : word(value)} --emergency "REASON" --for 1h`,
      )
    return name as FlagName
  }

  function tell(state: FlagState): void {
    const { name, isOn, by, emergency } = state
    events.publish('hub.flag.changed.v1', `flag:${name}`, {
      flag: name,
      on: isOn,
      by,
      leftMs: emergency?.leftMs ?? null,
    })
    if (emergency === null) alerts.resolve(causeOf(name), `Flag ${name} is ${word(isOn)} again.`)
    else
      alerts.raise(
        causeOf(name),
        'warning',
        `Flag ${name} is ${word(emergency.isOn)} by an emergency entry for ${spanText(emergency.leftMs)}: ${emergency.reason}. \`hub flag set ${name} default\` ends it now.`,
      )
  }

  /** Flags whose emergency entry has ended and is still stored. */
  const ended = (): string[] =>
    (withEntry.all() as string[]).filter((name) => {
      const entry = storedOf(name)?.entry
      return entry === undefined || leftOf(entry, now()) === 0
    })

  /** Takes ended entries away; says what is so now. */
  function expire(grant: Grant): string[] {
    assertGrant(grant, 'flag.expire')
    const lines: string[] = []
    for (const name of ended()) {
      const { value, setAtMs = clock.wallMs() } = storedOf(name) ?? {}
      write(name, { value, setAtMs, entry: undefined })
      // One that only an earlier version knew switches nothing: it goes without a word.
      if (flagOf(name) === undefined) continue
      const state = stateOf(name as FlagName)
      lines.push(`flag ${name} is ${word(state.isOn)} (${state.by})`)
      store.afterCommit(() => tell(state))
    }
    return lines
  }

  return {
    profile,
    isOn: (name) => stateOf(name).isOn,
    whyOff(name) {
      const { isOn, by } = stateOf(name)
      if (isOn) return ''
      if (by === 'held') return `the profile ${profile} holds the flag ${name} off`
      return `the flag ${name} is off (\`hub flag set ${name} on\`)`
    },
    list: () => FLAG_NAMES.map(stateOf),
    set(grant, request) {
      assertGrant(grant, 'flag.set')
      const { value, emergency, forMs } = request
      const name = requireChange(request)
      const before = stateOf(name)
      const stored = storedOf(name)
      const setAtMs = clock.wallMs()
      if (emergency !== undefined && forMs !== undefined && value !== null)
        write(name, { value: stored?.value, setAtMs, entry: { value, reason: emergency, forMs, mark: now() } })
      // The word `default` ends an emergency entry, and only the next one what was set before it.
      else if (value === null && stored?.entry !== undefined)
        write(name, { value: stored.value, setAtMs, entry: undefined })
      else write(name, { value: value ?? undefined, setAtMs, entry: undefined })
      const flag = stateOf(name)
      store.afterCommit(() => tell(flag))
      const why =
        flag.emergency === null ? '' : ` for ${spanText(flag.emergency.leftMs)}, emergency: ${flag.emergency.reason}`
      return {
        flag,
        auditEffect: `flag ${name} was ${word(before.isOn)} (${before.by}), is ${word(flag.isOn)} (${flag.by})${why}`,
      }
    },
    settle(gate) {
      if (ended().length === 0) return
      gate.admit({ principal: FLAGS_LOOP, operation: 'flag.expire', resource: 'flags' }, (grant) => ({
        auditEffect: `an emergency entry has ended: ${expire(grant).join(', ')}`,
      }))
    },
    recordProfile(gate) {
      const before = meta.get('profile') ?? 'standard'
      if (before === profile) return
      try {
        gate.admit({ principal: FLAGS_LOOP, operation: 'hub.observe', resource: `profile:${profile}` }, () => {
          meta.set('profile', profile)
          return { auditEffect: `the profile was ${before}, is ${profile}` }
        })
      } catch (thrown) {
        // A store that fails has a condition of its own, and the next start records it.
        log.error({ reason: toHubError(thrown).reason }, 'a change of the profile could not be recorded')
      }
    },
  }
}
