/** Money in words, as `hub status`, `hub task show` and `hub budget show` say it. Pure. */
import type { BudgetView, Nearest, TaskMoney } from '../../../protocol/budget.ts'
import { dollarsText } from '../../../protocol/dollars.ts'
import { shortId } from '../ids.ts'
import { type Cell, clean, countOf, type Style, whenText } from '../text.ts'

type Row = [string, Cell]

export const usd = (micro: number): string => `${dollarsText(micro)} USD`

const SCOPES: Readonly<Record<Nearest['scope'], (key: string) => string>> = {
  day: () => 'this hub today',
  agentDay: (agent) => `agent ${agent} today`,
  hour: (agent) => `agent ${agent} within an hour`,
  tree: (root) => `tree of ${shortId(root)}`,
  attempt: (task) => `attempt of ${shortId(task)}`,
}
const MEASURES: Readonly<Record<Exclude<Nearest['measure'], 'usd'>, string>> = {
  tokens: 'tokens',
  calls: 'calls',
  input: 'tokens sent',
  output: 'tokens received',
}

/** `tree of 3718ca9e, 1.60 of 2.00 USD`. */
export function nearestText({ scope, key, measure, used, limit }: Nearest): string {
  const of = clean(SCOPES[scope](key))
  return measure === 'usd'
    ? `${of}, ${dollarsText(used)} of ${usd(limit)}`
    : `${of}, ${used} of ${limit} ${MEASURES[measure]}`
}

/** `0.20 of it estimated` and the like: each part only if there is one. */
const partsText = (parts: readonly [micro: number, what: string][]): string =>
  parts.flatMap(([micro, what]) => (micro === 0 ? [] : [`, ${usd(micro)} ${what}`])).join('')

/** Yellow from four fifths on, red once nothing is left. */
function styleOf(used: number, limit: number | null): Style | undefined {
  if (limit === null || used * 5 < limit * 4) return undefined
  return used >= limit ? 'red' : 'yellow'
}
const cell = (text: string, style: Style | undefined): Cell => (style === undefined ? text : { text, style })

const AGENTS_SHOWN = 3

const ofLimit = (used: number, limit: number | null, what: string): string =>
  `${used}${limit === null ? '' : ` of ${limit}`} ${what}`

/** A quota that is used up: until when, and the command that says more. */
export const pauseText = ({ upstream, untilMs, why }: BudgetView['pauses'][number], nowMs: number): string =>
  `${upstream} is used up (${clean(why)}); it is looked at again ${whenText(untilMs, nowMs)}: \`hub upstream list\``

/** What `hub status` shows of money: nothing where no upstream is declared. An earlier hub says less. */
export function moneyRows(view: Partial<BudgetView>, nowMs: number): Row[] {
  const { declared = [], accounts = [], pauses = [], hours = [], waiting = 0, nearest = null } = view
  const day = accounts.find(({ scope }) => scope === 'day')
  if (declared.length === 0 || day === undefined) return []
  const { spentUsd, estimatedUsd, heldUsd, limitUsd, calls } = day
  const spent = limitUsd === null ? usd(spentUsd) : `${dollarsText(spentUsd)} of ${usd(limitUsd)}`
  const parts = partsText([
    [estimatedUsd, 'of it estimated'],
    [heldUsd, 'reserved'],
  ])
  const waits = waiting === 0 ? '' : `, ${countOf(waiting, 'call waits', 'calls wait')} for what is reserved`
  const text = `${spent} today${parts}, ${countOf(calls, 'call')}${waits}`
  return [
    ['money', cell(text, styleOf(spentUsd, limitUsd))],
    ...(nearest === null
      ? []
      : [['', cell(`nearest: ${nearestText(nearest)}`, styleOf(nearest.used, nearest.limit))] satisfies Row]),
    ...hours
      .filter(({ inputLimit, outputLimit }) => inputLimit !== null || outputLimit !== null)
      .slice(0, AGENTS_SHOWN)
      .map(({ agent, input, inputLimit, output, outputLimit }, at): Row => {
        const words = `${agent}: ${ofLimit(input, inputLimit, 'sent')}, ${ofLimit(output, outputLimit, 'received')} within an hour`
        return [at === 0 ? 'tokens' : '', cell(words, styleOf(input, inputLimit) ?? styleOf(output, outputLimit))]
      }),
    ...pauses.map((pause, at): Row => [at === 0 ? 'quota' : '', { text: pauseText(pause, nowMs), style: 'yellow' }]),
  ]
}

/** Of a task: it alone, if others share its tree, and the tree with its limit. */
export function costRows({ task, tree }: TaskMoney): Row[] {
  const text = (of: TaskMoney['task']) =>
    `${of.limitUsd === null ? usd(of.spentUsd) : `${dollarsText(of.spentUsd)} of ${usd(of.limitUsd)}`}${partsText([
      [of.estimatedUsd, 'of it estimated'],
      [of.heldUsd, 'reserved'],
    ])}, ${countOf(of.calls, 'call')}, ${of.input} tokens sent, ${of.output} received`
  return [
    ['cost', text(task)],
    ['its tree', cell(text(tree), styleOf(tree.spentUsd, tree.limitUsd))],
  ]
}
