/** Money and quotas: what was spent today of its limit, what is nearest to its end, which upstreams wait, and what one task cost. */
import { html } from './html.js'
import { Section } from './pieces.js'
import { clean, distance, shortDate, usdWords } from './words.js'

/** @import { Budget, Money as Cost } from '../console-types/state.ts' */
/** @import { Model } from './model.js' */

/** As `hub/client/cli/money/words.ts` says it. @type {Readonly<Record<string, (key: string) => string>>} */
const SCOPES = {
  day: () => 'this hub today',
  agentDay: (agent) => `agent ${agent} today`,
  hour: (agent) => `agent ${agent} within an hour`,
  tree: (root) => `tree of ${root.slice(-8)}`,
  attempt: (task) => `attempt of ${task.slice(-8)}`,
}
/** @type {Readonly<Record<string, string>>} */
const MEASURES = { tokens: 'tokens', calls: 'calls', input: 'tokens sent', output: 'tokens received' }
const HOURS_SHOWN = 3

/** @param {NonNullable<Budget['nearest']>} nearest */
function nearestWords({ scope, key, measure, used, limit }) {
  const of = clean((SCOPES[scope] ?? ((/** @type {string} */ name) => name))(key), 80)
  return measure === 'usd'
    ? `${of}, ${usdWords(used)} of ${usdWords(limit)} USD`
    : `${of}, ${used} of ${limit} ${MEASURES[measure] ?? ''}`
}

/**
 * How much of it is used, by the marks at which alerts come.
 * @param {number} used
 * @param {number | null} limit
 */
const toneOf = (used, limit) => (limit === null || used * 5 < limit * 4 ? '' : used >= limit ? 'bad' : 'warn')

/**
 * `1.50 of 2.00 USD, 0.01 of it estimated, 0.20 reserved`.
 * @param {Cost['task']} account
 */
function spentWords({ spentUsd, limitUsd, estimatedUsd, heldUsd }) {
  const spent = limitUsd === null ? `${usdWords(spentUsd)} USD` : `${usdWords(spentUsd)} of ${usdWords(limitUsd)} USD`
  const estimated = estimatedUsd === 0 ? '' : `, ${usdWords(estimatedUsd)} of it estimated`
  return `${spent}${estimated}${heldUsd === 0 ? '' : `, ${usdWords(heldUsd)} reserved`}`
}

/** @param {{ account: Cost['task'] }} props */
export const Spent = ({ account }) => html`
  <span class=${toneOf(account.spentUsd, account.limitUsd)}>${spentWords(account)}</span><span class="soft">, ${account.calls} ${account.calls === 1 ? 'call' : 'calls'}, ${account.input} tokens sent, ${account.output} received</span>`

/** Nothing while no upstream is declared. @param {{ model: Model }} props */
export function Money({ model }) {
  const { budget, presence } = model.state.seen
  const day = budget?.accounts.find(({ scope }) => scope === 'day')
  if (budget === undefined || budget.declared.length === 0 || day === undefined) return null
  const { nearest, hours, pauses, waiting } = budget
  const zone = presence?.presence?.zone
  const limited = hours.filter(({ inputLimit, outputLimit }) => inputLimit !== null || outputLimit !== null)
  return html`
    <${Section} id="money" title="Money today">
      <p class="lead"><${Spent} account=${day} /></p>
      ${day.limitUsd !== null && html`<progress max=${Math.max(1, day.limitUsd)} value=${Math.min(day.spentUsd, day.limitUsd)} aria-label="spent today of its limit"></progress>`}
      ${waiting > 0 && html`<p>${waiting} ${waiting === 1 ? 'call waits' : 'calls wait'} for money that others have reserved.</p>`}
      ${nearest !== null && html`<p class=${toneOf(nearest.used, nearest.limit) || 'soft'}>Nearest limit: ${nearestWords(nearest)}</p>`}
      <ul class="list tight">
        ${pauses.map(
          (one) => html`
            <li key=${one.upstream}>
              <p class="warn">The quota of <b>${clean(one.upstream, 63)}</b> is used up (${clean(one.why, 80)}).</p>
              <p class="soft">It is looked at again ${shortDate(one.untilMs, zone)}, ${distance(one.untilMs, model.nowMs())}; until then nobody calls it.</p>
            </li>`,
        )}
        ${limited.slice(0, HOURS_SHOWN).map(
          (one) => html`
            <li key=${one.agent}>
              <p><b>${clean(one.agent, 63)}</b> within an hour: <span class=${toneOf(one.input, one.inputLimit)}>${one.input}${one.inputLimit !== null && ` of ${one.inputLimit}`} tokens sent</span>, <span class=${toneOf(one.output, one.outputLimit)}>${one.output}${one.outputLimit !== null && ` of ${one.outputLimit}`} received</span></p>
            </li>`,
        )}
      </ul>
    <//>`
}
