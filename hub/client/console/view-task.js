/** One task, opened: its reason first, then its result, its artifacts by name and the end of its log. All of it is text of an agent. */
import { html } from './html.js'
import { Spent } from './view-money.js'
import { clean, cleanLines, distance, shortDate, sizeWords, spanWords } from './words.js'

/** @import { LogLine, Task } from '../console-types/state.ts' */
/** @import { Model } from './model.js' */

/** More of a log is for a terminal. */
const LINES_MAX = 200
const VALUE_MAX = 20_000

/**
 * Why a task failed, or what was lost of one that succeeded; else ''.
 * @param {Task} task
 */
export function reasonOf({ state, error, outcome }) {
  if (error) return `${cleanLines(error.detail, 4000)} (${clean(error.code, 40)})`
  const said = typeof outcome?.error === 'string' ? outcome.error : ''
  if (said !== '') return cleanLines(said, 4000)
  return state === 'failed' ? 'its agent gave no reason' : ''
}

/** @param {{ name: string, children?: unknown }} props */
const Fact = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`

/** @param {{ outcome: Task['outcome'] }} props */
function Result({ outcome }) {
  const value = outcome?.value
  if (value === undefined || value === null) return null
  const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2)
  return html`<h3>Result</h3><pre class="said log" tabindex="0">${cleanLines(text, VALUE_MAX)}</pre>`
}

/** @param {{ task: Task }} props */
function Artifacts({ task }) {
  if (task.artifacts.length === 0) return null
  return html`
    <h3>Artifacts</h3>
    <ul class="files">${task.artifacts.map((one) => html`<li key=${one.name}><span class="said">${clean(one.name, 300)}</span> <span class="soft">${sizeWords(one.size)}</span></li>`)}</ul>
    <p class="soft">To see them: <code>hub artifact list --task ${clean(task.id, 36)}</code> in a terminal.</p>`
}

/** @param {{ lines: LogLine[], zone?: string }} props */
function Log({ lines, zone }) {
  if (lines.length === 0) return html`<p class="soft">It logged nothing.</p>`
  const shown = lines.slice(-LINES_MAX)
  const text = shown.map(({ atMs, level, text: said }) => `${shortDate(atMs, zone)} ${level} ${said}`).join('\n')
  const more = lines.length > shown.length ? `, the last ${shown.length} of ${lines.length} lines` : ''
  return html`<h3>Log${more}</h3><pre class="said log" tabindex="0">${cleanLines(text, 40_000)}</pre>`
}

/** @param {{ model: Model, id: string }} props */
export function OpenTask({ model, id }) {
  const { open, seen } = model.state
  if (open === undefined) return null
  const { isBusy, problem, task, money, lines } = open
  const zone = seen.presence?.presence?.zone
  if (problem !== '') return html`<p class="bad" role="alert">${problem}</p>`
  if (task === undefined) return html`<p class="soft" role="status">Asking the hub …</p>`
  const nowMs = model.nowMs()
  const why = reasonOf(task)
  const { createdAtMs, startedAtMs, endedAtMs } = task
  return html`
    <div class="opened" id=${`task-${id}`}>
      ${why !== '' && html`<p class=${task.state === 'succeeded' ? 'said warn' : 'said bad'}>${why}</p>`}
      <dl class="facts">
        <${Fact} name="id"><span class="mono">${clean(task.id, 36)}</span><//>
        <${Fact} name="asked for">${shortDate(createdAtMs, zone)}, ${distance(createdAtMs, nowMs)}, by ${clean(task.requestedBy, 80)}<//>
        ${startedAtMs !== null && html`<${Fact} name=${endedAtMs === null ? 'works for' : 'took'}>${spanWords((endedAtMs ?? nowMs) - startedAtMs)}<//>`}
        ${task.attempts > 1 && html`<${Fact} name="attempts">${task.attempts}<//>`}
        ${money && html`<${Fact} name="cost"><${Spent} account=${money.task} /><//><${Fact} name="its tree"><${Spent} account=${money.tree} /><//>`}
        ${task.children > 0 && html`<${Fact} name="children">${task.children}<//>`}
      </dl>
      <${Result} outcome=${task.outcome} />
      <${Artifacts} task=${task} />
      <${Log} lines=${lines} zone=${zone} />
      <div class="buttons"><button type="button" class="quiet" disabled=${isBusy} onClick=${model.lookAtTask}>Look again</button></div>
    </div>`
}
