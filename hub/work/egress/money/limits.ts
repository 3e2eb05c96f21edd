/**
 * Whether a call fits below every limit that it counts towards. Pure.
 *
 * L1. A limit is what hub.yaml says, or in its place what the agent's row says; a raise adds to it; the ceiling is above all of them.
 * L2. What is reserved counts like what is spent. A call that fits only without the reserves of others waits for them.
 * L3. A tree has the limit of the agent at its root. The row of a descendant can only lower it, for that descendant's own calls.
 * L4. Where nothing costs money, limits on money do not count; those on tokens and calls do.
 */
import {
  type BudgetLowBody,
  type BudgetSettings,
  type Limited,
  MEASURES,
  type Measure,
  type RowBudget,
} from '../../../protocol/budget.ts'
import { dollarsText } from '../../../protocol/dollars.ts'
import type { Account } from './accounts.ts'

export type Limits = Readonly<Partial<Record<Measure, number | undefined>>>

/** What a call takes at worst. */
export interface Need {
  usd: number
  input: number
  output: number
}

/** One account that a call counts towards, and its limits. */
export interface Standing {
  scope: Limited
  /** Of the account; two calls with the same key share it. */
  key: string
  limits: Limits
  account: Pick<Account, 'spentUsd' | 'heldUsd' | 'input' | 'heldInput' | 'output' | 'heldOutput' | 'calls'>
}

export type Judged =
  | { kind: 'fits' }
  /** The accounts whose reserves stand in the way. */
  | { kind: 'wait'; lacking: readonly string[] }
  | { kind: 'exceeded'; scope: Limited; measure: Measure; limit: number; used: number; need: number }

function spentOf({ account }: Pick<Standing, 'account'>, measure: Measure): { used: number; held: number } {
  const { spentUsd, heldUsd, input, heldInput, output, heldOutput, calls } = account
  if (measure === 'usd') return { used: spentUsd, held: heldUsd }
  if (measure === 'input') return { used: input, held: heldInput }
  if (measure === 'output') return { used: output, held: heldOutput }
  if (measure === 'calls') return { used: calls, held: 0 }
  return { used: input + output, held: heldInput + heldOutput }
}
const needOf = ({ usd, input, output }: Need): Readonly<Record<Measure, number>> => ({
  usd,
  input,
  output,
  tokens: input + output,
  calls: 1,
})

/** The first limit that is exceeded, or else everything that a call has to wait for. */
export function judgeNeed(need: Need, standings: readonly Standing[], isFree: boolean): Judged {
  const lacking = new Set<string>()
  const each = needOf(need)
  for (const standing of standings)
    for (const measure of MEASURES) {
      const limit = standing.limits[measure]
      if (limit === undefined || (isFree && measure === 'usd')) continue
      const { used, held } = spentOf(standing, measure)
      if (used + each[measure] > limit)
        return { kind: 'exceeded', scope: standing.scope, measure, limit, used, need: each[measure] }
      if (used + held + each[measure] > limit) lacking.add(standing.key)
    }
  return lacking.size === 0 ? { kind: 'fits' } : { kind: 'wait', lacking: [...lacking] }
}

/** The limit of which the largest part is spent; a limit of nothing is none to come near. Undefined if nothing is spent. Pure. */
export function nearestOf<Of extends Pick<Standing, 'limits' | 'account'>>(
  standings: readonly Of[],
): { of: Of; measure: Measure; used: number; limit: number } | undefined {
  let found: { of: Of; measure: Measure; used: number; limit: number } | undefined
  for (const of of standings)
    for (const measure of MEASURES) {
      const limit = of.limits[measure] ?? 0
      const { used } = spentOf(of, measure)
      if (limit === 0 || used === 0) continue
      if (found === undefined || BigInt(used) * BigInt(found.limit) > BigInt(found.used) * BigInt(limit))
        found = { of, measure, used, limit }
    }
  return found
}

const least = (...figures: readonly (number | undefined)[]): number | undefined => {
  const given = figures.filter((figure) => figure !== undefined)
  return given.length === 0 ? undefined : Math.min(...given)
}

/** Of one account of an agent's call (L1, L3). `raised`: by `hub budget raise`, for a tree. */
export function limitsOf(
  settings: BudgetSettings,
  scope: Limited,
  rows: { own: RowBudget | undefined; root: RowBudget | undefined },
  raised = 0,
): Limits {
  const usual = settings[scope] as Limits
  const ceiling = settings.ceiling[scope] as Limits
  const rowOf = (row: RowBudget | undefined): Limits => (scope === 'day' ? {} : ((row?.[scope] ?? {}) as Limits))
  const row = rowOf(scope === 'tree' ? rows.root : rows.own)
  // What was raised counts for the calls of the root's own agent too.
  const lower = scope === 'tree' && rows.own !== rows.root ? rowOf(rows.own) : {}
  return Object.fromEntries(
    MEASURES.map((measure) => {
      const base = row[measure] ?? usual[measure]
      const more = base === undefined || measure !== 'usd' ? base : base + raised
      return [measure, least(more, lower[measure], ceiling[measure])]
    }),
  )
}

const OF: Readonly<Record<Limited, string>> = {
  call: 'one call',
  attempt: 'this attempt of the task',
  tree: 'this task and everything below it',
  agentDay: 'this agent today',
  day: 'this hub today',
  hour: 'this agent within an hour',
}
const WHAT: Readonly<Record<Measure, string>> = {
  usd: 'money',
  tokens: 'tokens',
  calls: 'calls',
  input: 'tokens sent',
  output: 'tokens received',
}

/** In words for the agent and the operator: what it would take, what is left, and which line to change. */
export function exceededText(found: Judged & { kind: 'exceeded' }, who: { task: string; agent: string }): string {
  const { scope, measure, limit, used, need } = found
  const figure = (value: number) => (measure === 'usd' ? `${dollarsText(value)} USD` : String(value))
  const change =
    scope === 'tree' && measure === 'usd'
      ? `\`hub budget raise ${who.task} AMOUNT\`, or `
      : scope === 'day'
        ? ''
        : `agents.${who.agent}.budget.${scope}.${measure} in policy/data.json, or `
  return `${WHAT[measure]} of ${OF[scope]}: the limit is ${figure(limit)}, ${figure(used)} are used, and this call may take ${figure(need)}; change ${change}budget.${scope}.${measure} in hub.yaml`
}

/** A mark on a limit of money that was passed: half, four fifths, all, or the soft limit of a day (S2-30). Each is told once. */
export interface Crossing {
  scope: Limited
  /** 100 also where a call was refused because what is left is too little for it. */
  mark: BudgetLowBody['mark']
  limitUsd: number
  spentUsd: number
  /** Who spent last. */
  task: string
  root: string
  agent: string
}

/** The bit of each mark in `told` of an account. */
export const ALL_USED = 4
const PERCENTS = [
  [50, 1],
  [80, 2],
  [100, ALL_USED],
] as const
const SOFT = 8

const isPassed = (spentUsd: number, limitUsd: number, percent: number): boolean =>
  limitUsd > 0 && BigInt(spentUsd) * 100n >= BigInt(limitUsd) * BigInt(percent)

/** Which marks an account has passed and nobody was told of. `isStopped`: a call was refused for want of this money. */
export function crossedNow(
  standing: {
    scope: Limited
    limits: Limits
    account: Pick<Account, 'spentUsd' | 'told'>
    soft: number | undefined
    isStopped: boolean
  },
  { task, root, agent }: { task: string; root: string; agent: string },
): { crossings: Crossing[]; bits: number } {
  const { scope, limits, account, soft, isStopped } = standing
  const { spentUsd, told } = account
  const limitUsd = limits.usd
  const crossings: Crossing[] = []
  let bits = 0
  const pass = (mark: Crossing['mark'], bit: number, of: number) => {
    if ((told & bit) !== 0) return
    bits |= bit
    crossings.push({ scope, mark, limitUsd: of, spentUsd, task, root, agent })
  }
  if (limitUsd !== undefined)
    for (const [percent, bit] of PERCENTS)
      if (isPassed(spentUsd, limitUsd, percent) || (percent === 100 && isStopped)) pass(percent, bit, limitUsd)
  if (soft !== undefined && isPassed(spentUsd, soft, 100)) pass('soft', SOFT, soft)
  return { crossings, bits }
}

/** The bits of marks that are still passed below a new limit. */
export const marksBelow = (spentUsd: number, limitUsd: number): number =>
  PERCENTS.reduce((bits, [percent, bit]) => (isPassed(spentUsd, limitUsd, percent) ? bits | bit : bits), SOFT)
