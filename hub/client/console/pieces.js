/** Small parts that every section uses. */
import { html } from './html.js'
import { parts } from './words.js'

/** @import { Model } from './model.js' */

/**
 * Text with its commands set as such.
 * @param {{ text: string }} props
 */
export const Said = ({ text }) =>
  parts(text).map(([part, isCommand]) => (isCommand ? html`<code>${part}</code>` : part))

/**
 * A section with its heading and, beside it, `count`.
 * @param {{ id: string, title: string, count?: number, children?: unknown }} props
 */
export const Section = ({ id, title, count, children }) => html`
  <section class="card" aria-labelledby=${id}>
    <h2 id=${id}>${title}${count === undefined ? null : html` <span class="count">${count}</span>`}</h2>
    ${children}
  </section>`

/** @param {{ tone: string, children?: unknown }} props */
export const Pill = ({ tone, children }) => html`<span class=${`pill ${tone}`}>${children}</span>`

/**
 * A button that asks the hub for one operation, and shows why it was refused. `name` tells it from the others.
 * @param {{ model: Model, name: string, right: string, path: string, body: object, children?: unknown }} props
 */
export function Act({ model, name, right, path, body, children }) {
  const { isBusy = false, problem = '' } = model.state.acts[name] ?? {}
  const may = model.can(right)
  return html`
    <div class="act">
      <button type="button" disabled=${!may || isBusy} title=${may ? undefined : `This console has no right to ${right}`} onClick=${() => model.act(name, path, body)}>${children}</button>
      ${problem !== '' && html`<p class="bad" role="alert">${problem}</p>`}
    </div>`
}
