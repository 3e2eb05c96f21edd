/**
 * MCP over HTTP on the container's own loopback, for a session that has egress (others have no streams of IPv4). Only who sends the token of this
 * session is heard, under the server's own name and from no page of a browser.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createMcpHandler, type McpServerFactory } from '@modelcontextprotocol/server'
import { EGRESS_HOST } from '../egress-environment.ts'
import { LINE_MAX } from './line-transport.ts'

export const MCP_PATH = '/mcp'
const CONNECTIONS_MAX = 16
const REQUESTS_MAX = 64
const STREAMS_MAX = 4
/** For head and body of a request, in ms. */
const ARRIVAL_MS = 30_000
const digest = (text: string) => createHash('sha256').update(text).digest()

export interface McpHttp {
  server: Server
  url: string
}

interface Refusal {
  status: number
  why: string
}

/** Why a request is not heard, or undefined. */
function judgeRequest({ headers, url }: IncomingMessage, hosts: readonly string[], token: Buffer): Refusal | undefined {
  if (!hosts.includes(headers.host ?? '')) return { status: 421, why: `the host is one of ${hosts.join(', ')}` }
  if (headers.origin !== undefined) return { status: 403, why: 'no page of a browser may call this' }
  const [scheme, given = ''] = (headers.authorization ?? '').split(' ')
  if (scheme?.toLowerCase() !== 'bearer' || !timingSafeEqual(digest(given), token))
    return { status: 401, why: 'send the token of HUB_MCP_TOKEN: Authorization: Bearer TOKEN' }
  return url === MCP_PATH ? undefined : { status: 404, why: `there is only ${MCP_PATH}` }
}

async function bodyOf(request: IncomingMessage): Promise<Buffer | Refusal> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length
    if (bytes > LINE_MAX) return { status: 413, why: `a body over ${LINE_MAX} bytes` }
    parts.push(part)
  }
  return Buffer.concat(parts)
}

/** Listens before it answers. Rejects if it cannot. `port` 0 takes any, for tests. */
export async function openMcpHttp(factory: McpServerFactory, secret: string, port: number): Promise<McpHttp> {
  const handler = createMcpHandler(factory, { maxSubscriptions: STREAMS_MAX, maxRequestBodySize: LINE_MAX })
  const token = digest(secret)
  let hosts: string[] = []
  let underWay = 0

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refuse = ({ status, why }: Refusal) => {
      response.writeHead(status, { 'content-type': 'text/plain', connection: 'close' }).end(`${why}\n`)
    }
    const refusal = judgeRequest(request, hosts, token)
    if (refusal !== undefined) return refuse(refusal)
    if (underWay >= REQUESTS_MAX) return refuse({ status: 503, why: `${REQUESTS_MAX} requests are under way` })
    underWay += 1
    try {
      const body = await bodyOf(request)
      if ('why' in body) return refuse(body)
      const gone = new AbortController()
      response.on('close', () => gone.abort())
      const headers = Object.entries(request.headers).flatMap(([name, value]): [string, string][] =>
        typeof value === 'string' ? [[name, value]] : [],
      )
      const asked = new Request(`http://${hosts[0]}${MCP_PATH}`, {
        ...{ method: request.method ?? 'GET', headers, signal: gone.signal },
        ...(body.length === 0 ? {} : { body: new Uint8Array(body) }),
      })
      const answer = await handler.fetch(asked)
      response.writeHead(answer.status, Object.fromEntries(answer.headers))
      if (answer.body === null) response.end()
      else await pipeline(Readable.fromWeb(answer.body), response)
    } finally {
      underWay -= 1
    }
  }

  const server = createServer({ headersTimeout: ARRIVAL_MS, requestTimeout: ARRIVAL_MS }, (request, response) => {
    // A client that left, or that sent what no request can be: there is nobody to tell.
    serve(request, response).catch(() => response.destroy())
  })
  server.maxConnections = CONNECTIONS_MAX
  server.listen(port, EGRESS_HOST)
  await once(server, 'listening')
  server.unref()
  const { port: own } = server.address() as { port: number }
  hosts = [`${EGRESS_HOST}:${own}`, `localhost:${own}`]
  return { server, url: `http://${hosts[0]}${MCP_PATH}` }
}
