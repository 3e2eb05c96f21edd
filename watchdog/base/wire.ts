/** One bounded HTTP exchange over a Unix socket: a deadline on the whole of it and a cap on the answer. Nothing is retried here. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Clock } from './clock.ts'
import { http } from './node-http.ts'

export interface Exchange {
  readonly socketPath: string
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly deadlineMs: number
  readonly bytesMax: number
}
export interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** Sends one request and reads the whole answer. Rejects on refusal, on the deadline, and past `bytesMax`. */
export function exchange(clock: Clock, call: Exchange): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const body = call.body === undefined ? undefined : Buffer.from(call.body, 'utf8')
    const request = http.request({
      socketPath: call.socketPath,
      method: call.method,
      path: call.path,
      agent: false,
      headers: {
        host: 'localhost',
        ...call.headers,
        ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length }),
      },
    })
    const cancel = clock.after(call.deadlineMs, () => {
      request.destroy(new Error(`no answer within ${call.deadlineMs} ms`))
    })
    const fail = (error: Error) => {
      cancel()
      reject(error)
    }
    request.on('error', fail)
    request.on('response', (response) => {
      const parts: Buffer[] = []
      let bytes = 0
      response.on('data', (part: Buffer) => {
        bytes += part.length
        if (bytes > call.bytesMax) request.destroy(new Error(`the answer is larger than ${call.bytesMax} bytes`))
        else parts.push(part)
      })
      response.on('error', fail)
      response.on('aborted', () => fail(new Error('the answer was cut off')))
      response.on('end', () => {
        cancel()
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) })
      })
    })
    request.end(body)
  })
}
