/**
 * One exchange with the engine through dockerode's transport, behind the filter. Whatever dockerode is asked to send passes `buildRequest`,
 * which is replaced here, so nothing gets past the filter. Every exchange has a deadline and a byte limit.
 */

import type { Agent, IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { inspect } from 'node:util'
import Docker from 'dockerode'
import type { Clock } from '../../base/clock.ts'
import { deniedLine, deniedWords, isDenied } from '../../base/engine-door.ts'
import { agreeApi, isApiRefused } from '../../base/engine-versions.ts'
import { HubError } from '../../base/errors.ts'
import { http } from '../../base/node-http.ts'
import { judgeEngineCall } from './engine-filter.ts'

/**
 * The one place of this process that knows which API version is spoken. It is asked before each call. The version is agreed at the first
 * question, and again once it was forgotten: after a call that broke, that the engine refused for its version, or that another engine than
 * before answered.
 */

export interface Told {
  /** The answer to `GET /version`, parsed; undefined if it is not JSON. */
  said: unknown
  /** The engine's newest version, as the head of each of its answers names it. */
  head: string | undefined
}

export interface ApiAgreement {
  /** The version to speak, such as `1.44`. Throws `engine_unavailable` if none can be agreed. */
  api(): Promise<string>
  /** Asks the engine again, and answers all that it said. */
  again(): Promise<{ api: string; said: Record<string, unknown> }>
  /** The next call asks again. */
  forget(): void
  /** Looks at the head of an answer. If another engine gave it than the one that was asked for its versions, that one is asked. */
  heard(head: string | undefined): 'same' | 'another'
  /** The engine does not speak what it says that it speaks. It is asked again before the next call. Answers what to throw. */
  refused(why: string, mend: string): HubError
  /** Why no version can be agreed with an engine that does answer, and what to do; undefined otherwise. */
  disagreement(): string | undefined
}

/** The engine answers but cannot be spoken with. Unlike for a dead one, starting it changes nothing. */
function disagreed(why: string, mend: string): HubError {
  return new HubError(
    'engine_unavailable',
    `the container engine and the hub agree on no API version: ${why}; ${mend}`,
    {
      facts: { mend },
    },
  )
}

function createApiAgreement(ask: () => Promise<Told>): ApiAgreement {
  let agreed: { api: string; said: Record<string, unknown> } | undefined
  let head: string | undefined
  let asking: Promise<{ api: string; said: Record<string, unknown> }> | undefined
  let disagreement: string | undefined

  function refused(why: string, mend: string): HubError {
    const error = disagreed(why, mend)
    disagreement = error.message
    agreed = undefined
    return error
  }

  async function agree() {
    const told = await ask()
    const found = agreeApi(told.said)
    if ('why' in found) throw refused(found.why, found.mend)
    disagreement = undefined
    head = told.head
    agreed = { api: found.api, said: told.said as Record<string, unknown> }
    return agreed
  }
  const again = () => {
    asking ??= agree().finally(() => {
      asking = undefined
    })
    return asking
  }
  const forget = () => {
    agreed = undefined
  }
  return {
    api: async () => (agreed ?? (await again())).api,
    again,
    forget,
    heard(found) {
      if (found === undefined || head === undefined || found === head) return 'same'
      forget()
      return 'another'
    },
    refused,
    disagreement: () => disagreement,
  }
}

export interface Exchange {
  method: 'GET' | 'POST' | 'DELETE'
  /** Without the API version, with its query. */
  path: string
  body?: object
  /** Until the answer is read; for a stream, until its head has come. */
  deadlineMs: number
  signal?: AbortSignal
}

export interface Answer {
  status: number
  bytes: Buffer
}

export interface Wire {
  /** The whole answer. A longer one than `bytesMax` is a fault. */
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

/** No answer: its socket is missing, nobody listens, it was late or cut the connection. */
export const unavailable = (what: string, why: string, cause?: unknown): HubError =>
  new HubError(
    'engine_unavailable',
    `the container engine did not ${what}: ${why}. Start it (\`scripts/engine up\`), then \`hub doctor\``,
    cause === undefined ? {} : { cause },
  )

/** Its socket is there, but not for this account (fault C22): starting the engine would fix nothing. */
function denied(socketPath: string, cause: unknown): HubError {
  const words = deniedWords(socketPath)
  return new HubError('engine_unavailable', deniedLine(words), { cause, facts: { mend: words.mend } })
}

/** An answer that says no, in the engine's own words. An engine that answers is not away (fault A4). */
export const refusal = (what: string, answer: Answer): HubError =>
  new HubError('engine_refused', `the container engine did not ${what}: it answered ${wordsOf(answer)}`, {
    facts: { engineStatus: answer.status },
  })

/** Its status, and what it says of it. */
function wordsOf({ status, bytes }: Answer): string {
  const said = bytes.toString('utf8', 0, 2000).replaceAll(/\s+/g, ' ').trim()
  const words = /^\{"message":"(.*)"\}$/.exec(said)?.[1] ?? said
  return `${status}: ${words.slice(0, 400)}`
}

/** An answer that makes no sense. Whatever listens on the socket cannot be relied on, and counts as no engine. */
export const nonsense = (what: string, why: string): HubError =>
  new HubError(
    'engine_unavailable',
    `the container engine did not ${what}: ${why}. Is something else listening on its socket? See \`hub doctor\``,
  )

/**
 * A new connection for each exchange, without the exchange's signal. Node would hand the signal on to the connection. An abort between two
 * of its states is then an error that nobody hears, which ends the process. A kept connection would end whatever exchange has it next.
 */
function connectionEach(socketPath: string): Agent {
  const agent = new http.Agent({ keepAlive: false })
  agent.createConnection = () => connect(socketPath).on('error', () => undefined)
  // The transport writes out its options at every call, whether anybody reads them or not. With all open connections in them, that took
  // three quarters of the hub's time while twelve sessions started (measured).
  return Object.assign(agent, { [inspect.custom]: () => 'a connection for each exchange' })
}

const headOf = ({ headers }: IncomingMessage): string | undefined => {
  const head = headers['api-version']
  return typeof head === 'string' ? head : undefined
}

const refusedVersion = (answer: Answer): VersionRefused | undefined =>
  isApiRefused(answer.status, wordsOf(answer)) ? new VersionRefused(wordsOf(answer)) : undefined

/** `callMs`: the deadline of the question for the engine's versions. `firstUser`: where the range of sessions' users begins. */
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
        // An empty query; without it the transport would cut the last character of the path.
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

  /** Runs `work` under the deadline. Its signal also ends with the exchange's own. */
  async function bounded<T>(exchange: Exchange, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const late = new AbortController()
    const timer = clock.after(exchange.deadlineMs, () => late.abort())
    const what = `answer ${exchange.method} ${exchange.path.split('?')[0]}`
    try {
      const signals = exchange.signal === undefined ? [late.signal] : [late.signal, exchange.signal]
      return await work(AbortSignal.any(signals))
    } catch (error) {
      if (error instanceof HubError) throw error
      // The next answer may come from another engine.
      agreement.forget()
      if (isDenied(error)) throw denied(socketPath, error)
      const why = late.signal.aborted ? `nothing within ${exchange.deadlineMs} ms` : (error as Error).message
      throw unavailable(what, why, error)
    } finally {
      timer.cancel()
    }
  }

  function whole(exchange: Exchange, bytesMax: number) {
    return bounded(exchange, async (signal) => {
      const answer = await dial(exchange, signal)
      return {
        head: headOf(answer),
        answer: { status: answer.statusCode ?? 0, bytes: await bytesOf(answer, bytesMax) },
      }
    })
  }

  /**
   * Speaks in the agreed version. If the engine refuses that, it agrees again and repeats the call once: the engine has not looked at it
   * then.
   */
  async function agreed<T>(exchange: Exchange, call: (versioned: Exchange) => Promise<T | VersionRefused>): Promise<T> {
    const first = await agreement.api()
    const found = await call({ ...exchange, path: `/v${first}${exchange.path}` })
    if (!(found instanceof VersionRefused)) return found
    agreement.forget()
    const next = await agreement.api()
    const again = next === first ? found : await call({ ...exchange, path: `/v${next}${exchange.path}` })
    if (!(again instanceof VersionRefused)) return again
    const why = `it names API ${next} as one of its own and refuses it (${again.said})`
    throw agreement.refused(why, 'look at what listens on its socket; it may be a proxy')
  }

  return {
    agreement,
    ask: (exchange, bytesMax = BYTES_MAX) =>
      agreed(exchange, async (versioned) => {
        const { head, answer } = await whole(versioned, bytesMax)
        const refused = refusedVersion(answer)
        const by = agreement.heard(head)
        if (refused !== undefined) return refused
        // A later engine may read a body of an earlier version differently than it was meant (fault A2).
        if (by === 'another' && exchange.body !== undefined)
          throw unavailable('take a container to make', 'another engine answered meanwhile')
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
