/**
 * Tries an upstream for the operator: one connection, then one call that costs nothing, with the key. What agents send goes the same way
 * (dial.ts, exchange.ts, keys.ts). Nothing of the answer's body is read.
 */
import { TLSSocket } from 'node:tls'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Exchange, Outward } from '../../guard/outward/exchange.ts'
import type { UpstreamTried } from '../../protocol/egress/upstream-views.ts'
import type { Upstream, UpstreamKind } from '../../protocol/egress/upstreams.ts'
import { isRefused } from '../../work/egress/wire/judged.ts'
import { judgeHead } from '../../work/egress/wire.ts'
import type { UpstreamKeys } from './keys.ts'

const CONNECT_MS = 10_000
const LIMITS = { connectMs: CONNECT_MS, firstByteMs: 15_000, idleMs: 15_000, totalMs: 30_000, bytesMax: 1024 * 1024 }
const MODELS: ReadonlySet<UpstreamKind> = new Set(['anthropic', 'openai', 'google'])

type Call = Pick<Outward, 'method' | 'target' | 'headers'>

/** The call that costs nothing; undefined where the upstream lists none. Pure. */
function freeCallOf(upstream: Upstream): Call | undefined {
  const { kind, url, allow, repositories } = upstream
  // As wide as their clients ask, so judged as theirs are.
  const judged = (method: string, target: string, headers: readonly string[] = []): Call | undefined => {
    const head = judgeHead(upstream, { method, target, headers })
    if (isRefused(head)) return undefined
    return { method, target: head.query === '' ? head.path : `${head.path}?${head.query}`, headers: head.headers }
  }
  if (kind === 'anthropic') return judged('GET', '/v1/models', ['anthropic-version', '2023-06-01'])
  if (kind === 'openai') return judged('GET', '/v1/models')
  if (kind === 'google') return judged('GET', '/v1beta/models')
  if (kind === 'git') {
    const repository = repositories.find((each) => !each.endsWith('*'))
    return repository === undefined ? undefined : judged('GET', `/${repository}.git/info/refs?service=git-upload-pack`)
  }
  if (kind === 'http') {
    const [method, path = ''] = (allow.find((each) => /^(?:GET|HEAD) /.test(each)) ?? '').split(' ')
    const found = path === '' ? undefined : judged(method ?? '', path.replace(/\*$/, ''))
    // What is listed as GET may be asked for by its head: it costs less, and nothing of a body is read here.
    return found && { ...found, method: 'HEAD' }
  }
  const { pathname } = new URL(url)
  return { method: 'HEAD', target: pathname.endsWith('/') ? pathname : `${pathname}/`, headers: [] }
}

interface Said {
  ok: boolean
  key: UpstreamTried['key']
  detail: string
  mend: string
}

/** What a status means, in words. Pure. */
function meaningOf({ name, kind, secret, url }: Upstream, method: string, status: number): Said {
  const hasKey = secret !== undefined
  const unknown = hasKey ? 'unknown' : 'none'
  const bad = (detail: string, mend: string): Said => ({ ok: false, key: unknown, detail, mend })
  const where =
    typeof secret === 'string' ? `HOME/secrets/${secret}` : `what the program of upstreams.${name}.secret prints`
  if (status === 401 || status === 403)
    return hasKey
      ? {
          ...{ ok: false, key: 'refused', detail: `it refused the key (${status})` },
          mend: `put a valid key into ${where}, and look at its rights at the provider; upstreams.${name}.auth says how the key is sent`,
        }
      : bad(`it asks for a key (${status}), and none is declared`, `set upstreams.${name}.secret in hub.yaml`)
  if (status === 404 && MODELS.has(kind))
    return bad(`it answers, but knows no list of models there (${status})`, `look at upstreams.${name}.url: ${url}`)
  if (status === 404 && kind === 'git')
    return bad(
      'it answers, but shows no such repository (404); some servers say so too when the key is not good',
      `look at upstreams.${name}.url and repositories, and at the rights of the key`,
    )
  if (status === 429)
    return {
      ok: true,
      key: unknown,
      detail: 'it answers, and says that calls come too fast or its quota is used up (429)',
      mend: 'try again later',
    }
  if (status >= 500)
    return bad(`it has a fault of its own (${status})`, 'try again later, or look at the page of its operator')
  if (status >= 300 && status < 400)
    return bad(
      `it leads to another address (${status}), and the hub follows none`,
      `write that address into upstreams.${name}.url`,
    )
  if (status < 300) {
    const isTaken = hasKey && MODELS.has(kind)
    if (isTaken) return { ok: true, key: 'taken', detail: 'it took the key', mend: '' }
    const unseen = 'it answers; whether it looked at the key cannot be seen from this call'
    return { ok: true, key: unknown, detail: hasKey ? unseen : 'it answers', mend: '' }
  }
  if (method === 'HEAD')
    return {
      ok: true,
      key: unknown,
      detail: `it answers (${status} to HEAD, which some servers do not take)`,
      mend: '',
    }
  return bad(`it answers ${status}, which is no success`, `look at upstreams.${name}.url: ${url}`)
}

/** What mends each way in which no answer came, by where it failed. */
function mendOf({ name, local }: Upstream, thrown: HubError): string {
  const url = `upstreams.${name}.url`
  const { at } = thrown.facts
  if (at === 'name') return `look at the name in ${url}, and at the name servers of this machine`
  if (at === 'tls')
    return 'its certificate must be valid for that name and signed by an authority that this machine trusts; look at the clock too'
  if (at === 'address') return `look at ${url}; local: true is only for what is on this machine or in a private network`
  if (at === 'connection')
    return local ? `start it, and look at the port in ${url}` : `look at ${url} and at a firewall between`
  return 'try again later; look at a firewall or a proxy between this machine and the upstream'
}

export interface UpstreamTestParts {
  clock: Clock
  exchange: Pick<Exchange, 'open' | 'dial'>
  keys: UpstreamKeys
}

export function createUpstreamTest(parts: UpstreamTestParts): (upstream: Upstream) => Promise<UpstreamTried> {
  const { clock, exchange, keys } = parts
  const passedMs = (from: number) => Math.round(clock.monotonicMs() - from)

  async function connect(url: URL, { local }: Upstream, signal: AbortSignal) {
    const from = clock.monotonicMs()
    const secured = url.protocol === 'https:'
    const place = {
      host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: Number(url.port || (secured ? 443 : 80)),
      local,
    }
    const socket = await exchange.dial({ place, secured, connectMs: CONNECT_MS }, signal)
    const seen = {
      address: `${socket.remoteAddress}:${socket.remotePort}`,
      tls: socket instanceof TLSSocket ? socket.getProtocol() : null,
      connectMs: passedMs(from),
    }
    socket.destroy()
    return seen
  }

  return async (upstream) => {
    const url = new URL(upstream.url)
    const call = freeCallOf(upstream)
    const { signal } = new AbortController()
    const tried: UpstreamTried = {
      ...{
        name: upstream.name,
        ok: false,
        asked: call === undefined ? null : `${call.method} ${call.target.split('?')[0]}`,
      },
      ...{ address: null, tls: null, connectMs: null, status: null, answerMs: null },
      ...{ key: upstream.secret === undefined ? 'none' : 'unknown', detail: '', mend: '' },
    }
    try {
      Object.assign(tried, await connect(url, upstream, signal))
      const key = await keys.headerFor(upstream)
      if (call === undefined)
        return {
          ...tried,
          ok: true,
          detail: 'it takes a connection; nothing that only reads is listed, so nothing was asked',
        }
      const from = clock.monotonicMs()
      const answer = await exchange.open(
        {
          ...{ ...call, url, local: upstream.local, body: undefined, limits: LIMITS },
          headers: [...call.headers, ...(key === undefined ? [] : [key]), ['accept-encoding', 'identity']],
        },
        signal,
      )
      answer.cut()
      const { status } = answer
      return { ...tried, status, answerMs: passedMs(from), ...meaningOf(upstream, call.method, status) }
    } catch (thrown) {
      if (!(thrown instanceof HubError)) throw thrown
      const isKey = thrown.code === 'config_invalid'
      const mend = isKey ? `\`hub upstream list\` says what is wrong with it` : mendOf(upstream, thrown)
      return { ...tried, detail: thrown.message, mend }
    }
  }
}
