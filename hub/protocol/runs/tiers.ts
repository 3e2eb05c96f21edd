/**
 * How much a step can do at least, and what it can cost at most (D-R15). Pure. What a definition says of its tier may raise this and never lower it.
 */
import type { AgentCard } from '../agent.ts'
import { TIERS, type Tier } from '../approval.ts'
import type { OnUnknown, Plan, PlanStep, StepKind } from './plan.ts'

/** What of a card counts here. */
export type StepCard = Pick<AgentCard, 'name' | 'shell' | 'repeatable' | 'capabilities'> & {
  may: Pick<AgentCard['may'], 'egress'>
}

export interface Implied {
  tier: Tier
  /** In words; empty where nothing implies more than read. */
  because: string
}

const OF_KIND: Readonly<Record<StepKind, Tier>> = {
  agent: 'read',
  research: 'read',
  review: 'read',
  implement: 'write',
  execute: 'execute',
  test: 'execute',
  shell: 'execute',
  // Each step of the other run has a tier of its own and is asked about by it.
  subrun: 'read',
  'plan-text': 'read',
  notify: 'read',
  collect: 'read',
}

const rank = (tier: Tier): number => TIERS.indexOf(tier)
export const isBelow = (tier: Tier, other: Tier): boolean => rank(tier) < rank(other)
const higher = (one: Implied, other: Implied): Implied => (isBelow(one.tier, other.tier) ? other : one)

/** A grant that changes something outside, or a line that nobody can look into. */
const REACHES_OUT = /^[^:]+:(?:write|[1-9]\d{0,4})$/

function ofCard({ name, shell, may }: StepCard): Implied {
  const outward = may.egress.find((grant) => REACHES_OUT.test(grant))
  if (outward !== undefined)
    return { tier: 'external', because: `the card of ${name} asks to reach outside (may.egress: ${outward})` }
  return shell ? { tier: 'execute', because: `the image of ${name} holds a shell` } : { tier: 'read', because: '' }
}

/** `cards`: of every agent that may do it, fallbacks and repair included; those that are not known count for nothing here, and are asked about again at each start. */
export function impliedTier(kind: StepKind, cards: readonly StepCard[]): Implied {
  const tier = OF_KIND[kind]
  const own: Implied = { tier, because: tier === 'read' ? '' : `a step of kind ${kind} does` }
  return cards.map(ofCard).reduce(higher, own)
}

/** What follows an unknown end where the definition says nothing (D-R7): again only where nothing can have been changed and the card says that it may run twice. */
export const usualOnUnknown = (tier: Tier, cards: readonly StepCard[]): OnUnknown =>
  tier === 'read' && cards.length > 0 && cards.every(({ repeatable }) => repeatable) ? 'rerun' : 'ask'

/** Nobody may say of such a step that it is simply tried again. */
export const neverReruns = (tier: Tier): boolean => tier === 'destructive' || tier === 'external'

/** The most tries that the rungs of one step can start by themselves; what a person orders comes on top. */
export function triesOf({ retry, fallback, onUnknown }: Pick<PlanStep, 'retry' | 'fallback' | 'onUnknown'>): number {
  const retries = retry.max === 0 && onUnknown === 'rerun' ? 1 : retry.max
  return 1 + retries * (retry.repair === undefined ? 1 : 2) + fallback.length
}

/** The most that a run can cost: `usdMicro` undefined if nothing limits it. */
export interface CostBound {
  tasks: number
  usdMicro: number | undefined
  because: string
}

/**
 * At worst every step uses all of its tries and each try all of its money. `usdOfTry`: what one try of an agent may cost, undefined where nothing
 * says so. `usdOfTree`: what the hub lets one run cost. Until `hub definition check` stands, only tests call it. */
export function costBound(
  plan: Pick<Plan, 'steps' | 'limits'>,
  usdOfTry: (agent: string | undefined) => number | undefined,
  usdOfTree?: number,
): CostBound {
  const { limits, steps } = plan
  const worst = steps.reduce((sum, step) => sum + triesOf(step), 0)
  const tasks = Math.min(worst, limits.tasks)
  const agents = steps.flatMap(({ agent, fallback, retry }) => [
    agent,
    ...fallback,
    ...(retry.repair ? [retry.repair.agent] : []),
  ])
  const dearest = agents.map(usdOfTry)
  const sum = dearest.some((usd) => usd === undefined)
    ? undefined
    : tasks * Math.max(0, ...dearest.map((usd) => usd ?? 0))
  const bounds = [
    { usdMicro: limits.usdMicro, because: 'limits.usd of the definition' },
    { usdMicro: usdOfTree, because: 'budget.tree.usd of the hub' },
    { usdMicro: sum, because: `${tasks} tries, each with the money of the dearest agent` },
  ].filter((each): each is { usdMicro: number; because: string } => each.usdMicro !== undefined)
  const [least] = bounds.sort((one, other) => one.usdMicro - other.usdMicro)
  return { tasks, usdMicro: least?.usdMicro, because: least?.because ?? 'nothing limits it' }
}
