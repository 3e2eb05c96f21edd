/** Small parts that every section uses. */
import { html } from './html.js'
import { parts } from './words.js'

/** Text with its commands set as such. */
export const Said = ({ text }) =>
  parts(text).map(([part, isCommand]) => (isCommand ? html`<code>${part}</code>` : part))

/** A section with its heading; `count` stands beside it. */
export const Section = ({ id, title, count, children }) => html`
  <section class="card" aria-labelledby=${id}>
    <h2 id=${id}>${title}${count === undefined ? null : html` <span class="count">${count}</span>`}</h2>
    ${children}
  </section>`

export const Pill = ({ tone, children }) => html`<span class=${`pill ${tone}`}>${children}</span>`

/** A button that gives one word to the hub, and what came of it where it was refused. `name` keeps one apart from the others. */
export function Act({ model, name, right, path, body, children }) {
  const { isBusy = false, problem = '' } = model.state.acts[name] ?? {}
  const may = model.can(right)
  return html`
    <div class="act">
      <button type="button" disabled=${!may || isBusy} title=${may ? undefined : `This console has no right to ${right}`} onClick=${() => model.act(name, path, body)}>${children}</button>
      ${problem !== '' && html`<p class="bad" role="alert">${problem}</p>`}
    </div>`
}
