/** Judges the head of one request: method, target and headers, by the closed list of the upstream's kind (E3 to E6). */

import { placeholdersIn } from '../../../protocol/egress/placeholders.ts'
import type { Upstream, UpstreamKind } from '../../../protocol/egress/upstreams.ts'
import { type JudgedHeaders, judgeRequestHeaders } from './headers/request-headers.ts'
import { isRefused, type JudgedHead, type Refused, refused } from './judged.ts'
import { anthropicRule } from './kinds/anthropic.ts'
import type { Asked, KindRule } from './kinds/endpoints.ts'
import { gitRule } from './kinds/git.ts'
import { googleRule } from './kinds/google.ts'
import { httpRule } from './kinds/http.ts'
import { isArchive, npmRule } from './kinds/npm.ts'
import { openaiRule } from './kinds/openai.ts'
import { pypiRule } from './kinds/pypi.ts'
import { belowBase, parseTarget, queryText, type Target } from './target.ts'

const RULES: Readonly<Record<UpstreamKind, KindRule>> = {
  ...{ anthropic: anthropicRule, openai: openaiRule, google: googleRule },
  ...{ git: gitRule, npm: npmRule, pypi: pypiRule, http: httpRule },
}
const LONG_FORM: Partial<Record<UpstreamKind, string>> = {
  npm: 'application/json',
  pypi: 'application/vnd.pypi.simple.v1+json',
}
const METHOD = /^(?:GET|HEAD|POST|PUT|PATCH|DELETE)$/

/** The head as it came: `target` is what follows `/up/NAME`, `headers` are name and value in turn. */
export interface RawHead {
  method: string
  target: string
  headers: readonly string[]
}

/** What may be sent of it. Pure: no rule of the operator was asked yet. */
export function judgeHead(upstream: Upstream, head: RawHead): JudgedHead | Refused {
  if (!METHOD.test(head.method))
    return refused('egress_denied', 'the method must be GET, HEAD, POST, PUT, PATCH or DELETE')
  const target = parseTarget(head.target, upstream.kind === 'npm')
  if (isRefused(target)) return target
  const found = RULES[upstream.kind](upstream, head.method, target)
  if (isRefused(found)) return found
  const headers = judgeRequestHeaders(upstream, head.headers)
  if (isRefused(headers)) return headers
  const problem = bodyProblem(head.method, found, headers)
  if (problem !== undefined) return problem
  const base = found.host === 'files' ? (upstream.files ?? upstream.url) : upstream.url
  return {
    ...{ class: found.class, method: head.method, host: found.host, shape: found.shape, model: found.model },
    ...{ path: belowBase(base, found.path), query: queryText(found.query) },
    headers: outward(upstream, found, headers),
    placeholders: [...new Set([...headers.placeholders, ...inQuery(upstream, target)])],
    surcharges: headers.surcharges,
  }
}

function bodyProblem(method: string, found: Asked, headers: JudgedHeaders): Refused | undefined {
  if ((method === 'GET' || method === 'HEAD') && headers.hasBody)
    return refused('egress_denied', `${method} has no body here`)
  const { contentEncoding: encoding, contentType: type } = headers
  if (encoding !== undefined && !(found.mayZip && encoding === 'gzip'))
    return refused('encoding_refused', 'a body with content-encoding cannot be judged; send it as it is')
  if (found.shape !== undefined && !/^application\/json *(?:; *charset="?utf-8"? *)?$/i.test(type ?? ''))
    return refused('encoding_refused', 'the body must be application/json in UTF-8, and say so in content-type')
  return undefined
}

function outward(upstream: Upstream, found: Asked, { headers, contentEncoding }: JudgedHeaders): JudgedHead['headers'] {
  // Times of publication stand only in the long form of a package, and in the JSON form of an index.
  const accept = upstream.minAgeMs === undefined || isArchive(found.path) ? undefined : LONG_FORM[upstream.kind]
  const passed = headers.flatMap(([name, value]): [string, string][] => {
    if (name === 'content-type' && found.shape !== undefined) return [[name, 'application/json']]
    return name === 'accept' && accept !== undefined ? [] : [[name, value]]
  })
  if (accept !== undefined) passed.push(['accept', accept])
  if (contentEncoding !== undefined) passed.push(['content-encoding', contentEncoding])
  return passed
}

/** Of the kinds, only one takes a key in its query, and it is left out like every other credential. */
function inQuery(upstream: Upstream, { query }: Target): string[] {
  if (upstream.kind !== 'google') return []
  return query.flatMap(([key, value]) => (key === 'key' ? placeholdersIn(value ?? '') : []))
}
