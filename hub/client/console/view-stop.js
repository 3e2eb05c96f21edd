/** Stop everything: asks once more, and follows the stop to its end. */
import { html } from './html.js'
import { clean } from './words.js'

/** @import { Stop, Stopping } from '../console-types/state.ts' */
/** @import { Model } from './model.js' */

/**
 * Opens as a modal: the rest of the page cannot be reached, Escape closes it, and Enter keeps everything running.
 * @param {HTMLDialogElement | null} dialog
 */
const openModal = (dialog) => {
  if (dialog !== null && !dialog.open) dialog.showModal()
}

/** @param {{ model: Model }} props */
export const StopDialog = ({ model }) => html`
  <dialog class="card" ref=${openModal} aria-labelledby="stop-title" onCancel=${(/** @type {Event} */ event) => {
    event.preventDefault()
    model.keepRunning()
  }}>
    <h2 id="stop-title">Stop everything?</h2>
    <p>Every session is told to finish, gets a few seconds and is then stopped. Then the hub ends. Nothing is deleted, and unfinished tasks are held. The watchdog stays.</p>
    <div class="buttons">
      <button type="button" autofocus onClick=${model.keepRunning}>Keep running</button>
      <button type="button" class="stop sure" onClick=${model.stopEverything}>Stop everything now</button>
    </div>
  </dialog>`

const Restarting = () => html`
  <h2>The hub is restarting</h2>
  <p class="soft">Agents keep working. This page continues by itself.</p>`

/** @param {Stopping} props */
const Progress = ({ requested, confirmed }) => html`
  <h2>Stopping${requested > 0 ? `: ${confirmed} of ${requested} confirmed` : ''}</h2>
  <progress class="red" max=${Math.max(1, requested)} value=${confirmed} aria-label="how far it is"></progress>
  <p class="soft">This takes up to a minute. This page updates by itself.</p>`

/**
 * Whether every container is confirmed gone.
 * @param {Stop} stop
 */
const isWhole = ({ report }) =>
  report !== undefined &&
  report.unproven === undefined &&
  report.containers.every(({ outcome }) => outcome !== 'failed')

/** @param {{ stop: Stop }} props */
function Ended({ stop }) {
  const { report, problem, isRefused, requested = 0, confirmed = 0 } = stop
  if (isRefused)
    return html`<h2 class="bad">Not stopped</h2><p>${problem}</p><p>In a terminal: <code>hub shutdown</code></p>`
  if (report === undefined)
    return html`
      <h2>The hub ended before it could answer</h2>
      <p>Last seen: ${confirmed} of ${requested} confirmed. In a terminal, <code>hub status</code> says what the watchdog sees, and <code>hub shutdown --emergency</code> stops whatever is left.</p>`
  const failed = report.containers.filter(({ outcome }) => outcome === 'failed')
  const gone = report.containers.length - failed.length
  if (failed.length > 0 || report.unproven !== undefined)
    return html`
      <h2 class="bad">Not everything has stopped</h2>
      <p>${gone} of ${report.requested} are confirmed gone. ${report.unproven !== undefined && html`The hub could not find out what is left: ${clean(report.unproven, 300)}.`} In a terminal: <code>hub shutdown --emergency</code></p>
      <ul>${failed.map((one) => html`<li key=${one.container}><span class="mono">${clean(one.container, 80)}</span> ${clean(one.reason, 200)}</li>`)}</ul>`
  return html`
    <h2 class="good">Everything has stopped</h2>
    <p>${report.requested === 0 ? 'No session ran.' : `${gone} of ${report.requested} confirmed gone.`} Nothing was deleted. To start again, run <code>hub up</code>. This page then continues.</p>`
}

/**
 * For this page's own stop, or one that somebody else began.
 * @param {{ model: Model }} props
 */
export function StopProgress({ model }) {
  const { stop, seen } = model.state
  const other = seen.health?.stopping
  if (stop?.stage === 'ended')
    return html`<section class=${isWhole(stop) ? 'card ended' : 'card stopping'} role="status"><${Ended} stop=${stop} /></section>`
  if (stop?.stage === 'stopping')
    return html`<section class="card stopping" role="status"><${Progress} ...${stop} /></section>`
  return other
    ? html`<section class="card stopping" role="status"><${other.exit === 'restart' ? Restarting : Progress} ...${other} /></section>`
    : null
}
