/** `hub budget`: what models cost so far, more for a task, and what a call cost in truth. `hub upstream price`: what a model costs. */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { isMap, parseDocument } from 'yaml'
import { didYouMean } from '../../../base/nearest.ts'
import type { AccountView, CallView } from '../../../protocol/budget.ts'
import { microOfArgument } from '../../../protocol/dollars.ts'
import { firstOf, judgeYaml } from '../../../protocol/judging.ts'
import { HOME_PRICES, homePricesShape } from '../../../protocol/prices.ts'
import type { Answered } from '../../answers.ts'
import { EXIT, Problem, toProblem, usage } from '../../problem.ts'
import { type Context, given, type Run, typed, wholeOption } from '../context.ts'
import { writeWhole } from '../home-files.ts'
import { shortId } from '../ids.ts'
import { configText } from '../setup/judge.ts'
import { clean, columns, countOf, type Paint } from '../text.ts'
import { nearestText, pauseText, usd } from './words.ts'

/** @throws Problem usage, naming what it is for */
function amountOf(text: string, what: string): number {
  const micro = microOfArgument(text)
  if (micro === undefined) throw usage(`${what}: ${JSON.stringify(text)} is no amount of US dollars; write 2 or 0.25`)
  return micro
}

const SCOPES: Readonly<Record<AccountView['scope'], string>> = {
  day: 'this hub, in the day',
  agentDay: 'agent, in the day',
  tree: 'task and all below it',
  task: 'task alone',
  attempt: 'attempt',
  session: 'session',
}
const nameOf = ({ scope, key }: AccountView): string =>
  scope === 'day' ? key : scope === 'agentDay' ? (key.split(' ')[1] ?? '') : shortId(key)

const accountRows = (accounts: readonly AccountView[], paint: Paint): string =>
  columns(
    ['OF', 'NAME', 'SPENT', 'LIMIT', 'RESERVED', 'ESTIMATED', 'TOKENS IN', 'OUT', 'CALLS'],
    accounts.map((account) => [
      ...[SCOPES[account.scope], nameOf(account), usd(account.spentUsd)],
      account.limitUsd === null ? '-' : usd(account.limitUsd),
      ...[account.heldUsd, account.estimatedUsd].map((micro) => (micro === 0 ? '-' : usd(micro))),
      ...[account.input, account.output, account.calls].map(String),
    ]),
    paint,
  )
const callRows = (calls: readonly CallView[], paint: Paint): string =>
  columns(
    ['CALL', 'AGENT', 'UPSTREAM', 'MODEL', 'STATE', 'COST', 'IN', 'OUT', 'WHY'],
    calls.map((call) => [
      ...[call.id, call.agent, call.upstream, call.model, call.state],
      call.usd === null ? `up to ${usd(call.reservedUsd)}` : usd(call.usd),
      ...[call.input ?? '-', call.output ?? '-'].map(String),
      call.why === '' ? '-' : call.why,
    ]),
    paint,
  )

export const budgetShow: Run = async ({ hub, json, terminal }, _, options) => {
  const request = given({ task: typed(options.task), agent: typed(options.agent), day: typed(options.day) })
  const answer = await hub.call('budget.show', request)
  if (json) {
    terminal.json(answer)
    return EXIT.done
  }
  const { accounts, calls, pauses, waiting, nearest } = answer
  terminal.out(accountRows(accounts, terminal.paint))
  if (calls.length > 0) terminal.out(callRows(calls, terminal.paint))
  // An earlier hub says none.
  if (nearest) terminal.out(`nearest: ${nearestText(nearest)}`)
  for (const pause of pauses) terminal.out(`the quota of ${pauseText(pause, Date.now())}`)
  if (waiting > 0) terminal.out(`${countOf(waiting, 'call waits', 'calls wait')} for money that others have reserved`)
  return EXIT.done
}

export const budgetRaise: Run = async ({ hub, json, terminal }, [task = '', amount = '']) => {
  const answer = await hub.call('budget.raise', { id: task, usd: amountOf(amount, 'the amount') })
  if (json) terminal.json(answer)
  else terminal.out(`the tree of ${shortId(answer.root)} may spend ${usd(answer.limitUsd)} in all`)
  return EXIT.done
}

export const budgetSettle: Run = async ({ hub, json, terminal }, [id = '', amount = '']) => {
  const { call } = await hub.call('budget.settle', { id, usd: amountOf(amount, 'the amount') })
  if (json) terminal.json(call)
  else terminal.out(`the call ${call.id} cost ${usd(call.usd ?? 0)}`)
  return EXIT.done
}

/** Figures of a price on the command line, in dollars for a million tokens. */
const RATES = { input: 'input', output: 'output', cacheRead: 'cacheRead', cacheWrite: 'cacheWrite' } as const

type Price = Answered<'upstream.price'>['price']
function priceText(price: Price): string {
  const rates = ['input', 'output', 'cacheRead', 'cacheWrite', 'cacheWrite1h', 'audioInput'] as const
  const lines = rates.flatMap((key) =>
    price[key] === undefined ? [] : [`${key}: ${usd(price[key])} for a million tokens`],
  )
  const above =
    price.above === undefined
      ? []
      : [`above ${price.above.tokens} tokens: ${usd(price.above.input)} in, ${usd(price.above.output)} out`]
  return [`${price.model} (${price.source})`, ...lines, ...above].join('\n')
}

/** With prices it writes them into the home's file; then, and without any, it shows what is in force. */
export const upstreamPrice: Run = async (context, [upstream = '', model = ''], options) => {
  const figures = Object.entries(RATES).flatMap(([key, name]) =>
    options[key] === undefined ? [] : [[name, amountOf(String(options[key]), `--${key}`)] as const],
  )
  const counts = Object.entries({ maxInput: '--max-input', maxOutput: '--max-output' }).flatMap(([key, option]) => {
    const count = wholeOption(option, options[key], 1, 100_000_000)
    return count === undefined ? [] : [[key, count] as const]
  })
  const written = [...figures, ...counts]
  if (written.length > 0) writePrice(context, [upstream, model], Object.fromEntries(written))
  return show(context, upstream, model, written.length > 0)
}

async function show({ hub, json, terminal }: Context, name: string, model: string, isWritten: boolean) {
  try {
    const { price } = await hub.call('upstream.price', { name, model })
    if (json) terminal.json(price)
    else terminal.out(priceText(price))
  } catch (thrown) {
    if (!isWritten || toProblem(thrown).code !== 'unreachable') throw thrown
    terminal.note('it is written; the hub does not run, and reads it when it does')
  }
  return EXIT.done
}

/** @throws Problem if there is no such upstream, or the file would have a fault then; nothing was written */
function writePrice({ home, terminal }: Context, [upstream, model]: [string, string], figures: Record<string, number>) {
  const declared = parseDocument(configText(home).toString('utf8')).get('upstreams')
  const names = isMap(declared) ? declared.items.map(({ key }) => String(key)) : []
  if (!names.includes(upstream))
    throw usage(
      `no upstream ${JSON.stringify(clean(upstream))} is declared in hub.yaml${didYouMean(upstream, names)}; nothing was written`,
      'declare it first: `hub upstream add`',
    )
  const file = path.join(home, HOME_PRICES)
  const document = parseDocument(existsSync(file) ? readFileSync(file, 'utf8') : '')
  const place = ['upstreams', upstream, 'models', model]
  for (const [key, value] of Object.entries(figures)) document.setIn([...place, key], value)
  const text = document.toString()
  const { faults } = judgeYaml(text, homePricesShape)
  if (faults.length > 0)
    throw new Problem(
      'config_invalid',
      'refused',
      `${file} would have a fault: ${firstOf(faults)}`,
      'give the prices that are missing',
    )
  writeWhole(file, text)
  terminal.note(`written to ${file}`)
}
