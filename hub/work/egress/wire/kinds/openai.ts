/** What passes to a server of OpenAI's API, and to those of the same form. */
import { byTable } from './endpoints.ts'

/** Azure names the version of its API in the query. */
const query = { 'api-version': /^[\w.-]{1,32}$/ }

export const openaiRule = byTable(
  [
    { method: 'POST', path: /^\/v1\/chat\/completions$/, class: 'metered', shape: 'chat', query },
    { method: 'POST', path: /^\/v1\/responses$/, class: 'metered', shape: 'responses', query },
    { method: 'POST', path: /^\/v1\/embeddings$/, class: 'metered', shape: 'embeddings', query },
    { method: 'POST', path: /^\/v1\/responses\/input_tokens$/, class: 'free', shape: 'count', query },
    { method: 'GET', path: /^\/v1\/models$/, class: 'free', query },
    { method: 'GET', path: /^\/v1\/models\/[\w.:@-]{1,200}(?:\/[\w.:@-]{1,200})?$/, class: 'free', query },
  ],
  [
    [
      /^\/v1\/(?:files|uploads|vector_stores|containers)/,
      'what is stored at the provider is never passed; send bytes inline',
    ],
    [/^\/v1\/batches/, 'batches run on when nobody waits for them, and are never passed'],
    [/^\/v1\/(?:assistants|threads|conversations)/, 'conversations that are stored at the provider are never passed'],
    [/^\/v1\/realtime/, 'realtime sessions are never passed: nothing in them can be judged or counted'],
    [/^\/v1\/responses\/./, 'answers that are stored at the provider are never passed: `store` is always false'],
    [
      /^\/v1\/(?:completions|images|audio|videos|moderations|fine_tuning|evals)/,
      'this has no price here, and is not passed',
    ],
    [
      /^\/(?:chat|responses|embeddings|models)/,
      'begin the path with /v1: set the base URL to http://127.0.0.1:47080/up/NAME/v1',
    ],
  ],
)
