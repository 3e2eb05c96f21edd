/** What passes to a server of Anthropic's Messages API. */
import { byTable } from './endpoints.ts'

const beta = { beta: /^true$/ }
const page = { limit: /^\d{1,4}$/, before_id: /^[\w.:-]{1,128}$/, after_id: /^[\w.:-]{1,128}$/ }

export const anthropicRule = byTable(
  [
    { method: 'POST', path: /^\/v1\/messages$/, class: 'metered', shape: 'messages', query: beta },
    { method: 'POST', path: /^\/v1\/messages\/count_tokens$/, class: 'free', shape: 'count', query: beta },
    { method: 'GET', path: /^\/v1\/models$/, class: 'free', query: { ...beta, ...page } },
    { method: 'GET', path: /^\/v1\/models\/[\w.:@-]{1,200}$/, class: 'free', query: beta },
  ],
  [
    [/^\/v1\/messages\/batches/, 'batches run on when nobody waits for them, and are never passed'],
    [/^\/v1\/files/, 'files that are stored at the provider are never passed; send bytes inline'],
    [/^\/v1\/(?:skills|agents|sessions|environments|memory)/, 'what is stored or runs at the provider is never passed'],
    [/^\/api\//, 'only the Messages API passes; the client goes on without this'],
  ],
)
