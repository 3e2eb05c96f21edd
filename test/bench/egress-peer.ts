/**
 * The other ends for the bench of egress, each in a process of its own. `upstream`: small answers, streams, large bodies and a model that uses every
 * token it may; says its port. `pull SOCKET-OR-PORT PATH`: reads one large body and says how long it took.
 */
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'

const [what = '', where = '', path = ''] = process.argv.slice(2)
const SMALL = JSON.stringify({ text: 'x'.repeat(200) })
const CHUNK = Buffer.alloc(65_536, 'large body of a bench\n')

function upstream(): void {
  const server = createServer((asked, response) => {
    const { pathname, searchParams } = new URL(asked.url ?? '/', 'http://bench')
    const pieces: Buffer[] = []
    asked.on('data', (piece) => pieces.push(piece))
    asked.on('end', () => {
      if (pathname === '/large') {
        let left = Number(searchParams.get('bytes'))
        response.writeHead(200, { 'content-length': left })
        const more = () => {
          while (left > 0) {
            const piece = left >= CHUNK.length ? CHUNK : CHUNK.subarray(0, left)
            left -= piece.length
            if (left === 0) response.end(piece)
            else if (!response.write(piece)) return
          }
        }
        response.on('drain', more)
        more()
      } else if (pathname === '/v1/chat/completions') {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        const isShort = JSON.parse(Buffer.concat(pieces).toString()).model === 'short'
        const [events, everyMs] = isShort ? [4, 2] : [100, 50]
        let n = 0
        const next = () => {
          n += 1
          const usage = { prompt_tokens: 10, completion_tokens: 20, total_tokens: 30 }
          const delta = { id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [] }
          response.write(`data: ${JSON.stringify(n < events ? delta : { ...delta, usage })}\n\n`)
          if (n < events && !response.destroyed) setTimeout(next, everyMs)
          else response.end('data: [DONE]\n\n')
        }
        next()
      } else if (pathname === '/v1/messages') {
        const { model, max_tokens: cap } = JSON.parse(Buffer.concat(pieces).toString()) as Record<string, unknown>
        const usage = { input_tokens: 10, output_tokens: cap }
        const content = [{ type: 'text', text: 'x' }]
        const message = {
          id: 'm',
          type: 'message',
          role: 'assistant',
          model,
          content,
          stop_reason: 'max_tokens',
          usage,
        }
        setTimeout(() => {
          response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(message))
        }, 5)
      } else response.writeHead(200, { 'content-type': 'application/json' }).end(SMALL)
    })
  })
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`))
  process.stdin.on('end', () => process.exit()).resume()
}

function pull(): void {
  const from = performance.now()
  const to = where.startsWith('/') ? { socketPath: where } : { host: '127.0.0.1', port: Number(where) }
  const asked = request({ ...to, path }, (response) => {
    let bytes = 0
    response.on('data', (piece: Buffer) => {
      bytes += piece.length
    })
    response.on('end', () => process.stdout.write(`${JSON.stringify({ bytes, ms: performance.now() - from })}\n`))
  })
  asked.end()
}

if (what === 'upstream') upstream()
else pull()
