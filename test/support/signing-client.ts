/**
 * An agent's side of the session socket for tests: signs like the SDK, but by a clock that is handed in, and lets a test send anything
 * (a used nonce, another's token, a forged field). The SDK itself is proven against the hub by test/scenarios/walk.test.ts and the
 * container tests.
 */
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { type IncomingHttpHeaders, request } from 'node:http'
import type { Clock } from '../../hub/base/clock.ts'
import { newNonce, newUuid, systemRandom } from '../../hub/base/random.ts'
import type { JoinAnswer } from '../../hub/client/agent/contract.ts'
import { CLOCK_SKEW_MS } from '../../hub/guard/identity/clock-skew.ts'
import type { Delivery, MessageKind } from '../../hub/protocol/envelope.ts'
import {
  HEADER_NONCE,
  HEADER_SIGNATURE,
  HEADER_TIMESTAMP,
  HEADER_TOKEN,
  signedText,
} from '../../hub/protocol/signing.ts'

export interface Answer {
  status: number
  /** Parsed when it is JSON. */
  body: Record<string, unknown>
  bytes: Buffer
  headers: IncomingHttpHeaders
}

export interface Ask {
  method: 'GET' | 'POST' | 'PUT'
  path: string
  body?: unknown
  /** Instead of the token of this agent; null sends none. */
  token?: string | null
  nonce?: string
  timestampMs?: number
  headers?: Record<string, string>
  /** Signs with another key. */
  key?: KeyObject
}

export interface Envelope {
  id: string
  kind: MessageKind
  to: string
  type: string
  correlationId: string
  timeoutMs: number
  dataClass: string
  body: Record<string, unknown>
}

/** What a refused call throws in a script, so that a script may also just let it fall. */
export class Refused extends Error {
  readonly answer: Answer
  readonly code: string
  constructor(answer: Answer) {
    super(`${answer.status} ${String(answer.body.code)}: ${String(answer.body.detail)}`)
    this.answer = answer
    this.code = String(answer.body.code)
  }
}

export interface SigningClient {
  readonly publicKey: string
  readonly privateKey: KeyObject
  readonly socketPath: string
  token: string
  joined: JoinAnswer | undefined
  /**
   * One signed exchange; any status is an answer. A hub that is away is waited for; what was on its way while the test moved the clock goes
   * again, as with the SDK.
   */
  ask(ask: Ask): Promise<Answer>
  /** The same, throwing `Refused` for anything but success. */
  must(ask: Ask): Promise<Answer>
  join(): Promise<JoinAnswer>
  renew(): Promise<void>
  newId(): string
  send(envelope: Partial<Envelope>): Promise<Answer>
  /** Sends and throws when it is refused; answers the id. */
  say(envelope: Partial<Envelope>): Promise<string>
  receive(waitMs?: number): Promise<Delivery[]>
  /** The next delivery that fits, leaving the others for later. */
  next(fits?: (delivery: Delivery) => boolean): Promise<Delivery>
  /** Sends a request and waits for its reply's body. */
  request(to: string, type: string, body: Record<string, unknown>): Promise<Record<string, unknown>>
  reply(to: Delivery, body: Record<string, unknown>): Promise<Answer>
  delegate(body: Record<string, unknown>): Promise<string>
  /** The outcome of a delegated child. */
  outcome(delegate: string): Promise<Record<string, unknown>>
  result(value?: unknown): Promise<void>
  /** A result spelled out. */
  resultBody(body: Record<string, unknown>): Promise<void>
  put(name: string, bytes: Buffer | string): Promise<{ sha256: string; size: number; name: string }>
}

const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex')
const AWAY = new Set(['ECONNREFUSED', 'ENOENT', 'ECONNRESET', 'EPIPE'])

export function createSigningClient(options: { socketPath: string; clock: Clock; ended: AbortSignal }): SigningClient {
  const { socketPath, clock, ended } = options
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const presented = publicKey.export({ format: 'jwk' }).x ?? ''
  const waiting: Delivery[] = []
  let after = 0

  function once(ask: Ask): Promise<Answer> {
    const { method, path, body } = ask
    const raw = body === undefined || Buffer.isBuffer(body) || typeof body === 'string'
    const bytes = raw ? Buffer.from((body as string | undefined) ?? '') : Buffer.from(JSON.stringify(body))
    const timestampMs = String(ask.timestampMs ?? clock.wallMs())
    const nonce = ask.nonce ?? newNonce(systemRandom)
    const digest = ask.headers?.['x-signed-digest'] ?? sha256(bytes)
    const text = signedText({ method, path, timestampMs, nonce, bodySha256: digest })
    const token = ask.token === undefined ? client.token : ask.token
    const headers: Record<string, string | number> = {
      [HEADER_TIMESTAMP]: timestampMs,
      [HEADER_NONCE]: nonce,
      [HEADER_SIGNATURE]: sign(null, Buffer.from(text), ask.key ?? privateKey).toString('base64url'),
      ...(token === null || token === '' ? {} : { [HEADER_TOKEN]: token }),
      ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': bytes.length }),
      ...ask.headers,
    }
    delete headers['x-signed-digest']
    return new Promise((resolve, reject) => {
      const sent = request({ socketPath, method, path, headers, agent: false, signal: ended }, (incoming) => {
        const chunks: Buffer[] = []
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
        incoming.on('error', reject)
        incoming.on('end', () => {
          const whole = Buffer.concat(chunks)
          const json = String(incoming.headers['content-type']).includes('json')
          resolve({
            status: incoming.statusCode ?? 0,
            body: json ? (JSON.parse(whole.toString()) as Record<string, unknown>) : {},
            bytes: whole,
            headers: incoming.headers,
          })
        })
      })
      sent.on('error', reject)
      sent.end(bytes)
    })
  }

  /** A new token, where one is given; a hub whose clock was moved gives none before the operator has looked. */
  const renewed = (): Promise<void> =>
    client.renew().catch((refused) => {
      if (!(refused instanceof Refused && refused.code === 'mode_degraded')) throw refused
    })
  /** Refused, perhaps for nothing but that the clock was moved between its signature and its judgement. */
  const isOvertaken = ({ status }: Answer, { nonce, timestampMs, key }: Ask, signedAtMs: number): boolean =>
    status === 401 &&
    [nonce, timestampMs, key].every((given) => given === undefined) &&
    Math.abs(clock.wallMs() - signedAtMs) > CLOCK_SKEW_MS

  const client: SigningClient = {
    publicKey: presented,
    privateKey,
    socketPath,
    token: '',
    joined: undefined,
    async ask(ask) {
      for (;;) {
        const signedAtMs = clock.wallMs()
        try {
          const answer = await once(ask)
          if (!isOvertaken(answer, ask, signedAtMs)) return answer
          if (ask.token === undefined) await renewed()
        } catch (thrown) {
          // The hub is being started again: the same thing later, as the SDK does it.
          if (ended.aborted || !AWAY.has(String((thrown as { code?: unknown }).code))) throw thrown
          await new Promise((resolve) => setTimeout(resolve, 3))
        }
      }
    },
    async must(ask) {
      const answer = await client.ask(ask)
      if (answer.status >= 300) throw new Refused(answer)
      return answer
    },
    async join() {
      const body = { publicKey: presented }
      const answer = await client.must({ method: 'POST', path: '/v1/join', body, token: null })
      client.joined = answer.body as unknown as JoinAnswer
      client.token = client.joined.token
      return client.joined
    },
    async renew() {
      const { body } = await client.must({ method: 'POST', path: '/v1/renew', body: {}, token: null })
      client.token = String(body.token)
    },
    newId: () => newUuid(systemRandom, clock.wallMs()),
    send: (envelope) => client.ask({ method: 'POST', path: '/v1/send', body: { id: client.newId(), ...envelope } }),
    async say(envelope) {
      const id = envelope.id ?? client.newId()
      const answer = await client.send({ ...envelope, id })
      if (answer.status >= 300) throw new Refused(answer)
      return id
    },
    async receive(waitMs = 25_000) {
      const path = `/v1/receive?after=${after}&waitMs=${waitMs}`
      const asked: Ask = { method: 'GET', path }
      // Its token may have ended while nobody asked: once more with a new one, as the SDK does it.
      const first = await client.ask(asked)
      if (first.status === 401) await renewed()
      else if (first.status >= 300) throw new Refused(first)
      const { body } = first.status === 401 ? await client.must(asked) : first
      const deliveries = body.deliveries as Delivery[]
      after = deliveries[deliveries.length - 1]?.number ?? after
      return deliveries
    },
    async next(fits = () => true) {
      for (;;) {
        const at = waiting.findIndex(fits)
        const [found] = at === -1 ? [] : waiting.splice(at, 1)
        if (found !== undefined) return found
        waiting.push(...(await client.receive()))
      }
    },
    async request(to, type, body) {
      const id = await client.say({ kind: 'request', to, type, body })
      return (await client.next(({ kind, correlationId }) => kind === 'reply' && correlationId === id)).body
    },
    reply: (to, body) => client.send({ kind: 'reply', correlationId: to.id, body }),
    delegate: (body) => client.say({ kind: 'delegate', body }),
    outcome: async (id) =>
      (await client.next(({ kind, correlationId }) => kind === 'reply' && correlationId === id)).body,
    result: (value) => client.resultBody({ outcome: 'succeeded', ...(value === undefined ? {} : { value }) }),
    resultBody: async (body) => void (await client.say({ kind: 'result', body })),
    async put(name, bytes) {
      const body = Buffer.from(bytes)
      const path = `/v1/artifacts/${sha256(body)}?name=${encodeURIComponent(name)}`
      const headers = { 'content-type': 'application/octet-stream' }
      const answer = await client.must({ method: 'PUT', path, body, headers })
      return answer.body as { sha256: string; size: number; name: string }
    },
  }
  return client
}
