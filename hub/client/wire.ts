/**
 * One HTTP exchange over a Unix socket. W1 the socket and its folder must be ours and private, or nothing is sent (T34).
 * W2 every exchange has a deadline and a cap on what is kept of the answer.
 */
import { lstatSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { http } from '../base/node-http.ts'
import { Problem, toProblem } from './problem.ts'

const ANSWER_BYTES_MAX = 16 * 1024 * 1024
/** A Unix socket path has at most 107 bytes (docs/protocol.md 1). */
const SOCKET_BYTES_MAX = 107

export interface Exchange {
  method: string
  path: string
  headers?: Readonly<Record<string, string>>
  body?: string | Readable
  deadlineMs: number
  /** Ends the exchange from outside; for an answer that may take long. */
  signal?: AbortSignal
}
export interface Door {
  socketPath: string
  /** Who should answer, in messages: `hub` or `watchdog`. */
  name: string
  /** The advice that says how to start it. */
  start: string
}

const unreachable = (door: Door, why: string): Problem =>
  new Problem('unreachable', 'unavailable', `the ${door.name} does not answer (${why})`, door.start)

/** Refuses a socket that another account could have made (W1). @throws Problem `unreachable` if there is none, else `not_private`. */
function judgeSocket(door: Door): void {
  if (Buffer.byteLength(door.socketPath) > SOCKET_BYTES_MAX) {
    const text = `the path of its socket is longer than ${SOCKET_BYTES_MAX} bytes: ${door.socketPath}`
    throw new Problem('unreachable', 'unavailable', text, 'choose a home with a shorter path')
  }
  const run = path.dirname(door.socketPath)
  const mine = process.getuid?.() ?? 0
  const seen = (file: string) => {
    try {
      return lstatSync(file)
    } catch {
      throw unreachable(door, `no socket at ${door.socketPath}`)
    }
  }
  const folder = seen(run)
  const refuse = (what: string, next: string): never => {
    throw new Problem('not_private', 'refused', `${what}: somebody else could be answering there`, next)
  }
  if (!folder.isDirectory()) refuse(`${run} is not a folder`, `remove it and run \`hub up\``)
  if (folder.uid !== mine) refuse(`${run} belongs to user ${folder.uid}`, `run as that user, or choose another --home`)
  if ((folder.mode & 0o077) !== 0) {
    refuse(`${run} is open to other users (mode ${(folder.mode & 0o777).toString(8)})`, `chmod 700 ${run}`)
  }
  const socket = seen(door.socketPath)
  if (!socket.isSocket() || socket.uid !== mine)
    refuse(`${door.socketPath} is not our socket`, `remove it and run \`hub up\``)
}

/** Sends the request and returns the answer as soon as it begins; the caller reads its body. @throws Problem `unreachable` */
export function open(door: Door, call: Exchange): Promise<IncomingMessage> {
  judgeSocket(door)
  return new Promise((resolve, reject) => {
    const request = http.request({
      socketPath: door.socketPath,
      method: call.method,
      path: call.path,
      agent: false,
      headers: { host: 'localhost', ...call.headers },
    })
    const deadline = setTimeout(() => {
      request.destroy(unreachable(door, `no answer within ${Math.round(call.deadlineMs / 100) / 10} s`))
    }, call.deadlineMs)
    const abort = () => request.destroy(unreachable(door, 'given up'))
    call.signal?.addEventListener('abort', abort, { once: true })
    const done = () => {
      clearTimeout(deadline)
      call.signal?.removeEventListener('abort', abort)
    }
    request.on('close', done)
    request.on('error', (error: NodeJS.ErrnoException) => {
      reject(error instanceof Problem ? error : unreachable(door, error.code ?? error.message))
    })
    request.on('response', resolve)
    if (call.signal?.aborted) abort()
    if (call.body === undefined || typeof call.body === 'string') request.end(call.body)
    else {
      // An error of our own body does not mean that the other side is silent.
      call.body.on('error', (error) => request.destroy(toProblem(error)))
      call.body.pipe(request)
    }
  })
}

/** Reads the whole body, at most 16 MiB. @throws Problem if it is cut off or larger. */
export async function readBody(door: Door, response: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  let bytes = 0
  try {
    for await (const part of response as AsyncIterable<Buffer>) {
      bytes += part.length
      if (bytes > ANSWER_BYTES_MAX) {
        const text = `the answer of the ${door.name} is larger than ${ANSWER_BYTES_MAX} bytes`
        throw new Problem('too_large', 'fault', text, 'ask for less at once: --limit')
      }
      parts.push(part)
    }
  } catch (error) {
    if (error instanceof Problem) throw error
    throw unreachable(door, 'its answer was cut off')
  }
  return Buffer.concat(parts)
}
