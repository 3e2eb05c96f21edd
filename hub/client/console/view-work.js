/** What agents ask, what is wrong, and what runs. All text of agents is cleaned and kept within its box. */
import { html } from './html.js'
import { Act, Pill, Section } from './pieces.js'
import { OpenTask, reasonOf } from './view-task.js'
import { brief, clean, cleanLines, distance, shortDate, spanWords } from './words.js'

/** @import { Approval, Task } from '../console-types/state.ts' */
/** @import { Model } from './model.js' */

const TASK_TONES = {
  running: 'live',
  queued: 'soft',
  succeeded: 'good',
  failed: 'bad',
  timed_out: 'bad',
  cancelled: 'soft',
}
/** @type {Readonly<Record<string, string>>} */
const SESSION_WORDS = { provisioning: 'starting', input_required: 'asks you', recycling: 'ending' }
/** As `hub/protocol/asked-words.ts` says it. @type {Readonly<Record<string, string>>} */
const TIER_WORDS = {
  read: 'it only shows something',
  write: 'it says or stores something',
  execute: 'it starts something',
  destructive: 'it governs the hub, widens rights or deletes',
  external: 'it acts outside',
}
/** Of a tool. @type {Readonly<Record<string, string>>} */
const TOOL_TIER_WORDS = {
  read: 'it only looks',
  write: 'it changes files',
  execute: 'it runs something',
  destructive: 'it deletes, or widens what the program may do unasked',
  external: 'it reaches outside, or nobody knows what it does',
}
const SEVERITIES = ['critical', 'warning', 'info']
const ALERT_TONES = { critical: 'bad', warning: 'warn', info: 'soft' }

/** The hub accepts no longer question, so each can be read whole; a long one scrolls in its box, by keys too. */
const QUESTION_MAX = 4096
const QUESTION_SHORT = 300

/**
 * How long it waits. What is only asked again then has no such end: the time that is left is that to its next reminder.
 * @param {Approval} one
 * @param {Model} model
 */
function waitWords({ leftMs, onTimeout }, model) {
  if (typeof leftMs !== 'number') return ''
  if (onTimeout !== 'defer') return `, waits ${spanWords(leftMs)} more`
  return `, goes on waiting; the next reminder comes ${shortDate(model.nowMs() + leftMs, model.state.seen.presence?.presence?.zone)}`
}

/**
 * What a tool is given, for a person to read.
 * @param {any} facts
 */
const givenText = (facts) =>
  facts?.arguments === undefined ? '' : `given: ${JSON.stringify(facts.arguments, null, 1)}`

/** @param {{ one: Approval, model: Model }} props */
function Approval({ one, model }) {
  const { isBusy = false, problem = '' } = model.state.answers[one.id] ?? {}
  const isOff = isBusy || !model.can('approve')
  /** @param {any} event of the form */
  const submit = (event) => {
    event.preventDefault()
    const form = event.currentTarget
    model.answer(one.id, event.submitter?.value === 'yes', form.elements.text.value)
  }
  const isAct = typeof one.operation === 'string'
  return html`
    <li>
      <p><b>${one.kind === 'budget' ? 'The hub' : isAct ? 'A rule' : clean(one.agent ?? 'an agent', 63)}</b> asks <span class="soft">${distance(one.askedAtMs, model.nowMs())}${one.task && html`, task <span class="mono">${brief(one.task)}</span>`}${waitWords(one, model)}</span></p>
      ${
        isAct &&
        html`
          <p>May <b>${clean(one.principal, 200)}</b> use <b>${clean(one.operation, 40)}</b> on <span class="mono">${clean(one.resource, 200)}</span>?</p>
          <p class="soft">What it can do: ${TIER_WORDS[one.tier] ?? clean(one.tier, 20)}. All of it: <code>hub approval show ${brief(one.id)}</code></p>`
      }
      ${one.kind === 'tool' && html`<p class="soft">What it can do: ${TOOL_TIER_WORDS[one.tier] ?? clean(one.tier, 20)}. All of it: <code>hub approval show ${brief(one.id)}</code></p>`}
      <blockquote class="said" tabindex=${one.question.length > QUESTION_SHORT ? '0' : undefined}>${cleanLines(one.question, QUESTION_MAX)}${one.kind === 'tool' && html`<br />${cleanLines(givenText(one.about?.facts), QUESTION_MAX)}`}</blockquote>
      <form onSubmit=${submit}>
        <label>Answer <input name="text" maxlength="4096" autocomplete="off" disabled=${isOff} /></label>
        <div class="buttons">
          <button type="submit" name="answer" value="yes" class="yes" disabled=${isOff}>Approve</button>
          <button type="submit" name="answer" value="no" disabled=${isOff}>Reject</button>
        </div>
      </form>
      ${problem !== '' && html`<p class="bad" role="alert">${problem}</p>`}
    </li>`
}

/** @param {{ model: Model }} props */
export function Approvals({ model }) {
  const open = model.state.seen.approvals?.approvals ?? []
  if (open.length === 0) return null
  return html`
    <${Section} id="approvals" title="Waiting for you" count=${open.length}>
      ${!model.can('approve') && html`<p class="soft">This console may not answer; in a terminal: <code>hub approve ID</code>.</p>`}
      <ul class="list">${open.map((one) => html`<${Approval} key=${one.id} one=${one} model=${model} />`)}</ul>
    <//>`
}

/** @param {{ model: Model }} props */
export function Alerts({ model }) {
  const { alerts } = model.state.seen
  // Questions are first on the page, where they can be answered.
  const open = (alerts?.alerts ?? [])
    .filter(({ cause }) => !/^(question|approval):/.test(cause))
    .sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity))
  return html`
    <${Section} id="alerts" title="Alerts" count=${open.length === 0 ? undefined : open.length}>
      ${alerts === undefined && html`<p class="soft">Not known yet.</p>`}
      ${alerts !== undefined && open.length === 0 && html`<p class="soft">None. All is well.</p>`}
      <ul class="list">
        ${open.map(
          (one) => html`
            <li key=${one.id}>
              <p><${Pill} tone=${ALERT_TONES[one.severity] ?? 'bad'}>${clean(one.severity, 20)}<//><b>${clean(one.cause, 80)}</b> <span class="soft">${distance(one.raisedAtMs, model.nowMs())}</span></p>
              <p class="said">${cleanLines(one.text)}</p>
              ${
                one.holds &&
                html`
                  <p class="soft">It keeps the hub in safe mode. Once you have dealt with it: <code>hub resume --alert ${clean(one.id, 40)}</code></p>
                  <${Act} model=${model} name=${`alert:${one.id}`} right="resume" path="/v1/mode/resume" body=${{ alert: one.id }}>I have dealt with it<//>`
              }
            </li>`,
        )}
      </ul>
    <//>`
}

/** @param {{ progress: Task['progress'] | undefined }} props */
function Progress({ progress }) {
  if (!progress) return null
  const { text, done, total } = progress
  const hasBar = typeof done === 'number' && typeof total === 'number' && total > 0
  return html`
    <p class="said">${clean(text, 300)}${hasBar && ` (${done} of ${total})`}</p>
    ${hasBar && html`<progress max=${total} value=${Math.min(done, total)} aria-label="how far it is"></progress>`}`
}

/** @param {{ model: Model }} props */
export function Sessions({ model }) {
  const { sessions, running } = model.state.seen
  const open = sessions?.sessions ?? []
  const tasks = new Map((running?.tasks ?? []).map((task) => [task.id, task]))
  const nowMs = model.nowMs()
  return html`
    <${Section} id="sessions" title="Running now" count=${open.length === 0 ? undefined : open.length}>
      ${sessions === undefined && html`<p class="soft">Not known yet.</p>`}
      ${sessions !== undefined && open.length === 0 && html`<p class="soft">Nothing runs.</p>`}
      <ul class="list">
        ${open.map(
          (one) => html`
            <li key=${one.id}>
              <p><${Pill} tone="live">${SESSION_WORDS[one.state] ?? clean(one.state, 20)}<//><b>${clean(one.agent, 63)}</b> <span class="mono soft">${brief(one.id, 16)}</span></p>
              <${Progress} progress=${tasks.get(one.task)?.progress} />
              <p class="soft">
                ${spanWords(nowMs - one.createdAtMs)} so far, at most ${spanWords(one.expiresAtMs - nowMs)} more
                ${typeof one.stalledSinceMs === 'number' && html`, <b class="warn">stalled ${spanWords(nowMs - one.stalledSinceMs)}</b>`}
              </p>
            </li>`,
        )}
      </ul>
    <//>`
}

/** @param {{ task: Task, model: Model }} props */
function Task({ task, model }) {
  const { id, state, agent, endedAtMs, startedAtMs, createdAtMs } = task
  const nowMs = model.nowMs()
  const isOpen = model.state.open?.id === id
  const isHeld = task.held && state === 'queued'
  const why = reasonOf(task)
  const when =
    endedAtMs !== null
      ? `ended ${distance(endedAtMs, nowMs)}`
      : startedAtMs !== null
        ? `for ${spanWords(nowMs - startedAtMs)}`
        : `waits for ${spanWords(nowMs - createdAtMs)}`
  return html`
    <li title=${shortDate(createdAtMs)}>
      <button type="button" class="row" aria-expanded=${isOpen ? 'true' : 'false'} onClick=${() => model.openTask(id)}>
        <${Pill} tone=${TASK_TONES[state] ?? 'soft'}>${isHeld ? 'held' : clean(state, 20).replace('_', ' ')}<//><b>${clean(agent ?? 'any agent', 63)}</b> <span class="mono soft">${brief(id)}</span> <span class="soft">${when}</span>
      </button>
      ${why !== '' && !isOpen && html`<p class=${state === 'succeeded' ? 'said warn' : 'said bad'}>${why}</p>`}
      ${task.waitsFor && html`<p class="said warn">${clean(task.waitsFor, 1000)}</p>`}
      ${isHeld && html`<${Act} model=${model} name=${`task:${id}`} right="resume" path=${`/v1/tasks/${encodeURIComponent(id)}/release`} body=${{}}>Let it start<//>`}
      ${isOpen && html`<${OpenTask} model=${model} id=${id} />`}
    </li>`
}

/** @param {{ model: Model }} props */
export function Tasks({ model }) {
  const { running, tasks } = model.state.seen
  const all = new Map([...(running?.tasks ?? []), ...(tasks?.tasks ?? [])].map((task) => [task.id, task]))
  return html`
    <${Section} id="tasks" title="Tasks">
      ${tasks === undefined && html`<p class="soft">Not known yet.</p>`}
      ${tasks !== undefined && all.size === 0 && html`<p class="soft">None yet. The first: <code>hub submit AGENT</code></p>`}
      <ul class="list tight">${[...all.values()].map((task) => html`<${Task} key=${task.id} task=${task} model=${model} />`)}</ul>
    <//>`
}
