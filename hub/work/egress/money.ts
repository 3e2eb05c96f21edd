/**
 * Builds what keeps account of metered calls: prices, budget, waiting, quotas that are used up. The door of `hub/work/egress/money/`.
 *
 * The order of one call: `judge` (and a count of the input, if that helps), `atTurn` with the admission whose effect is `reserve`, the call,
 * `createUsageReader` over its answer, and `settle` by the id. What is open at a start was cut off, and `recover` settles it.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import type { Grant } from '../../guard/grant.ts'
import type { Guard } from '../../guard/guard.ts'
import type { Approval } from '../../guard/operator/approval-rows.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { BudgetSettings, RowBudget } from '../../protocol/budget.ts'
import { dollarsText } from '../../protocol/dollars.ts'
import type { Upstream } from '../../protocol/egress/upstreams.ts'
import type { BudgetRaiseRequest, BudgetSettleRequest } from '../../protocol/operations.ts'
import type { SessionRow, TaskRows } from '../dispatch/rows.ts'
import { createAccounts, type Payer } from './money/accounts.ts'
import { createBudget, type MeteredCall, type Verdict } from './money/budget.ts'
import { createCorrections } from './money/corrections.ts'
import { createDays } from './money/days.ts'
import { limitsOf } from './money/limits.ts'
import { createMoneyMeters } from './money/meters.ts'
import { createPrices } from './money/prices.ts'
import { createQuotaPauses } from './money/quota-pause.ts'
import { createReservations } from './money/reservations.ts'
import type { Ending } from './money/settlement.ts'
import { callView, createShowing } from './money/showing.ts'
import { createTelling } from './money/telling.ts'
import { createTurns } from './money/turns.ts'
import { createUsageReader } from './money/usage-reader.ts'
import type { WarningParts } from './money/warnings.ts'

export interface MoneyOptions {
  home: string
  /** The folder of `prices.yaml` as shipped. */
  bundleFolder: string
  budget: BudgetSettings
  /** As declared now. */
  upstreams: readonly Pick<Upstream, 'name'>[]
  /** `zone`: the operator's. */
  alerts: { readonly zone: string }
}

const SHOWN_MAX = 50
const DAMAGED = 'budget_damaged'
const DAMAGED_LASTS_MS = 3_600_000
const CALL = { principal: hubPrincipal('egress'), operation: 'egress.settle' } as const

export type Money = ReturnType<typeof createMoney>

export function createMoney(
  options: MoneyOptions,
  parts: {
    clock: Clock
    random: Random
    guard: Guard
    tasks: Pick<TaskRows, 'task' | 'rootOf' | 'sessionsBrief'>
    mail: WarningParts['mail']
  },
) {
  const { budget: settings } = options
  const { clock, random, guard, tasks } = parts
  const { store, gate, alerts, host, policy } = guard
  const reservations = createReservations(store)
  const accounts = createAccounts(store, {
    sumsOf: reservations.sums,
    onDamaged: (scope, key) =>
      alerts.raise(
        DAMAGED,
        'warning',
        `An account of money was damaged and is added up again from its calls (${scope} ${key}). What was raised of it is lost; see \`hub doctor\`.`,
        DAMAGED_LASTS_MS,
      ),
  })
  const prices = createPrices({ home: options.home, shippedFolder: options.bundleFolder })
  const days = createDays(host.steady, options.alerts)
  function rowOf(agent: string): RowBudget | undefined {
    const rows = policy.active().data?.agents ?? {}
    return Object.hasOwn(rows, agent) ? rows[agent]?.budget : undefined
  }
  const agentOf = (root: string): string | null => tasks.rootOf(root)?.rootAgent ?? null
  const meters = createMoneyMeters()
  const budget = createBudget({
    ...{ settings, reservations, accounts, prices, days, random, rowOf, agentOf },
    onSettled: (row) => store.afterCommit(() => meters.add(row)),
  })
  const corrections = createCorrections({ settings, reservations, accounts, days, rowOf })
  const turns = createTurns(budget, clock)
  const quota = createQuotaPauses(store, days.nowMs)
  const { warn, settle: settleAsked } = createTelling({
    ...{ alerts, afterCommit: store.afterCommit, mail: parts.mail },
    ...{ approvals: guard.approvals, corrections, agentOf },
  })

  const tellDamaged = (id: string) =>
    alerts.raise(
      DAMAGED,
      'warning',
      `The row of a metered call was damaged, and counts with the largest amount that it shows: say what it cost with \`hub budget settle ${id} AMOUNT\`.`,
      DAMAGED_LASTS_MS,
    )

  /** A call was refused: if it was for want of money, whoever was not told yet that this limit is used up is told now. */
  function noteStop(call: MeteredCall, error: HubError): void {
    if (error.code !== 'budget_exceeded' || error.facts.measure !== 'usd' || !budget.isStopNews(call)) return
    gate.admit({ ...CALL, resource: `task:${call.root}` }, (grant) => {
      return { auditEffect: `a call was refused: ${warn(grant, budget.stopped(grant, call))}` }
    })
  }

  /** Root of the tree, and its agent. Throws `unknown_task`. */
  function rootOf(id: string): { root: string; rootAgent: string | null } {
    const found = tasks.rootOf(id)
    if (found === undefined) throw new HubError('unknown_task', `no task has the id ${id}`)
    return found
  }

  const today = () => days.now(() => accounts.list('day', '', 1)[0]?.key)

  const showing = createShowing({
    ...{ settings, accounts, reservations, quota, waiting: turns.waiting, rowOf, rootOf, today },
    agentOf: (task) => tasks.task(task)?.agent ?? null,
    ...{ declared: () => options.upstreams.map(({ name }) => name), sessions: tasks.sessionsBrief, nowMs: days.nowMs },
  })

  return {
    ...{ quota, createUsageReader, meters, show: showing.show, costOf: showing.costOf },
    ...{ judge: budget.judge, reserve: budget.reserve },
    /** As `Turns.atTurn`; a call that is refused for want of money is told of. */
    async atTurn<Result>(call: MeteredCall, take: (verdict?: Verdict) => Result, signal: AbortSignal): Promise<Result> {
      try {
        return await turns.atTurn(call, take, signal)
      } catch (thrown) {
        if (thrown instanceof HubError) noteStop(call, thrown)
        throw thrown
      }
    },
    price(upstream: string, model: string) {
      const { names: _, ...price } = prices.require(upstream, model)
      return price
    },
    /** Answers 401 and 403 to the calls of a session that cost: how many in a row stop it, and those that the database knows. */
    keyRefusals: {
      most: () => settings.keyRefusals,
      before(session: string, upstream: string) {
        const last = reservations.lastStatuses(session, upstream, settings.keyRefusals)
        const other = last.findIndex(({ status }) => status !== 401 && status !== 403)
        const agoMs = days.nowMs() - (last[0]?.settledAtMs ?? 0)
        return { inARow: other === -1 ? last.length : other, agoMs }
      },
    },
    /** What is wrong with the files of prices, and of which day the shipped ones are. */
    prices: prices.state,
    /** What is left of the money that this task was to cost, and of its tree's own limit: a hint for its agent. Never below zero. */
    leftOf(task: string, budget: number): number {
      const cost = showing.costOf(task)
      if (cost === null) return budget
      const left = (limit: number, { spentUsd, heldUsd }: { spentUsd: number; heldUsd: number }) =>
        Math.max(0, limit - spentUsd - heldUsd)
      return Math.min(left(budget, cost.task), left(cost.tree.limitUsd ?? budget, cost.tree))
    },
    /** What the hub spent and reserved today, and its limit. */
    dayNow() {
      const { spentUsd, estimatedUsd, heldUsd } = accounts.get('day', today())
      const limitUsd = limitsOf(settings, 'day', { own: undefined, root: undefined }).usd ?? null
      return { spentUsd, estimatedUsd, heldUsd, limitUsd, waiting: turns.waiting() }
    },
    declared: () => options.upstreams.map(({ name }) => name),
    /** Of today, by upstream and model. */
    spentToday() {
      const day = today()
      return { day, rows: reservations.spentOn(day) }
    },
    /** Whose calls a session's are, and the agent of the root of its tree. Throws `unknown_task`. */
    payerOf({ id, attempt, task, agent }: Pick<SessionRow, 'id' | 'attempt' | 'task' | 'agent'>): Payer & {
      rootAgent: string | null
    } {
      return { session: id, attempt, task, agent, ...rootOf(task) }
    },
    /** As `Budget.settle`; those who wait for what is free again go on once that is committed. */
    settle(grant: Grant, id: string, ending: Ending) {
      const settled = budget.settle(grant, id, ending)
      store.afterCommit(turns.look)
      if (settled === undefined) return undefined
      const told = warn(grant, settled.crossings)
      return told === '' ? settled : { ...settled, text: `${settled.text}; ${told}` }
    },
    /** At the start: what was under way when the hub ended settles at its reserve, with one record. */
    recover() {
      if (budget.openCount() === 0) return
      gate.admit({ ...CALL, resource: 'reservations' }, (grant) => {
        const settled = budget.settleOpen(grant)
        const told = settled.map(({ crossings }) => warn(grant, crossings)).filter((each) => each !== '')
        const all = `${settled.length} metered calls were under way when the hub ended; they are settled at their reserve`
        const damaged = settled.filter(({ odd }) => odd !== undefined).map(({ id }) => id)
        for (const id of damaged) tellDamaged(id)
        const named = damaged.length === 0 ? [] : [`damaged: ${damaged.slice(0, SHOWN_MAX).join(' ')}`]
        return { auditEffect: [all, ...named, ...told].join('; ') }
      })
    },
    raise(grant: Grant, { id, usd }: BudgetRaiseRequest) {
      const { root, rootAgent } = rootOf(id)
      const raised = corrections.raise(grant, { root, agent: rootAgent, usd })
      store.afterCommit(turns.look)
      const auditEffect = `the tree of task ${root} has ${dollarsText(usd)} USD more: ${dollarsText(raised.limitUsd)} USD in all`
      return { root, ...raised, auditEffect }
    },
    /** What follows from an answer about more money, in its transaction; words for the record. */
    settleApproval(grant: Grant, approval: Approval): string {
      const words = settleAsked(grant, approval)
      if (words !== '') store.afterCommit(turns.look)
      return words
    },
    correct(grant: Grant, { id, usd }: BudgetSettleRequest) {
      const row = corrections.correct(grant, id, usd)
      store.afterCommit(turns.look)
      return { call: callView(row), auditEffect: `the call ${id} cost ${dollarsText(usd)} USD: ${row.why}` }
    },
  }
}
