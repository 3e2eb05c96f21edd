/**
 * Grades a running session (S1-51): what the engine shows of its container, against the profile and against each floor.
 *
 * G1. A check passes only if its floor holds in the engine's answer and none of its fields differs from the profile. The first catches a
 *     wrong profile. The second catches an engine or a person that changed the container.
 * G2. Every difference fails a check. A difference that no check names fails `nothing else`.
 * G3. Judging is pure and never throws, whatever the engine answered. What only this machine knows is handed in.
 */
import { HubError } from '../../base/errors.ts'
import type { SessionLimits } from '../../protocol/agent.ts'
import type { Relaxation } from '../../protocol/relax.ts'
import { compareInspect, type Difference } from './compare.ts'
import type { Containers } from './containers.ts'
import type { Engine } from './engine.ts'
import { type Beside, FLOORS, relaxedOf, type See, type Sockets, socketsOf } from './floors.ts'
import { confinementOf } from './machine.ts'
import type { CreateBody, SessionFacts } from './profile.ts'
import { differencesBesideSwap, hasSwap } from './swap.ts'

export interface HardeningCheck {
  name: string
  pass: boolean
  /** What is not as it should be; empty for a check that passes. */
  found: string
  /** It holds by this grant alone; absent for a wall that stands (docs/sandbox.md 8). */
  relaxed?: Relaxation
}
export interface Hardening {
  pass: boolean
  /** Which sockets its programs may open, by what the engine shows. */
  sockets: Sockets
  /** Which walls are moved, by what the engine shows. */
  relaxed: Relaxation[]
  checks: HardeningCheck[]
}

const FOUND_MAX = 300
/** Used if a floor does not hold although nothing differs from the body: the body was made by other rules than today's. */
export const NOT_HELD = 'the floor does not hold'
/** Nothing is known beside the engine's answer: the strictest reading. */
const NOTHING_KNOWN: Beside = { hasSwap: () => true, confinementOf: () => undefined }
/** This machine, as it is now. */
export const THIS_MACHINE: Beside = { hasSwap, confinementOf }

function seeIn(inspect: unknown): See {
  return (path) =>
    path.split('.').reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], inspect)
}

/**
 * Grades the engine's answer about container `id` of a session, given the body that the profile makes for it and the relaxations that the session
 * was granted. Those are handed in apart from the body: a body that is relaxed without a grant does not pass.
 */
export function judgeHardening(
  sent: CreateBody,
  inspect: unknown,
  id: string,
  beside: Beside = NOTHING_KNOWN,
  granted: readonly Relaxation[] = [],
): Hardening {
  const differences = differencesBesideSwap(compareInspect(sent, inspect, id), beside.hasSwap)
  const see = seeIn(inspect)
  const named = new Set(FLOORS.flatMap(({ fields }) => fields))
  const relaxed = shownRelaxed(see)
  const checks = FLOORS.map(({ name, fields, holds, movedBy }): HardeningCheck => {
    const mine = differences.filter(({ field }) => fields.includes(field))
    const check = checkOf(
      name,
      mine,
      safely((...looks) => holds(...looks, granted), see, beside),
    )
    return movedBy !== undefined && relaxed.includes(movedBy) ? { ...check, relaxed: movedBy } : check
  })
  checks.push(
    checkOf(
      'nothing else',
      differences.filter(({ field }) => !named.has(field)),
      true,
    ),
  )
  return {
    pass: checks.every(({ pass }) => pass),
    sockets: shownSockets(see),
    relaxed: [...relaxed, ...ofNoWall(granted)],
    checks,
  }
}

interface Graded {
  state: string
  containerId: string | null
  authority: { relax?: readonly Relaxation[] }
}

/** Grades a session's container against what it was made from (dispatch/made.ts). Throws `conflict` if there is none. */
export function createGrading<Session extends Graded>(parts: {
  engine: Pick<Engine, 'inspect'>
  /** Undefined if that was not kept, or cannot be read. */
  madeFrom: (session: Session) => CreateBody | undefined
  containers: Pick<Containers, 'plan'>
  factsOf: (session: Session) => { facts: SessionFacts; limits: SessionLimits }
  beside: Beside
}) {
  return async (session: Session): Promise<Hardening> => {
    const { containerId, state, authority } = session
    const inspect = containerId === null ? undefined : await parts.engine.inspect(containerId)
    if (containerId === null || inspect === undefined)
      throw new HubError('conflict', `the session is ${state}: it has no container to grade`)
    const planned = () => {
      const { facts, limits } = parts.factsOf(session)
      return parts.containers.plan(facts, limits)
    }
    return judgeHardening(parts.madeFrom(session) ?? planned(), inspect, containerId, parts.beside, authority.relax)
  }
}

/** What was granted and moves no wall, so that no engine shows it. */
function ofNoWall(granted: readonly Relaxation[]): Relaxation[] {
  return granted.filter((each) => each === 'bypass')
}

/** What cannot be read is none of ours. */
function shownSockets(see: See): Sockets {
  try {
    return socketsOf(see)
  } catch {
    return 'other'
  }
}

/** What cannot be read shows in floors that do not hold. */
function shownRelaxed(see: See): Relaxation[] {
  try {
    return relaxedOf(see)
  } catch {
    return []
  }
}

/** An unexpected shape counts as a floor that does not hold. */
function safely(holds: (see: See, beside: Beside) => boolean | string, see: See, beside: Beside): boolean | string {
  try {
    return holds(see, beside)
  } catch {
    return false
  }
}

const wordOf = (value: unknown): string => (JSON.stringify(value) ?? 'absent').slice(0, 80)

function checkOf(name: string, differences: Difference[], holds: boolean | string): HardeningCheck {
  const text = ({ field, expected, found }: Difference) =>
    `${field} is ${wordOf(found)}, the profile says ${wordOf(expected)}`
  const unheld = holds === true ? '' : holds || NOT_HELD
  const said = differences.length > 0 ? differences.map(text).join('; ') : unheld
  return { name, pass: holds === true && differences.length === 0, found: said.slice(0, FOUND_MAX) }
}
