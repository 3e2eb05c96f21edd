/** The two engine calls of the assembly, made with the operator's own access: inspect a name, and load. */
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { deniedLine, deniedWords, isDenied } from '../../hub/base/engine-door.ts'
import { agreeApi } from '../../hub/base/engine-versions.ts'
import type { Pieces } from './tar.ts'

const ANSWER_BYTES_MAX = 4 * 1024 * 1024

export interface ImageEngine {
  /** The engine's answer to inspect of a reference, or undefined if it has no such image. */
  inspect(reference: string): Promise<unknown>
  load(archive: Pieces): Promise<void>
}

/** Every call has a deadline: an engine that hangs must not hang assembly. */
export function createImageEngine(options: {
  socketPath: string
  deadlineMs: number
  loadDeadlineMs: number
}): ImageEngine {
  function call(method: string, path: string, body: Pieces | undefined, deadlineMs: number) {
    return new Promise<{ status: number; text: string }>((resolve, reject) => {
      const signal = AbortSignal.timeout(deadlineMs)
      const headers = body === undefined ? {} : { 'content-type': 'application/x-tar', 'content-length': body.length }
      const asked: ClientRequest = request(
        { socketPath: options.socketPath, method, path, headers, signal },
        (answer: IncomingMessage) => {
          let text = ''
          answer.setEncoding('utf8')
          answer.on('data', (piece: string) => {
            text += piece
            if (text.length > ANSWER_BYTES_MAX) asked.destroy(new Error('the engine answered with too much'))
          })
          answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }))
          answer.on('error', reject)
        },
      )
      asked.on('error', (error) => {
        if (isDenied(error)) return reject(new Error(deniedLine(deniedWords(options.socketPath))))
        const why = signal.aborted ? `no answer within ${deadlineMs} ms` : error.message
        reject(new Error(`the container engine at ${options.socketPath}: ${why}; start it with scripts/engine up`))
      })
      writeAll(asked, body ?? []).catch((thrown) => asked.destroy(thrown as Error))
    })
  }
  /** Asked once: this process lives for one assembly. */
  let agreed: Promise<string> | undefined
  async function agree(): Promise<string> {
    const { text } = await call('GET', '/version', undefined, options.deadlineMs)
    const found = agreeApi(jsonOf(text))
    if ('why' in found) throw new Error(`the container engine at ${options.socketPath}: ${found.why}; ${found.mend}`)
    return `/v${found.api}`
  }
  const spoken = async (method: string, path: string, body: Pieces | undefined, deadlineMs: number) => {
    agreed ??= agree()
    return call(method, `${await agreed}${path}`, body, deadlineMs)
  }
  return {
    async inspect(reference) {
      const { status, text } = await spoken('GET', `/images/${reference}/json`, undefined, options.deadlineMs)
      if (status === 404) return undefined
      if (status !== 200) throw new Error(`the engine answered ${status} to image inspect: ${text.slice(0, 300)}`)
      return JSON.parse(text)
    },
    async load(archive) {
      const { status, text } = await spoken('POST', '/images/load?quiet=1', archive, options.loadDeadlineMs)
      // Load answers 200 before it has read the archive; an error comes later as a separate line.
      if (status !== 200 || text.includes('"error"')) {
        throw new Error(`the engine refused the archive (${status}): ${text.slice(0, 500)}`)
      }
    },
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

async function writeAll(asked: ClientRequest, body: Iterable<Buffer>): Promise<void> {
  for (const piece of body) {
    if (asked.destroyed) return
    if (!asked.write(piece)) await new Promise((resolve) => asked.once('drain', resolve).once('close', resolve))
  }
  asked.end()
}
