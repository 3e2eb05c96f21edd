/** Places at the listeners of hub and watchdog: each has its own, written twice, and both are held to the same (T32, I6). */
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { keepPlaces as ofTheHub } from '../../../hub/edge/places.ts'
import { keepPlaces as ofTheWatchdog } from '../../../watchdog/door/connections.ts'
import { hold, talk } from '../../support/raw-wire.ts'

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`
const post = (bytes: number, body: string) => `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes}\r\n\r\n${body}`
const OK = { statuses: [200] }

let server: Server
const held: ReturnType<typeof hold>[] = []
afterEach(() => {
  for (const { end } of held.splice(0)) end()
  server.close()
})

describe.each([
  ['hub', ofTheHub],
  ['watchdog', ofTheWatchdog],
])('at the %s', (_name, keepPlaces) => {
  /** `/never` is not answered; `/stream` begins and does not end; `/early` is answered before its body is there. */
  async function open(most: number) {
    const serve = ({ url }: { url?: string | undefined }, response: ServerResponse) => {
      if (url === '/never') return
      if (url === '/stream') return void response.write('begun')
      response.end('done')
    }
    /** Requests whose head is there, and those that are whole. */
    let [heads, whole] = [0, 0]
    server = createServer((request, response) => {
      heads += 1
      if (request.url === '/early') return void response.writeHead(413).end()
      request.resume().on('end', () => {
        whole += 1
        serve(request, response)
      })
    })
    keepPlaces(server, most)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const where = { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
    let seen = 0
    server.on('connection', () => {
      seen += 1
    })
    /** Held in the order given, each known to the server with all that it has sent. */
    const take = async (...texts: string[]) => {
      for (const text of texts) {
        const before = [seen, heads, whole]
        held.push(hold(where, text))
        const isHead = text.includes('\r\n\r\n')
        const due = [1, isHead ? 1 : 0, isHead && text.startsWith('GET') ? 1 : 0]
        await expect.poll(() => [seen, heads, whole]).toEqual(due.map((more, at) => (before[at] ?? 0) + more))
      }
      await new Promise((resolve) => setTimeout(resolve, 30))
      return held.slice(-texts.length)
    }
    return { where, take }
  }
  const isOpen = (all: ReturnType<typeof hold>[]) => all.map(({ socket }) => !socket.destroyed)

  test('places.ts P1: half-open, slow headers, a slow body and an idle one go, the oldest first; who asks is answered', async () => {
    const { where, take } = await open(4)
    const all = await take('', 'GET / HT', post(9, '{'), get('/'))
    for (let gone = 1; gone <= 4; gone += 1) {
      expect(await talk(where, get('/'), 100), `newcomer ${gone}`).toMatchObject(OK)
      await expect.poll(() => isOpen(all).filter((one) => !one).length).toBeLessThanOrEqual(gone)
      // What the newcomer left free is taken again, so that the next one needs a place.
      await take('')
    }
    await expect.poll(() => isOpen(all)).toEqual([false, false, false, false])
  })

  test('places.ts P2, P3: a request that waits for its answer is never cut; of answers that do not end the oldest goes; else the newcomer', async () => {
    const { where, take } = await open(3)
    const all = await take(get('/stream'), get('/never'), get('/never'))
    expect(await talk(where, get('/'), 100)).toMatchObject(OK)
    await expect.poll(() => isOpen(all)).toEqual([false, true, true])
    await take(get('/never'))
    expect(await talk(where, get('/'), 100)).toEqual({ text: '', statuses: [], closed: true })
    expect(isOpen(all)).toEqual([false, true, true])
  })

  test('an answer that came before its request was whole holds no place for ever', async () => {
    const { where, take } = await open(2)
    const early = 'POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n'
    const all = await take(early, early)
    for (const { socket } of all) socket.write('ab')
    expect(await talk(where, get('/'), 100)).toMatchObject(OK)
    expect(await talk(where, post(2, 'ab'), 100)).toMatchObject(OK)
  })
})
