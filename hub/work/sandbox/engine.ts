/**
 * The hub's few engine verbs (docs/sandbox.md 7). engine-filter.ts decides what may leave this process, engine-wire.ts sends it, and here
 * answers become facts. 304 on stop and 404 on removal mean done, not failed.
 */
import type { Clock } from '../../base/clock.ts'
import type { Remains } from '../../base/container-processes.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import {
  type ContainerFact,
  componentsOf,
  type EngineEvent,
  type EngineInfo,
  factOf,
  type ImageFact,
  imageOf,
  infoOf,
  instanceOf,
  type ProcessTable,
  plainLog,
  processesOf,
  readEvents,
} from './engine-answers.ts'
import { type Answer, createWire, type Exchange, nonsense, refusal, unavailable } from './engine-wire.ts'
import type { CreateBody } from './profile.ts'

export type { ContainerFact, EngineEvent, EngineInfo, ImageFact, ProcessTable } from './engine-answers.ts'

/** `remains`: what of it runs, if that was looked for. `isRefused`: the engine answered at once that it may not, and will say so again. */
export type Removal =
  | { outcome: 'gone' | 'already_gone' }
  | { outcome: 'failed'; reason: string; remains?: Remains; isRefused?: true }

/** 409 means that something else is removing it, or that its state forbids this for now: that changes. */
export const isDenied = ({ code, facts }: HubError): boolean => code === 'engine_refused' && facts.engineStatus !== 409

/** `opened` resolves once the engine listens for the exit. Only then may the container be started. */
export interface NextExit {
  opened: Promise<void>
  exit: Promise<{ statusCode: number }>
  /** Stops listening; `exit` then rejects. */
  cancel(): void
}

/**
 * Containers are named by their id or by our name, `hub-<instance8>-<session>`. Every call throws `engine_unavailable` if there is no
 * answer or a senseless one, and `engine_refused` if the engine says no.
 */
export interface Engine {
  /** Agrees again on the API version, and answers it. Throws `engine_unavailable` also if none can be agreed. */
  ping(): Promise<{ apiVersion: string; engineVersion: string; components: Record<string, string> }>
  /** Why no API version can be agreed with an engine that answers, and what to do. Undefined otherwise, and until it was asked. */
  disagreement(): string | undefined
  /** What it says of itself and its host. */
  info(): Promise<EngineInfo>
  inspectImage(nameOrId: string): Promise<ImageFact | undefined>
  /** Throws `image_missing`, or `conflict` if the name is taken. */
  create(name: string, body: CreateBody): Promise<{ id: string; warnings: string[] }>
  /** The engine's whole answer, or undefined if there is no such container. */
  inspect(id: string): Promise<unknown>
  start(id: string): Promise<void>
  waitNextExit(id: string): NextExit
  /** SIGTERM, and after `graceSeconds` (15 at most) SIGKILL. */
  stop(id: string, graceSeconds: number): Promise<'done' | 'gone'>
  kill(id: string): Promise<'done' | 'gone'>
  /** Freezes it as it is. Only for evidence (S1-66). */
  pause(id: string): Promise<'done' | 'gone'>
  /** Its processes as the host's `ps -ef` shows them; undefined if there are none. Only for evidence. */
  top(id: string): Promise<ProcessTable | undefined>
  /** By force. Never throws: the answer says what came of it. */
  remove(idOrName: string): Promise<Removal>
  /** Every container of the instance, in any state. `withinMs`: a shorter deadline, for a look at whether the engine answers at all. */
  list(instance: string, withinMs?: number): Promise<ContainerFact[]>
  /** Every session's container of all other hubs on this engine, in any state. Only to see which users they have (shared-users.ts). */
  listOthers(instance: string): Promise<ContainerFact[]>
  /** Resolves when the signal aborts, rejects when the stream breaks. */
  events(instance: string, onEvent: (event: EngineEvent) => void, signal: AbortSignal): Promise<void>
  /** The end of the log as text, at most `bytesMax` bytes. Its origin is untrusted. */
  logs(id: string, bytesMax: number): Promise<string>
}

export interface EngineOptions {
  socketPath: string
  /** Deadline of each call; stop gets its grace on top. */
  callMs: number
  /** Where the range of sessions' users begins; without it, the default. */
  firstUser?: number
}

const LOG_BYTES_MAX = 16 * 1024 ** 2

const filtersOf = (filters: Record<string, string[]>) => `filters=${encodeURIComponent(JSON.stringify(filters))}`

/** What an unexpected answer means: a no, or nothing that makes sense. */
const refused = (what: string, answer: Answer): HubError =>
  answer.status >= 400 ? refusal(what, answer) : nonsense(what, `its answer ${answer.status} makes no sense`)

const wholeOf = (status = 0, text: string): Answer => ({ status, bytes: Buffer.from(text, 'latin1') })

export function createEngine(options: EngineOptions, { clock }: { clock: Clock }): Engine {
  const wire = createWire(options.socketPath, options.callMs, clock, options.firstUser)
  const ask = (method: Exchange['method'], path: string, extra: { body?: object; extraMs?: number } = {}) =>
    wire.ask({
      method,
      path,
      deadlineMs: options.callMs + (extra.extraMs ?? 0),
      ...(extra.body === undefined ? {} : { body: extra.body }),
    })
  const json = (what: string, answer: Answer): unknown => {
    try {
      return JSON.parse(answer.bytes.toString('utf8'))
    } catch {
      throw nonsense(what, 'its answer is not JSON')
    }
  }
  const told = async (what: string, done: number[], asked: Promise<Answer>): Promise<'done' | 'gone'> => {
    const answer = await asked
    if (answer.status === 404) return 'gone'
    if (done.includes(answer.status)) return 'done'
    throw refused(what, answer)
  }

  return {
    async ping() {
      const { api, said } = await wire.agreement.again()
      return { apiVersion: api, engineVersion: String(said.Version), components: componentsOf(said.Components) }
    },
    disagreement: wire.agreement.disagreement,
    async info() {
      const answer = await ask('GET', '/info')
      if (answer.status !== 200) throw refused('tell of itself', answer)
      return infoOf(json('tell of itself', answer))
    },
    async inspectImage(nameOrId) {
      const answer = await ask('GET', `/images/${nameOrId}/json`)
      if (answer.status === 404) return undefined
      if (answer.status !== 200) throw refused('inspect the image', answer)
      return imageOf(json('inspect the image', answer))
    },
    async create(name, body) {
      const answer = await ask('POST', `/containers/create?name=${name}`, { body })
      if (answer.status === 404)
        throw new HubError(
          'image_missing',
          `the engine has no image ${body.Image} any more; it was removed since it was built`,
          {
            facts: { image: body.Image },
          },
        )
      if (answer.status === 409) throw new HubError('conflict', `a container named ${name} exists already`)
      if (answer.status !== 201) throw refused('create the container', answer)
      const said = json('create the container', answer) as { Id?: unknown; Warnings?: unknown }
      if (typeof said.Id !== 'string' || !/^[0-9a-f]{64}$/.test(said.Id)) throw refused('name the container', answer)
      return { id: said.Id, warnings: Array.isArray(said.Warnings) ? said.Warnings.map(String) : [] }
    },
    async inspect(id) {
      const answer = await ask('GET', `/containers/${id}/json`)
      if (answer.status === 404) return undefined
      if (answer.status !== 200) throw refused('inspect the container', answer)
      return json('inspect the container', answer)
    },
    async start(id) {
      const answer = await ask('POST', `/containers/${id}/start`)
      if (answer.status !== 204) throw refused('start the container', answer)
    },
    waitNextExit(id) {
      const stopped = new AbortController()
      const path = `/containers/${id}/wait?condition=next-exit`
      const head = wire.stream({ method: 'POST', path, deadlineMs: options.callMs, signal: stopped.signal })
      const exit = head.then(async (answer) => {
        try {
          let text = ''
          for await (const piece of answer as AsyncIterable<Buffer>) text += piece.toString('latin1').slice(0, 4096)
          if (answer.statusCode !== 200) throw refused('tell of the exit', wholeOf(answer.statusCode, text))
          const said = JSON.parse(text) as { StatusCode?: unknown }
          if (typeof said.StatusCode !== 'number') throw new Error(text.slice(0, 300))
          return { statusCode: said.StatusCode }
        } catch (error) {
          if (error instanceof HubError) throw error
          throw unavailable('tell of the exit', (error as Error).message, error)
        }
      })
      const opened = head.then((answer) => {
        if (answer.statusCode !== 200) throw refused('wait for the container', wholeOf(answer.statusCode, ''))
      })
      // The caller awaits both. If it does not, the process must not end for that.
      exit.catch(() => {})
      opened.catch(() => {})
      return { opened, exit, cancel: () => stopped.abort() }
    },
    stop: (id, graceSeconds) =>
      told(
        'stop the container',
        [204, 304],
        ask('POST', `/containers/${id}/stop?t=${Math.min(15, Math.max(0, Math.ceil(graceSeconds)))}`, {
          extraMs: graceSeconds * 1000,
        }),
      ),
    // 409: it does not run.
    kill: (id) => told('kill the container', [204, 409], ask('POST', `/containers/${id}/kill`)),
    // 409: paused already, or it does not run.
    pause: (id) => told('pause the container', [204, 409], ask('POST', `/containers/${id}/pause`)),
    async top(id) {
      const answer = await ask('GET', `/containers/${id}/top`)
      // 409: it does not run.
      if (answer.status === 404 || answer.status === 409) return undefined
      if (answer.status !== 200) throw refused('show its processes', answer)
      return processesOf(json('show its processes', answer))
    },
    async remove(idOrName) {
      try {
        const told204 = await told('remove the container', [204], ask('DELETE', `/containers/${idOrName}?force=1&v=1`))
        return { outcome: told204 === 'gone' ? 'already_gone' : 'gone' }
      } catch (error) {
        const denied = isDenied(toHubError(error)) ? ({ isRefused: true } as const) : {}
        return { outcome: 'failed', reason: (error as Error).message, ...denied }
      }
    },
    async list(instance, withinMs = options.callMs) {
      const filters = filtersOf({ label: [`hub.instance=${instance}`] })
      const extraMs = Math.min(0, withinMs - options.callMs)
      const answer = await ask('GET', `/containers/json?all=1&${filters}`, { extraMs })
      if (answer.status !== 200) throw refused('list containers', answer)
      const rows = json('list containers', answer)
      if (!Array.isArray(rows)) throw refused('list containers', answer)
      return rows.map((row) => factOf(row, instance))
    },
    async listOthers(instance) {
      const answer = await ask('GET', `/containers/json?all=1&${filtersOf({ label: ['hub.session'] })}`)
      if (answer.status !== 200) throw refused('list containers', answer)
      const rows = json('list containers', answer)
      if (!Array.isArray(rows)) throw refused('list containers', answer)
      return rows.flatMap((row) => {
        const its = instanceOf(row)
        return its === undefined || its === instance ? [] : [factOf(row, its)]
      })
    },
    async events(instance, onEvent, signal) {
      const filters = filtersOf({ label: [`hub.instance=${instance}`], type: ['container'] })
      const path = `/events?${filters}`
      try {
        const answer = await wire.stream({ method: 'GET', path, deadlineMs: options.callMs, signal })
        if (answer.statusCode !== 200) throw new Error(`it answered ${answer.statusCode}`)
        await readEvents(answer, onEvent)
        throw new Error('it closed the stream')
      } catch (error) {
        if (signal.aborted) return
        // The engine may come back as another one.
        wire.agreement.forget()
        throw unavailable('go on telling events', (error as Error).message, error)
      }
    },
    async logs(id, bytesMax) {
      const path = `/containers/${id}/logs?stdout=1&stderr=1&tail=10000`
      const answer = await wire.ask({ method: 'GET', path, deadlineMs: options.callMs }, LOG_BYTES_MAX)
      if (answer.status === 404) return ''
      if (answer.status !== 200) throw refused('show the log', answer)
      return plainLog(answer.bytes, bytesMax)
    },
  }
}
