/**
 * Money of metered calls: reserved at its worst case before a call, settled once after it.
 *
 * B1. A call is reserved in the transaction that admits it, or it is refused there. Nothing is held open while it runs.
 * B2. What is reserved counts against every limit like what is spent, so calls at once can never spend more than one may [E8].
 * B3. A reservation is settled once, by its id: by the upstream's own figures, or at the reserve where there are none that can be
 *     believed. One that is open at a start settles at the reserve [E9][E10].
 * B4. It is settled by the figures it was reserved by, whatever the files say by then [E17].
 * B5. A call counts towards its session, attempt, task and tree, towards its agent's hour and day and the hub's day. A child spends from the
 *     tree of its parent; a retry, a restart of a session and one of the hub begin nothing anew [E16].
 * B6. A provider's count of an input is believed until a call takes more than it allowed: then that upstream is not asked for a day, and the
 *     bound by bytes decides.
 */
import { HubError } from '../../../base/errors.ts'
import { newUuid, type Random } from '../../../base/random.ts'
import { assertGrant, type Grant } from '../../../guard/grant.ts'
import type { BudgetSettings, Limited, RowBudget } from '../../../protocol/budget.ts'
import { dollarsText } from '../../../protocol/dollars.ts'
import { type AccountRef, type Accounts, moveAccounts, type Payer, refsOf } from './accounts.ts'
import { type Asked, type Bound, boundOf, canCount, withoutInput } from './bounds.ts'
import type { Tokens } from './cost.ts'
import { type Days, SLOT_MS, SLOTS_OF_AN_HOUR, slotOf } from './days.ts'
import { hourOf } from './hours.ts'
import {
  ALL_USED,
  type Crossing,
  crossedNow,
  exceededText,
  judgeNeed,
  type Limits,
  limitsOf,
  type Standing,
} from './limits.ts'
import type { Price, Prices } from './prices.ts'
import { type ReservationRow, type Reservations, reservationMachine } from './reservations.ts'
import { type Ending, settlementOf } from './settlement.ts'

/** One metered call, as its judges know it. */
export interface MeteredCall extends Payer, Asked {
  /** The agent of the task at the root. */
  rootAgent: string | null
  upstream: string
  /** As the request names it. */
  model: string
  /** Nothing costs money there: `price: free`. */
  free: boolean
}

export interface Reservation {
  id: string
  /** The output cap to write into the body; 0 where the shape has none. */
  cap: number
  reservedUsd: number
  priceVersion: string
  /** The canonical name of the model. */
  model: string
}

/** What a call takes, and the accounts that it fits below; true until any account moves. */
interface Fit {
  kind: 'fits'
  call: MeteredCall
  price: Price | undefined
  bound: Bound
  atMs: number
  day: string
  moves: number
}

export type Verdict =
  | Fit
  /** It fits without the reserves of others. `lacking`: accounts that they stand in. */
  | { kind: 'wait'; lacking: readonly string[]; why: string }
  /** Only the bound of its input exceeds a limit: the provider's counting endpoint can say better (`counted`). */
  | { kind: 'count'; error: HubError }
  | { kind: 'refused'; error: HubError }

export interface Settled {
  id: string
  state: ReservationRow['state']
  usd: number
  reservedUsd: number
  model: string
  tokens: Pick<Tokens, 'input' | 'output'>
  /** Why the upstream's figures are not believed; the operator has to hear of it. */
  odd: string | undefined
  /** They are believed, and are above the reserve; the operator has to hear of that too. */
  isAbove: boolean
  /** For the record: model, tokens, money. */
  text: string
  /** Limits on money of which half, four fifths or all is used now. Each is told once. */
  crossings: readonly Crossing[]
}

export interface Budget {
  /** What `reserve` would do now. Reads only. Throws `config_invalid` while the prices have a fault. */
  judge(call: MeteredCall): Verdict
  /**
   * The effect of `egress.request` for a metered call. Throws `model_unknown`, `budget_exceeded` or `budget_busy`. With
   * the fact `needsCount` a count of the input would help. `verdict`: of this call in the same step. One of another call, or from before
   * an account moved, counts for nothing: the call is judged anew (B2).
   */
  reserve(grant: Grant, call: MeteredCall, verdict?: Verdict): Reservation
  /** The effect of `egress.settle`. The second time it answers what the first did. Undefined for an id that nobody knows. */
  settle(grant: Grant, id: string, ending: Ending): Settled | undefined
  /** The effect of `egress.settle` after a call was refused for want of money: which limits are told as used up now, once each. */
  stopped(grant: Grant, call: MeteredCall): readonly Crossing[]
  /** Whether `stopped` would tell anything. Reads only. */
  isStopNews(call: MeteredCall): boolean
  /** How many reservations are open. */
  openCount(): number
  /** Settles what is open at the reserve. The effect of `egress.settle`, at a start. */
  settleOpen(grant: Grant): readonly Settled[]
  /** Keys of the accounts with limits that a call counts towards, without the day of the hub, which everybody's calls do. */
  touches(call: MeteredCall): readonly string[]
}

/** How long the counts of an upstream are not believed after one that was too low. */
const COUNTS_REST_MS = 86_400_000
const DAYS_KEPT_MS = 400 * 86_400_000

export interface BudgetParts {
  settings: BudgetSettings
  reservations: Reservations
  accounts: Accounts
  prices: Prices
  days: Days
  random: Random
  /** The `budget` of an agent's row. */
  rowOf: (agent: string) => RowBudget | undefined
  /** The agent of the task at the root of a tree. */
  agentOf: (root: string) => string | null
  /** Hears of each call that was settled, in its transaction. */
  onSettled: (row: ReservationRow) => void
}

/** An account with limits, its row in the table, and what is in it. */
type Held = Standing & { ref: AccountRef | undefined }

export function createBudget(parts: BudgetParts): Budget {
  const { settings, reservations, accounts, prices, days, random, rowOf, agentOf, onSettled } = parts

  const now = () => ({ atMs: days.nowMs(), day: days.now(() => accounts.list('day', '', 1)[0]?.key) })

  /** Every account that has limits for this call. `isOfTree`: of the tree its own limit, which the row of a descendant does not lower. */
  function standingsOf(
    call: Pick<MeteredCall, keyof Payer | 'rootAgent'>,
    isOfTree = false,
    { atMs, day }: Pick<Fit, 'atMs' | 'day'> = now(),
  ): Held[] {
    const slot = slotOf(atMs)
    const refs = refsOf(call, day, slot)
    const rows = { own: rowOf(call.agent), root: call.rootAgent === null ? undefined : rowOf(call.rootAgent) }
    const limits = (scope: Limited, raised = 0): Limits =>
      limitsOf(settings, scope, isOfTree && scope === 'tree' ? { ...rows, own: undefined } : rows, raised)
    const held = (scope: Limited, of: AccountRef['scope']): Held => {
      const ref = refs.find((each) => each.scope === of)
      const account = accounts.get(of, ref?.key ?? '')
      const raised = of === 'tree' ? account.raisedUsd : 0
      return { scope, key: `${of} ${ref?.key}`, limits: limits(scope, raised), account, ref }
    }
    const none = { spentUsd: 0, heldUsd: 0, input: 0, heldInput: 0, output: 0, heldOutput: 0, calls: 0 }
    return [
      { scope: 'call', key: 'call', limits: limits('call'), account: none, ref: undefined },
      held('attempt', 'attempt'),
      held('tree', 'tree'),
      held('agentDay', 'agent_day'),
      held('day', 'day'),
      {
        scope: 'hour',
        key: `hour ${call.agent}`,
        limits: limits('hour'),
        account: hourOf(accounts, call.agent, slot),
        ref: undefined,
      },
    ]
  }

  const priceOf = ({ free, upstream, model }: MeteredCall): Price | undefined =>
    free ? undefined : prices.require(upstream, model)

  /** What counted too little of late counts nothing (B6). */
  const isBelieved = ({ upstream }: MeteredCall): boolean =>
    !reservations.isUndercounted(upstream, days.nowMs() - COUNTS_REST_MS)
  const countOf = (call: MeteredCall): number | undefined =>
    call.counted !== undefined && isBelieved(call) ? call.counted : undefined

  function bound(call: MeteredCall, price: Price | undefined): Bound {
    const prefix = reservations.prefix({ ...call, model: price?.model ?? call.model }, call.prefixes)
    return boundOf({ ...call, counted: countOf(call) }, prefix, price)
  }

  function judge(call: MeteredCall): Verdict {
    try {
      const price = priceOf(call)
      const at = now()
      const standings = standingsOf(call, false, at)
      const most = bound(call, price)
      const found = judgeNeed(most.need, standings, call.free)
      if (found.kind === 'fits') return { ...found, call, price, bound: most, ...at, moves: accounts.moves() }
      if (found.kind === 'wait')
        return { ...found, why: 'what is left of a budget is reserved by calls that are under way' }
      const mayHelp = call.counted === undefined && canCount(call.shape)
      const wouldHelp = mayHelp && judgeNeed(withoutInput(call, price).need, standings, call.free).kind !== 'exceeded'
      const needsCount = wouldHelp && isBelieved(call)
      const facts = { scope: found.scope, measure: found.measure, limit: found.limit, needsCount }
      const counts = wouldHelp && !needsCount ? `; ${call.upstream} counted too little of late, so it is not asked` : ''
      const error = new HubError('budget_exceeded', `${exceededText(found, call)}${counts}`, { facts })
      return { kind: needsCount ? 'count' : 'refused', error }
    } catch (thrown) {
      if (!(thrown instanceof HubError)) throw thrown
      return { kind: 'refused', error: thrown }
    }
  }

  const isOfNow = (verdict: Verdict | undefined, call: MeteredCall): verdict is Fit =>
    verdict?.kind === 'fits' && verdict.call === call && verdict.moves === accounts.moves()

  function reserve(grant: Grant, call: MeteredCall, given?: Verdict): Reservation {
    assertGrant(grant, 'egress.request', 'egress.settle')
    const verdict = isOfNow(given, call) ? given : judge(call)
    if (verdict.kind === 'wait') throw new HubError('budget_busy', verdict.why)
    if (verdict.kind !== 'fits') throw verdict.error
    const { price, atMs, day } = verdict
    const { cap, need, surcharges, uses } = verdict.bound
    const slot = slotOf(atMs)
    const id = newUuid(random, atMs)
    const { session, attempt, task, root, agent, upstream, shape, choices, inputBytes } = call
    const model = price?.model ?? call.model
    const priceVersion = price?.version ?? 'free'
    reservations.insert({
      ...{
        id,
        session,
        attempt,
        task,
        root,
        agent,
        upstream,
        shape,
        model,
        price: price === undefined ? null : { ...price, heldUses: uses },
        priceVersion,
      },
      ...{ surcharges, day, slot, cap, choices, inputBytes, requestHash: call.prefixes[0]?.hash ?? null, atMs },
      counted: countOf(call) ?? null,
      ...{ reservedUsd: need.usd, reservedInput: need.input, reservedOutput: need.output },
    })
    const change = { heldUsd: need.usd, heldInput: need.input, heldOutput: need.output, calls: 1 }
    const added = refsOf(call, day, slot).map((ref) => accounts.add(ref, change, atMs))
    // The first call of some minutes takes what nobody asks about any more with it.
    if (added.at(-1)?.calls === 1)
      accounts.forget({ slotMs: atMs - 2 * SLOTS_OF_AN_HOUR * SLOT_MS, dayMs: atMs - DAYS_KEPT_MS })
    return { id, cap, reservedUsd: need.usd, priceVersion, model }
  }

  function settleRow(row: ReservationRow, ending: Ending): Settled {
    const atMs = days.nowMs()
    const { odd, isAbove, ...settlement } = settlementOf(row, ending)
    const { usd, input, output, state } = settlement
    reservations.settle(row.id, { ...settlement, settledAtMs: atMs })
    const change = {
      ...{ heldUsd: -row.reservedUsd, heldInput: -row.reservedInput, heldOutput: -row.reservedOutput },
      ...{ spentUsd: usd, estimatedUsd: state === 'estimated' ? usd : 0, input, output },
    }
    moveAccounts(accounts, row, change, atMs)
    const settled = { ...row, ...settlement }
    onSettled(settled)
    return { ...told(settled), odd, isAbove, crossings: crossingsOf(row, atMs) }
  }
  function told({ id, state, usd, reservedUsd, model, input, wholeInput: whole, output, why }: ReservationRow) {
    const cost = `${dollarsText(usd ?? 0)} USD of ${dollarsText(reservedUsd)} reserved`
    const text = `${state}: model ${model}, ${whole ?? 0} in, ${output ?? 0} out, ${cost}${why === '' ? '' : ` (${why})`}`
    return {
      id,
      state,
      usd: usd ?? 0,
      reservedUsd,
      model,
      ...{ text, odd: undefined, isAbove: false },
      tokens: { input: input ?? 0, output: output ?? 0 },
    }
  }

  /** Whether nobody was told yet that this account is used up. */
  const isUntold = ({ ref }: Held): boolean =>
    ref !== undefined && (accounts.get(ref.scope, ref.key).told & ALL_USED) === 0

  /** Whether a limit on money leaves too little for the call. */
  function lacksFor(call: MeteredCall): (standing: Held) => boolean {
    const { need } = bound(call, priceOf(call))
    return ({ limits, account }) => limits.usd !== undefined && account.spentUsd + need.usd > limits.usd
  }

  /** Marks that are passed now, each told once. */
  function crossingsOf(payer: Payer, atMs: number, isStopped?: (standing: Held) => boolean): Crossing[] {
    return standingsOf({ ...payer, rootAgent: agentOf(payer.root) }, true).flatMap((standing) => {
      const { ref } = standing
      if (ref === undefined) return []
      const account = accounts.get(ref.scope, ref.key)
      const soft = standing.scope === 'day' ? Math.min(settings.day.soft, settings.day.usd) : undefined
      const { crossings, bits } = crossedNow(
        { ...standing, account, soft, isStopped: isStopped?.(standing) === true },
        payer,
      )
      if (crossings.length > 0) accounts.set(ref, { told: account.told | bits }, atMs)
      return crossings
    })
  }

  return {
    judge,
    reserve,
    touches: (call) =>
      standingsOf(call).flatMap(({ key, scope }) => (scope === 'call' || scope === 'day' ? [] : [key])),
    settle(grant, id, ending) {
      assertGrant(grant, 'egress.settle')
      const row = reservations.find(id)
      if (row === undefined) return undefined
      if (!reservationMachine.may(row.state, 'estimated')) return { ...told(row), crossings: [] }
      return settleRow(row, ending)
    },
    stopped(grant, call) {
      assertGrant(grant, 'egress.settle')
      return call.free ? [] : crossingsOf(call, days.nowMs(), lacksFor(call))
    },
    isStopNews(call) {
      const lacks = lacksFor(call)
      return !call.free && standingsOf(call, true).some((held) => isUntold(held) && lacks(held))
    },
    openCount: () => reservations.open().length,
    settleOpen(grant) {
      assertGrant(grant, 'egress.settle')
      return reservations
        .open()
        .map((row) => settleRow(row, { kind: 'lost', why: 'the hub ended while it was under way' }))
    },
  }
}
