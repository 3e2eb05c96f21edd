/** The operator's page: starts the model, draws it whenever it changes, and each second for the spans in it. */
import { html, render } from './html.js'
import { createModel } from './model.js'
import { Page } from './view.js'

const root = /** @type {HTMLElement} */ (document.getElementById('page'))
let isDue = false

function draw() {
  if (isDue) return
  isDue = true
  queueMicrotask(() => {
    isDue = false
    render(html`<${Page} model=${model} />`, root)
  })
}

const model = createModel(draw)
root.replaceChildren()
addEventListener('hashchange', model.addressChanged)
setInterval(draw, 1000)
model.start()
