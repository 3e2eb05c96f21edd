/** The page as a whole: the bar, the sign-in screen, and the sections in the order in which they matter. */
import { html } from './html.js'
import { Said } from './pieces.js'
import { Money } from './view-money.js'
import { ModeBanner, Presence } from './view-presence.js'
import { StopDialog, StopProgress } from './view-stop.js'
import { Alerts, Approvals, Sessions, Tasks } from './view-work.js'
import { brief, clean, distance } from './words.js'

/** @import { Model } from './model.js' */

/** @param {{ model: Model }} props */
function Bar({ model }) {
  const { session, isGone, isLive, stop } = model.state
  const [tone, word] = isGone ? ['bad', 'no answer'] : isLive ? ['good', 'live'] : ['soft', 'connecting']
  return html`
    <header class="bar">
      <span class="brand"><span class="mark" aria-hidden="true"></span>hub</span>
      ${session && html`<span class=${`line ${tone}`}><span class="dot" aria-hidden="true"></span>${word}</span>`}
      ${
        session &&
        html`<button type="button" class="stop" disabled=${!model.can('stop') || stop?.stage === 'stopping' || model.hasStopped()} onClick=${model.askStop}
          title=${model.can('stop') ? undefined : 'This console may not stop'}>Stop everything</button>`
      }
    </header>`
}

/** @param {{ model: Model }} props */
const SignIn = ({ model: { state } }) => html`
  <main class="alone card">
    <h1>${state.isJoining ? 'Opening the console' : 'Open the console'}</h1>
    ${state.signedOut !== '' && html`<p class="notice" role="alert"><${Said} text=${state.signedOut} /></p>`}
    ${
      !state.isJoining &&
      html`<p>On the machine of the hub, in a terminal, run</p>
        <pre><code>hub console</code></pre>
        <p>and open the link that it prints. It works once, for five minutes.</p>`
    }
  </main>`

/** @param {{ model: Model }} props */
function Gone({ model }) {
  const { seenAtMs } = model.state
  const since = seenAtMs === undefined ? '' : ` What you see is from ${distance(seenAtMs, Date.now())}.`
  return html`
    <div class="gone card" role="alert">
      <h2>The hub does not answer</h2>
      <p>
        This page keeps trying.${since} In a terminal, <code>hub status</code> says what is wrong, <code>hub up</code> starts it; <code>hub heartbeat</code> and <code>hub shutdown</code> work without it.
      </p>
      <button type="button" onClick=${model.retry}>Try now</button>
    </div>`
}

/** @param {{ model: Model }} props */
const Foot = ({ model }) => {
  const { session, seen } = model.state
  if (session === null) return null
  return html`
    <footer>
      <span>Console <b>${clean(session.name, 63)}</b>, may ${session.rights.join(', ')}; ends ${distance(session.expiresAtMs, model.nowMs())}</span>
      ${seen.health && html`<span>hub ${clean(seen.health.version, 40)}, instance <span class="mono">${brief(seen.health.instance)}</span></span>`}
      <button type="button" class="quiet" onClick=${model.leave}>Leave</button>
    </footer>`
}

/** @param {{ model: Model }} props */
export function Page({ model }) {
  const { session, seen, isGone, problem, stop } = model.state
  if (session === null) return html`<${Bar} model=${model} /><${SignIn} model=${model} />`
  const isNew = seen.health === undefined
  const isOld = isGone || model.hasStopped()
  return html`
    <${Bar} model=${model} />
    <main class=${isOld ? 'old' : undefined}>
      ${isGone && stop === undefined && html`<${Gone} model=${model} />`}
      ${problem !== '' && html`<p class="notice" role="alert">Not everything could be read. <${Said} text=${problem} /></p>`}
      <${StopProgress} model=${model} />
      ${isNew && !isGone && html`<p class="soft" role="status">Asking the hub …</p>`}
      ${!isNew && html`<${Approvals} model=${model} />`}
      ${!isNew && html`<${ModeBanner} model=${model} />`}
      ${!isNew && html`<${Presence} model=${model} />`}
      ${!isNew && html`<${Alerts} model=${model} />`}
      ${!isNew && html`<${Money} model=${model} />`}
      ${!isNew && html`<${Sessions} model=${model} /><${Tasks} model=${model} />`}
    </main>
    <${Foot} model=${model} />
    ${stop?.stage === 'ask' && html`<${StopDialog} model=${model} />`}`
}
