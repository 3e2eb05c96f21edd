/**
 * The wall clock as far as it may be trusted: what tokens and keys are judged by (docs/safety.md 9; T71, T72, T74).
 *
 * C1. It is never earlier than the latest time it has seen: this mark is persisted every few seconds, and survives restarts.
 * C2. More than five seconds behind the mark, or more than five minutes ahead of what boot time says, is a fault: then this clock goes on
 *     by boot time alone. So no step back makes an expired token valid again, and no jump ahead ends one early or spoils the mark.
 * C3. After a reboot only a wall clock behind the mark is known to be wrong.
 *     One that is more than a week ahead of it may be right or wrong. Until a person confirms it, it is unproven, over restarts too, and
 *     nothing is deleted for its age.
 * C4. Owner of `clock_fault`: ends when the wall clock is right again, or when the operator accepts it as it is. A clock that is behind is
 *     accepted only while no session is open: then no earlier token can become valid again.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Meta } from '../../store/meta.ts'
import type { Modes } from '../modes.ts'

const BEHIND_MS = 5000
const AHEAD_MS = 300_000
const PERSIST_MS = 5000
const UNPROVEN_MS = 7 * 86_400_000

export interface ClockVerdict {
  nowMs: number
  fault?: { kind: 'behind' | 'ahead'; byMs: number }
}

/** Pure: the steady time now, of the mark that was reached `elapsedMs` of boot time ago; `elapsedMs` is null over a reboot. */
export function judgeWall(wallMs: number, markMs: number, elapsedMs: number | null): ClockVerdict {
  const expectedMs = markMs + (elapsedMs ?? Math.max(0, wallMs - markMs))
  if (wallMs < markMs - BEHIND_MS) return { nowMs: expectedMs, fault: { kind: 'behind', byMs: expectedMs - wallMs } }
  if (wallMs > expectedMs + AHEAD_MS) return { nowMs: expectedMs, fault: { kind: 'ahead', byMs: wallMs - expectedMs } }
  return { nowMs: Math.max(wallMs, markMs) }
}

export interface SteadyClock {
  /** Epoch ms; never earlier than before. */
  wallMs(): number
  /** Whether the wall clock has jumped ahead: nothing is renewed on its word. */
  isAhead(): boolean
  /** Whether nobody has said yet that a wall clock far ahead of the last run is right (C3). */
  isUnproven(): boolean
  /** A person who sees the date was there: a strong heartbeat, or the operator's word. */
  prove(): void
  /** Raises or clears `clock_fault`, and persists the mark when that is due. */
  tick(): void
  /** Persists the mark now, in the open transaction or one of its own. */
  save(): void
  /** The operator says that the wall clock is right. Throws `conflict` when it is behind and a session is open. */
  accept(openSessions: number): void
}

const spanText = (ms: number): string =>
  ms < 120_000
    ? `${Math.round(ms / 1000)} s`
    : ms < 7_200_000
      ? `${Math.round(ms / 60_000)} min`
      : `${Math.round(ms / 3_600_000)} h`

export function createSteadyClock(parts: {
  clock: Clock
  meta: Meta
  modes: Pick<Modes, 'raise' | 'clear' | 'has'>
  note: (what: string, text: string) => void
}): SteadyClock {
  const { clock, meta, modes, note } = parts
  const kept = /^(\S+) (\d+) (\d+)$/.exec(meta.get('high_water_wall_ms') ?? '')
  const sameBoot = kept?.[1] === clock.bootId
  let markMs = kept === null ? clock.wallMs() : Number(kept[3])
  let markBootMs = kept === null || !sameBoot ? clock.bootMs() : Number(kept[2])
  let fault: ClockVerdict['fault']
  let savedAtBootMs = Number.NEGATIVE_INFINITY
  let unproven = (meta.get('wall_unproven') ?? '') !== ''
  let isTold = false
  if (kept !== null && !sameBoot) {
    if (clock.wallMs() - markMs > UNPROVEN_MS) {
      unproven = true
      meta.set('wall_unproven', `${clock.wallMs() - markMs}`)
    }
    look(null)
  }

  function prove(): void {
    if (!unproven) return
    unproven = false
    try {
      meta.set('wall_unproven', '')
    } catch (thrown) {
      // It is unproven again after the next start; the caller is not refused for that.
      if (!(thrown instanceof HubError) || thrown.code !== 'store_unavailable') throw thrown
    }
  }

  function look(elapsedMs: number | null = clock.bootMs() - markBootMs): number {
    const verdict = judgeWall(clock.wallMs(), markMs, elapsedMs)
    fault = verdict.fault
    markMs = verdict.nowMs
    markBootMs = clock.bootMs()
    return markMs
  }

  function tell(): void {
    if (unproven && !isTold) {
      isTold = true
      const byMs = Number(meta.get('wall_unproven') ?? 0)
      note(
        'clock',
        `it is ${spanText(byMs)} since this hub last ran; nothing is pruned until you confirm the date with hub heartbeat`,
      )
    }
    if (fault === undefined) {
      if (!modes.has('clock_fault')) return
      modes.clear('clock_fault')
      note('clock', 'the wall clock is right again')
    } else if (!modes.has('clock_fault')) {
      const { kind, byMs } = fault
      const text =
        kind === 'behind'
          ? `the wall clock is ${spanText(byMs)} behind what this hub has seen; waiting for time sync`
          : `the wall clock has jumped ${spanText(byMs)} ahead; nothing is renewed`
      modes.raise('clock_fault', text)
      note('clock', text)
    }
  }

  const save = () => meta.set('high_water_wall_ms', `${clock.bootId} ${markBootMs} ${markMs}`)
  return {
    wallMs: () => look(),
    isAhead() {
      look()
      return fault?.kind === 'ahead'
    },
    isUnproven: () => unproven,
    prove,
    save,
    tick() {
      look()
      tell()
      if (clock.bootMs() - savedAtBootMs < PERSIST_MS) return
      savedAtBootMs = clock.bootMs()
      save()
    },
    accept(openSessions) {
      look()
      if (fault?.kind === 'behind' && openSessions > 0)
        throw new HubError(
          'conflict',
          `the clock is behind and ${openSessions} sessions are open; set it (timedatectl set-ntp true), or stop them first`,
        )
      markMs = clock.wallMs()
      markBootMs = clock.bootMs()
      save()
      fault = undefined
      modes.clear('clock_fault')
      prove()
    },
  }
}
