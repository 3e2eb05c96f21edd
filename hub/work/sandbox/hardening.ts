/**
 * Grades a running session (S1-51): what the engine shows of its container, against the profile and against each floor by itself.
 *
 * G1. A check passes only if its floor holds in the engine's answer and nothing in its fields differs from the profile: the first stands
 *     against a wrong profile, the second against an engine or a hand that changed the container.
 * G2. Every difference fails a check; what no check names fails `nothing else`.
 * G3. The judging is pure; it never throws, whatever the engine answered. What only this machine knows is handed in.
 */
import { HubError } from '../../base/errors.ts'
import type { SessionLimits } from '../../protocol/agent.ts'
import { compareInspect, type Difference } from './compare.ts'
import type { Containers } from './containers.ts'
import type { Engine } from './engine.ts'
import { type Beside, FLOORS, type Floor, type See } from './floors.ts'
import { confinementOf } from './machine.ts'
import type { CreateBody, SessionFacts } from './profile.ts'
import { differencesBesideSwap, hasSwap } from './swap.ts'

export interface HardeningCheck {
  name: string
  pass: boolean
  /** What is not as it should be; empty for a check that passes. */
  found: string
}
export interface Hardening {
  pass: boolean
  checks: HardeningCheck[]
}

const FOUND_MAX = 300
/** Said of a floor that does not hold though nothing differs from the body: that body was made by other rules than today's. */
export const NOT_HELD = 'the floor does not hold'
/** Nothing is known beside the engine's answer: the strictest reading. */
const NOTHING_KNOWN: Beside = { hasSwap: () => true, confinementOf: () => undefined }
/** This machine, as it is now. */
export const THIS_MACHINE: Beside = { hasSwap, confinementOf }

function seeIn(inspect: unknown): See {
  return (path) =>
    path.split('.').reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], inspect)
}

/** Grades the answer to inspect of container `id` of a session, given the body that the profile makes for it. */
export function judgeHardening(
  sent: CreateBody,
  inspect: unknown,
  id: string,
  beside: Beside = NOTHING_KNOWN,
): Hardening {
  const differences = differencesBesideSwap(compareInspect(sent, inspect, id), beside.hasSwap)
  const see = seeIn(inspect)
  const named = new Set(FLOORS.flatMap(({ fields }) => fields))
  const checks = FLOORS.map(({ name, fields, holds }) => {
    const mine = differences.filter(({ field }) => fields.includes(field))
    return checkOf(name, mine, safely(holds, see, beside))
  })
  checks.push(
    checkOf(
      'nothing else',
      differences.filter(({ field }) => !named.has(field)),
      true,
    ),
  )
  return { pass: checks.every(({ pass }) => pass), checks }
}

interface Graded {
  state: string
  containerId: string | null
}

/** Grades the container of a session against the profile that its card asks for now. Throws `conflict` when there is none. */
export function createGrading<Session extends Graded>(parts: {
  engine: Pick<Engine, 'inspect'>
  containers: Pick<Containers, 'plan'>
  factsOf: (session: Session) => { facts: SessionFacts; limits: SessionLimits }
  beside: Beside
}) {
  return async (session: Session): Promise<Hardening> => {
    const { containerId, state } = session
    const inspect = containerId === null ? undefined : await parts.engine.inspect(containerId)
    if (containerId === null || inspect === undefined)
      throw new HubError('conflict', `the session is ${state}: no container of it is there to be graded`)
    const { facts, limits } = parts.factsOf(session)
    return judgeHardening(parts.containers.plan(facts, limits), inspect, containerId, parts.beside)
  }
}

/** A shape nobody foresaw is a floor that does not hold. */
function safely(holds: Floor['holds'], see: See, beside: Beside): boolean | string {
  try {
    return holds(see, beside)
  } catch {
    return false
  }
}

function checkOf(name: string, differences: Difference[], holds: boolean | string): HardeningCheck {
  const text = ({ field, expected, found }: Difference) =>
    `${field} is ${wordOf(found)}, the profile says ${wordOf(expected)}`
  const unheld = holds === true ? '' : holds || NOT_HELD
  const said = differences.length > 0 ? differences.map(text).join('; ') : unheld
  return { name, pass: holds === true && differences.length === 0, found: said.slice(0, FOUND_MAX) }
}
const wordOf = (value: unknown): string => (JSON.stringify(value) ?? 'absent').slice(0, 80)
