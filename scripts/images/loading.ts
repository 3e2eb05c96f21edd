/** The engine calls of the assembly, made with the operator's own access: inspect a name, load, hand out an image, and look into one. */
import { randomBytes } from 'node:crypto'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { deniedLine, deniedWords, isDenied } from '../../hub/base/engine-door.ts'
import { agreeApi } from '../../hub/base/engine-versions.ts'
import { isOrphan, OWNER, untilDone } from './left-behind.ts'
import type { Pieces } from './tar.ts'

const ANSWER_BYTES_MAX = 4 * 1024 * 1024

export interface ImageEngine {
  /** The engine's answer to inspect of a reference, or undefined if it has no such image. */
  inspect(reference: string): Promise<unknown>
  /** Throws what the engine says of an archive that it does not take. What cannot be counted beforehand comes as it is made. */
  load(archive: Pieces | AsyncIterable<Buffer>): Promise<void>
}

type Body =
  | { type: 'application/x-tar'; bytes: Pieces | AsyncIterable<Buffer> }
  | { type: 'application/json'; bytes: Pieces }

/** One answer of the engine, not read yet. */
interface Answer {
  status: number
  headers: IncomingMessage['headers']
  stream: IncomingMessage
}

export interface EngineCalls {
  /** Throws if there is no answer by then, or what the body throws. `path` is without the version. */
  ask(method: string, path: string, options: { deadlineMs: number; body?: Body }): Promise<Answer>
  /** The same, with the answer's text. */
  tell(
    method: string,
    path: string,
    options: { deadlineMs: number; body?: Body },
  ): Promise<{ status: number; text: string }>
}

const jsonBody = (value: unknown): Body => {
  const bytes = Buffer.from(JSON.stringify(value))
  return { type: 'application/json', bytes: { length: bytes.length, [Symbol.iterator]: () => [bytes].values() } }
}

/** Every call has a deadline: an engine that hangs must not hang assembly. */
export function createEngineCalls({ socketPath, deadlineMs }: { socketPath: string; deadlineMs: number }): EngineCalls {
  function call(method: string, path: string, options: { deadlineMs: number; body?: Body }): Promise<Answer> {
    const { body } = options
    return new Promise((resolve, reject) => {
      const signal = AbortSignal.timeout(options.deadlineMs)
      const length = body !== undefined && 'length' in body.bytes ? { 'content-length': body.bytes.length } : {}
      const headers = body === undefined ? {} : { 'content-type': body.type, ...length }
      const asked: ClientRequest = request({ socketPath, method, path, headers, signal }, (answer) =>
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, stream: answer }),
      )
      asked.on('error', (error) => {
        if (isDenied(error)) return reject(new Error(deniedLine(deniedWords(socketPath))))
        if (error instanceof BodyError) return reject(error.cause)
        const why = signal.aborted ? `no answer within ${options.deadlineMs} ms` : error.message
        reject(new Error(`the container engine at ${socketPath}: ${why}; start it with scripts/engine up`))
      })
      writeAll(asked, body?.bytes ?? []).catch((thrown) => asked.destroy(new BodyError('', { cause: thrown })))
    })
  }
  async function heard(answering: Promise<Answer>): Promise<{ status: number; text: string }> {
    const { status, stream } = await answering
    stream.setEncoding('utf8')
    let text = ''
    for await (const piece of stream as AsyncIterable<string>) {
      text += piece
      if (text.length > ANSWER_BYTES_MAX) throw new Error('the engine answered with too much')
    }
    return { status, text }
  }
  /** Asked once: this process lives for one assembly. */
  let agreed: Promise<string> | undefined
  async function agree(): Promise<string> {
    const { text } = await heard(call('GET', '/version', { deadlineMs }))
    const found = agreeApi(jsonOf(text))
    if ('why' in found) throw new Error(`the container engine at ${socketPath}: ${found.why}; ${found.mend}`)
    return `/v${found.api}`
  }
  const ask: EngineCalls['ask'] = async (method, path, options) => {
    agreed ??= agree()
    return call(method, `${await agreed}${path}`, options)
  }
  return { ask, tell: (method, path, options) => heard(ask(method, path, options)) }
}

export function createImageEngine(options: {
  socketPath: string
  deadlineMs: number
  loadDeadlineMs: number
}): ImageEngine {
  const { tell } = createEngineCalls(options)
  return {
    async inspect(reference) {
      const { status, text } = await tell('GET', `/images/${reference}/json`, { deadlineMs: options.deadlineMs })
      if (status === 404) return undefined
      if (status !== 200) throw new Error(`the engine answered ${status} to image inspect: ${text.slice(0, 300)}`)
      return JSON.parse(text)
    },
    async load(archive) {
      const body: Body = { type: 'application/x-tar', bytes: archive }
      const { status, text } = await tell('POST', '/images/load?quiet=1', { deadlineMs: options.loadDeadlineMs, body })
      // Load answers 200 before it has read the archive; an error comes later as a separate line.
      if (status !== 200 || text.includes('"error"')) {
        throw new Error(`the engine refused the archive (${status}): ${text.slice(0, 500)}`)
      }
    },
  }
}

/** What the body of a call threw, and not the engine. */
class BodyError extends Error {}

/** A container for a moment. `id` is undefined if the engine makes none, and `made` says why. It goes with `remove`, or when the build is stopped. */
export async function borrowContainer(calls: EngineCalls, wanted: object, deadlineMs: number) {
  const name = `hub-build-${OWNER}-${randomBytes(3).toString('hex')}`
  const making = calls.tell('POST', `/containers/create?name=${name}`, { deadlineMs, body: jsonBody(wanted) })
  const idNow = async () => {
    const { status, text } = await making
    return status === 201 ? (JSON.parse(text) as { Id: string }).Id : undefined
  }
  // Asked for is as good as made: a stop may come in between.
  const remove = untilDone(async () => {
    const id = await idNow()
    // With the volumes that the engine made for it.
    if (id !== undefined) await calls.tell('DELETE', `/containers/${id}?force=1&v=1`, { deadlineMs })
  })
  return { made: await making, id: await idNow(), remove }
}

/** Removes the borrowed containers of builds that were killed. An engine that does not list them is asked for more than this, and says why. */
export async function removeOrphanContainers({ tell }: EngineCalls, deadlineMs: number): Promise<void> {
  const filters = encodeURIComponent(JSON.stringify({ name: ['^/?hub-build-'] }))
  const { text } = await tell('GET', `/containers/json?all=1&filters=${filters}`, { deadlineMs })
  const listed = jsonOf(text)
  for (const { Id, Names } of (Array.isArray(listed) ? listed : []) as { Id: string; Names?: string[] }[])
    if (Names?.some((each) => isOrphan(each.replace(/^\//, ''))))
      await tell('DELETE', `/containers/${Id}?force=1&v=1`, { deadlineMs })
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

async function writeAll(asked: ClientRequest, body: Iterable<Buffer> | AsyncIterable<Buffer>): Promise<void> {
  for await (const piece of body) {
    if (asked.destroyed) return
    if (asked.write(piece)) continue
    await new Promise<void>((resolve) => {
      const go = () => {
        asked.off('drain', go).off('close', go)
        resolve()
      }
      asked.once('drain', go).once('close', go)
    })
  }
  asked.end()
}
