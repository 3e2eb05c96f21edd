/** What passes to a server of the Gemini API. */
import { byTable, type Endpoint } from './endpoints.ts'

const MODELS = String.raw`^\/v1(?:beta|beta1|alpha)?\/models`
const NAMED = String.raw`${MODELS}\/(?<model>[A-Za-z0-9][\w.@-]{0,199})`
const post = (verb: string, rest: Pick<Endpoint, 'class' | 'shape' | 'query' | 'needs'>): Endpoint => ({
  method: 'POST',
  path: new RegExp(`${NAMED}:${verb}$`),
  ...rest,
})
const page = { pageSize: /^\d{1,4}$/, pageToken: /^[\w=-]{1,512}$/ }

export const googleRule = byTable(
  [
    post('generateContent', { class: 'metered', shape: 'generateContent' }),
    // Without `alt` the answer is one list that only ends when everything was said.
    post('streamGenerateContent', {
      ...{ class: 'metered', shape: 'generateContent' },
      ...{ query: { alt: /^sse$/ }, needs: ['alt'] },
    }),
    post('embedContent', { class: 'metered', shape: 'embedContent' }),
    post('batchEmbedContents', { class: 'metered', shape: 'embedContent' }),
    post('countTokens', { class: 'free', shape: 'count' }),
    { method: 'GET', path: new RegExp(`${MODELS}$`), class: 'free', query: page },
    { method: 'GET', path: new RegExp(`${NAMED.replace('?<model>', '')}$`), class: 'free' },
  ],
  [
    [
      /\/(?:files|cachedContents|corpora|fileSearchStores|tunedModels)/,
      'what is stored at the provider is never passed; send bytes inline',
    ],
    [
      /:(?:batchGenerateContent|asyncBatchEmbedContent|predictLongRunning)$/,
      'what runs on when nobody waits for it is never passed',
    ],
    [/\/interactions/, 'conversations that are stored at the provider are never passed'],
  ],
  ['key', 'access_token'],
)
