/** The mode in words, and the operator's presence: when the next heartbeat is due, what happens without it, and the button that gives it. */
import { html } from './html.js'
import { Act, Said } from './pieces.js'
import { CONDITIONS, clean, dateText, distance, MODES, shortDate, spanWords } from './words.js'

/** @import { Beat, Condition, Deadlines } from '../console-types/state.ts' */
/** @import { Model } from './model.js' */

const TONES = { normal: 'good', degraded: 'warn', safe: 'bad', draining: 'warn' }

/** @param {{ one: Condition, nowMs: number, zone?: string }} props */
function Condition({ one, nowMs, zone }) {
  const what = CONDITIONS[one.name] ?? clean(one.name, 63)
  const orHere = one.name === 'heartbeat_missed' ? ', or the button below' : ''
  return html`
    <li>
      <b>${what}</b> <span class="said">${clean(one.reason, 500)}</span>
      <p class="soft">Since ${shortDate(one.sinceMs, zone)}, ${distance(one.sinceMs, nowMs)}. Ends by <${Said} text=${one.endsBy} />${orHere}.</p>
    </li>`
}

/** What a plain `hub resume` ends. A critical alert has its own button; accepting a head of the log needs the command. */
const RESUMABLE = new Set(['operator_request', 'emergency_stop', 'clock_fault'])

/** @param {{ model: Model }} props */
export function ModeBanner({ model }) {
  const { health, presence } = model.state.seen
  if (health === undefined) return null
  const zone = presence?.presence?.zone
  const { mode, conditions, running, queued, held, sessions } = health
  const [title, meaning] = MODES[mode] ?? [clean(mode, 40), '']
  const nowMs = model.nowMs()
  return html`
    <section class=${`card mode ${TONES[mode] ?? 'bad'}`} aria-labelledby="mode">
      <h1 id="mode">${title}</h1>
      <p class="unseen" role="status">The hub is in this mode: ${title}</p>
      <p>${meaning}</p>
      ${conditions.length > 0 && html`<ul class="conditions">${conditions.map((one) => html`<${Condition} key=${one.name} one=${one} nowMs=${nowMs} zone=${zone} />`)}</ul>`}
      ${conditions.some(({ name }) => RESUMABLE.has(name)) && html`<${Act} model=${model} name="resume" right="resume" path="/v1/mode/resume" body=${{}}>Resume<//>`}
      <dl class="counts">
        <div><dt>running</dt><dd>${running}</dd></div>
        <div><dt>queued</dt><dd>${queued - (held ?? 0)}</dd></div>
        <div><dt>held</dt><dd>${held ?? 0}</dd></div>
        <div><dt>sessions</dt><dd>${sessions}</dd></div>
      </dl>
    </section>`
}

/** @param {{ tone: string, title: string, atMs: number, zone: string, nowMs: number }} props */
const Step = ({ tone, title, atMs, zone, nowMs }) => html`
  <li class=${atMs <= nowMs ? `${tone} past` : tone}>
    <b>${title}</b>
    <span class="soft">${distance(atMs, nowMs)}</span>
    <span class="when">${dateText(atMs, zone)}</span>
  </li>`

/**
 * The answer to a heartbeat, and what is still in force.
 * @param {{ answer: Beat, nowMs: number }} props
 */
function Accepted({ answer, nowMs }) {
  const { dueAtMs, zone, conditions = [], held = 0 } = answer
  const holding = conditions.filter((name) => name !== 'away')
  return html`
    <p class="good" role="status">
      Accepted. ${conditions.includes('away') ? 'You are away until' : 'The next is due'} ${dateText(dueAtMs, zone)}, ${distance(dueAtMs, nowMs)}.
      ${holding.length > 0 && html` Still blocks new starts: ${holding.map((name) => CONDITIONS[name] ?? clean(name, 63)).join(' ')}`}
      ${held > 0 && html` ${held} tasks are held: <code>hub task release --all</code> or <code>hub task cancel --held</code>.`}
    </p>`
}

/** @param {{ presence: Deadlines, atMs: number, nowMs: number }} props */
function Deadlines({ presence, atMs, nowMs }) {
  const { zone, away } = presence
  /** @param {number} inMs */
  const isPast = (inMs) => atMs + inMs <= nowMs
  /** @type {(tone: string, title: string, inMs: number) => unknown} */
  const step = (tone, title, inMs) =>
    html`<${Step} tone=${tone} title=${title} atMs=${atMs + inMs} zone=${zone} nowMs=${nowMs} />`
  if (presence.stopped)
    return html`<p class="lead">The unattended stop is in force.</p><p>To end it, run <code>hub up</code> in a terminal, then give a heartbeat.</p>`
  if (presence.paused) return html`<p class="lead">Paused</p><p>This hub runs nothing, so no deadline counts.</p>`
  return html`
    ${away && html`<p>You are away until ${dateText(atMs + away.untilInMs, zone)}. ${away.keepWorking ? 'Agents keep working.' : 'Nothing new starts.'} <span class="said">${clean(away.note, 200)}</span></p>`}
    <ol class="steps">
      ${step('good', away ? 'Back by' : isPast(presence.dueInMs) ? 'The heartbeat was due' : 'Next heartbeat', presence.dueInMs)}
      ${step('warn', away ? 'Your contact is told' : isPast(presence.safeInMs) ? 'Nothing new starts, since' : 'Nothing new starts', presence.safeInMs)}
      ${step('bad', 'Everything stops', presence.stopInMs)}
    </ol>
    ${typeof presence.weakAgeMs === 'number' && html`<p class="soft">Last webhook heartbeat ${spanWords(presence.weakAgeMs)} ago; webhooks alone extend the deadline to ${shortDate(atMs + presence.weakMostInMs, zone)} at most.</p>`}
    ${presence.quiet && html`<p class="soft">Quiet hours: reminders wait until they end.</p>`}`
}

/**
 * The value of a field for date and time: this browser's own time, without a zone.
 * @param {number} atMs
 */
const fieldText = (atMs) => new Date(atMs - new Date(atMs).getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
const DAY_MS = 86_400_000

/**
 * Plans an absence, or ends it. It moves the deadlines, so it needs the rights of a strong heartbeat.
 * @param {{ model: Model, away: Deadlines['away'], nowMs: number }} props
 */
function Away({ model, away, nowMs }) {
  if (!model.can('heartbeat') || !model.can('resume')) return null
  if (away) return html`<${Act} model=${model} name="back" right="resume" path="/v1/back" body=${{}}>I am back<//>`
  const { isBusy = false, problem = '' } = model.state.acts.away ?? {}
  /** @param {any} event of the form */
  const submit = (event) => {
    event.preventDefault()
    const { until, note } = event.currentTarget.elements
    model.act('away', '/v1/away', { untilMs: new Date(until.value).getTime(), note: note.value })
  }
  return html`
    <details class="away">
      <summary>Going away?</summary>
      <p class="soft">Nothing new starts until you are back, running tasks finish, and nobody is reminded.</p>
      <form onSubmit=${submit}>
        <label>Back on <input type="datetime-local" name="until" required min=${fieldText(nowMs)} max=${fieldText(nowMs + 21 * DAY_MS)} disabled=${isBusy} /></label>
        <label>Note <input name="note" maxlength="198" autocomplete="off" disabled=${isBusy} /></label>
        <div class="buttons"><button type="submit" disabled=${isBusy}>Away until then</button></div>
      </form>
      ${problem !== '' && html`<p class="bad" role="alert">${problem}</p>`}
    </details>`
}

/** @param {{ model: Model }} props */
export function Presence({ model }) {
  const { seen, beat } = model.state
  const { presence = null, problem = '', atMs } = seen.presence ?? {}
  const nowMs = model.nowMs()
  const may = model.can('heartbeat')
  return html`
    <section class="card presence" aria-labelledby="presence">
      <div>
        <h2 id="presence">Your presence</h2>
        ${
          presence
            ? html`<${Deadlines} presence=${presence} atMs=${atMs} nowMs=${nowMs} />`
            : html`<p class="notice"><b>The deadlines are not known.</b> <${Said} text=${problem} /></p>`
        }
        ${presence && !presence.stopped && html`<${Away} model=${model} away=${presence.away} nowMs=${nowMs} />`}
      </div>
      <div class="beat">
        <button type="button" class="heartbeat" disabled=${!may || beat.isBusy} onClick=${model.heartbeat}>
          ${beat.isBusy ? 'Sending …' : 'Heartbeat'}
        </button>
        ${!may && html`<p class="soft">This console may not give heartbeats.</p>`}
        ${beat.answer && html`<${Accepted} answer=${beat.answer} nowMs=${nowMs} />`}
        ${beat.problem !== '' && html`<p class="bad" role="alert">Not accepted. <${Said} text=${beat.problem} /></p>`}
      </div>
    </section>`
}
