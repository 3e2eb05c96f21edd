/**
 * One exchange with the engine through dockerode's transport, behind the filter: whatever dockerode is asked to send passes
 * `buildRequest`, which is replaced here, so there is no way around the judge. Every exchange has a deadline and a byte limit.
 */
import type { Agent, IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { inspect } from 'node:util'
import Docker from 'dockerode'
import type { Clock } from '../../base/clock.ts'
import { isApiRefused } from '../../base/engine-api.ts'
import { HubError } from '../../base/errors.ts'
import { http } from '../../base/node-http.ts'
import { type ApiAgreement, createApiAgreement } from './engine-agreement.ts'
import { judgeEngineCall } from './engine-filter.ts'

export interface Exchange {
  method: 'GET' | 'POST' | 'DELETE'
  /** Without the version of the API, with its query. */
  path: string
  body?: object
  /** Until the answer is read; for a stream until its head has come. */
  deadlineMs: number
  signal?: AbortSignal
}

export interface Answer {
  status: number
  bytes: Buffer
}

export interface Wire {
  /** The whole answer; a longer one than `bytesMax` is a fault. */
  ask(exchange: Exchange, bytesMax?: number): Promise<Answer>
  /** The answer as it comes, after its head. The caller ends it through `signal`. */
  stream(exchange: Exchange): Promise<IncomingMessage>
  readonly agreement: ApiAgreement
}

const BYTES_MAX = 8 * 1024 ** 2

/** What this needs of dockerode's transport, whose own types say `any`. */
interface Transport {
  dial(options: object, done: (error: Error | null, answer?: IncomingMessage) => void): void
  buildRequest(options: Sent, context: object, data: unknown, done: (error: Error) => void): void
}
interface Sent {
  method: string
  path: string
  maxRedirects?: number
}

const ALL_STATUSES = Object.fromEntries(Array.from({ length: 500 }, (_, at) => [at + 100, true]))

/** No answer: its socket is not there, nobody listens, it was late or cut the connection. */
export const unavailable = (what: string, why: string, cause?: unknown): HubError =>
  new HubError(
    'engine_unavailable',
    `the container engine did not ${what}: ${why}. Start it (\`scripts/engine up\`), then \`hub doctor\``,
    cause === undefined ? {} : { cause },
  )

/** An answer that says no, in the engine's own words: an engine that answers is not away (fault A4). */
export const refusal = (what: string, answer: Answer): HubError =>
  new HubError('engine_refused', `the container engine did not ${what}: it answered ${wordsOf(answer)}`, {
    facts: { engineStatus: answer.status },
  })

/** Its status and what it says of it. */
export function wordsOf({ status, bytes }: Answer): string {
  const said = bytes.toString('utf8', 0, 2000).replaceAll(/\s+/g, ' ').trim()
  const words = /^\{"message":"(.*)"\}$/.exec(said)?.[1] ?? said
  return `${status}: ${words.slice(0, 400)}`
}

/** An answer that makes no sense: whoever speaks on its socket cannot be relied on, and counts as no engine. */
export const nonsense = (what: string, why: string): HubError =>
  new HubError(
    'engine_unavailable',
    `the container engine did not ${what}: ${why}. Is something else listening on its socket? See \`hub doctor\``,
  )

/**
 * A connection for each exchange, without the exchange's signal: Node would hand that on to the connection, and an abort between two of its
 * states is then an error that nobody hears, which ends the process; kept alive, it would end whatever exchange has the connection next.
 */
function connectionEach(socketPath: string): Agent {
  const agent = new http.Agent({ keepAlive: false })
  agent.createConnection = () => connect(socketPath).on('error', () => undefined)
  // The transport writes out its options at every call, whether or not anybody reads it: with all open connections in them that took
  // three quarters of the hub's time while twelve sessions started (measured).
  return Object.assign(agent, { [inspect.custom]: () => 'a connection for each exchange' })
}

/** `callMs`: the deadline of the question for the engine's versions; `firstUser`: where the range of sessions' users begins. */
export function createWire(socketPath: string, callMs: number, clock: Clock, firstUser?: number): Wire {
  // An empty host keeps DOCKER_HOST from sending this client elsewhere.
  const where = { socketPath, host: '', protocol: 'http' as const, agent: connectionEach(socketPath) }
  const docker = new Docker({ ...where, headers: {} })
  const transport = docker.modem as unknown as Transport
  const send = transport.buildRequest.bind(transport)
  transport.buildRequest = (options, context, data, done) => {
    const reason = judgeEngineCall({ method: options.method, path: options.path, body: data }, firstUser)
    if (reason === undefined) return send({ ...options, maxRedirects: 0 }, context, data, done)
    const call = `${options.method} ${options.path.slice(0, 120)}`
    done(new HubError('internal', '', { reason: `engine call refused, ${reason}: ${call}` }))
  }

  function dial(exchange: Exchange, signal: AbortSignal): Promise<IncomingMessage> {
    const { method, path, body } = exchange
    return new Promise((resolve, reject) => {
      const options = {
        method,
        path,
        // An empty query, or the transport would cut the last character of the path.
        options: { _query: {}, _body: body ?? {} },
        isStream: true,
        statusCodes: ALL_STATUSES,
        abortSignal: signal,
      }
      transport.dial(options, (error, answer) => {
        if (answer !== undefined && error === null) resolve(answer)
        else reject(error ?? new Error('no answer'))
      })
    })
  }

  /** Runs `work` under the deadline; its signal also ends with the exchange's own. */
  async function bounded<T>(exchange: Exchange, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const late = new AbortController()
    const timer = clock.after(exchange.deadlineMs, () => late.abort())
    const what = `answer ${exchange.method} ${exchange.path.split('?')[0]}`
    try {
      const signals = exchange.signal === undefined ? [late.signal] : [late.signal, exchange.signal]
      return await work(AbortSignal.any(signals))
    } catch (error) {
      if (error instanceof HubError) throw error
      // Who answers next may be another engine.
      agreement.forget()
      const why = late.signal.aborted ? `nothing within ${exchange.deadlineMs} ms` : (error as Error).message
      throw unavailable(what, why, error)
    } finally {
      timer.cancel()
    }
  }

  const agreement = createApiAgreement(async () => {
    const exchange = { method: 'GET', path: '/version', deadlineMs: callMs } as const
    const { head, answer } = await whole(exchange, BYTES_MAX)
    if (answer.status !== 200) throw unavailable('tell its versions', `it answered ${answer.status}`)
    try {
      return { head, said: JSON.parse(answer.bytes.toString('utf8')) }
    } catch {
      return { head, said: undefined }
    }
  })

  const whole = (exchange: Exchange, bytesMax: number) =>
    bounded(exchange, async (signal) => {
      const answer = await dial(exchange, signal)
      return {
        head: headOf(answer),
        answer: { status: answer.statusCode ?? 0, bytes: await bytesOf(answer, bytesMax) },
      }
    })

  /** Speaks in the agreed version, and once more in a newly agreed one where the engine refuses it: it has not looked at the call then. */
  async function agreed<T>(exchange: Exchange, call: (versioned: Exchange) => Promise<T | VersionRefused>): Promise<T> {
    const first = await agreement.api()
    const found = await call({ ...exchange, path: `/v${first}${exchange.path}` })
    if (!(found instanceof VersionRefused)) return found
    agreement.forget()
    const next = await agreement.api()
    const again = next === first ? found : await call({ ...exchange, path: `/v${next}${exchange.path}` })
    if (!(again instanceof VersionRefused)) return again
    const why = `it names API ${next} as one of its own and refuses it (${again.said})`
    throw agreement.refused(why, 'look at what listens at its socket: a proxy that answers for it?')
  }

  return {
    agreement,
    ask: (exchange, bytesMax = BYTES_MAX) =>
      agreed(exchange, async (versioned) => {
        const { head, answer } = await whole(versioned, bytesMax)
        const refused = refusedVersion(answer)
        const by = agreement.heard(head)
        if (refused !== undefined) return refused
        // What a later engine makes of a body in the version of an earlier one is not what was asked for (fault A2).
        if (by === 'another' && exchange.body !== undefined)
          throw unavailable('take a container to make', 'it became another engine meanwhile')
        return answer
      }),
    stream: (exchange) =>
      agreed(exchange, (versioned) =>
        bounded(versioned, async (signal) => {
          const answer = await dial(versioned, signal)
          agreement.heard(headOf(answer))
          if (answer.statusCode !== 400) return answer
          const no = { status: 400, bytes: await bytesOf(answer, BYTES_MAX) }
          const refused = refusedVersion(no)
          if (refused !== undefined) return refused
          throw refusal(`take ${exchange.method} ${exchange.path.split('?')[0]}`, no)
        }),
      ),
  }
}

/** The engine does not speak the version that the call was made in. */
class VersionRefused {
  readonly said: string
  constructor(said: string) {
    this.said = said
  }
}

const refusedVersion = (answer: Answer): VersionRefused | undefined =>
  isApiRefused(answer.status, wordsOf(answer)) ? new VersionRefused(wordsOf(answer)) : undefined
const headOf = ({ headers }: IncomingMessage): string | undefined => {
  const head = headers['api-version']
  return typeof head === 'string' ? head : undefined
}

async function bytesOf(answer: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of answer as AsyncIterable<Buffer>) {
    bytes += piece.length
    if (bytes > bytesMax) throw new Error(`its answer is over ${bytesMax} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}
