/** Markup as tagged templates. Text becomes text nodes, never markup: nothing here or in the views sets HTML. */
import htm from './htm.js'
import { h, render } from './preact.js'

export const html = htm.bind(h)
export { render }
