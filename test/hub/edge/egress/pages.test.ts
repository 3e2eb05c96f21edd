/** Pages of registries count in the memory that all bodies share, until the agent has them (E20). */
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { createHeld } from '../../../../hub/edge/egress/bodies.ts'
import { createLeakPatterns, createLeakScan } from '../../../../hub/edge/egress/leak-scan.ts'
import { createPages } from '../../../../hub/edge/egress/pages.ts'
import type { OutwardAnswer } from '../../../../hub/guard/outward/exchange.ts'
import { upstreamsShape } from '../../../../hub/protocol/egress/upstreams.ts'
import { eventually } from '../../../support/egress-scene.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'

const REGISTRY = 'https://registry.example.org'
const [npm] = upstreamsShape.parse({ npm: { kind: 'npm', url: REGISTRY } })
const LINK = `{"tarball":"${REGISTRY}/tool/-/tool-1.0.0.tgz"}`
const LINK_ANEW = '{"tarball":"http://127.0.0.1:47080/up/npm/tool/-/tool-1.0.0.tgz"}'

/** Hands out its bytes one piece after the other, in memory that it uses again. */
function answerOf(bytes: Buffer, pieceBytes: number): OutwardAnswer {
  let isCut = false
  return {
    status: 200,
    rawHeaders: ['content-type', 'application/json'],
    async read(take) {
      const piece = Buffer.alloc(pieceBytes)
      for (let at = 0; at < bytes.length && !isCut; at += pieceBytes) {
        const length = bytes.copy(piece, 0, at, at + pieceBytes)
        await take(piece.subarray(0, length))
        piece.fill(0)
      }
      if (isCut) throw new Error('it was cut')
    },
    cut() {
      isCut = true
    },
  }
}

let server: Server
const clients = new Set<Socket>()
afterEach(() => {
  for (const each of clients) each.destroy()
  server.close()
})

/** Asks for a page, for an agent that reads it only once `read` was called. */
async function page(most: number, bytes: Buffer, pieceBytes = 65_536) {
  const [held, clock] = [createHeld(most), createFakeClock()]
  const send = createPages({ held, clock })
  const scan = createLeakScan(createLeakPatterns([['k', Buffer.from('Zq8wN3vTy0LmKc7RbXe51HdUa9')]]))
  const told = { cameBytes: 0, error: undefined as unknown, isOver: false }
  server = createServer((incoming, response) => {
    const outgoing = { session: 's', request: incoming, response, upstream: npm } as never
    const hear = { came: (came: number) => (told.cameBytes = came), whole: async () => undefined }
    send(outgoing, answerOf(bytes, pieceBytes), scan, hear)
      .catch((thrown) => {
        told.error = thrown
        response.destroy()
      })
      .finally(() => {
        told.isOver = true
      })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const asked = request({ host: '127.0.0.1', port: (server.address() as AddressInfo).port })
  asked.on('socket', (socket) => clients.add(socket)).on('error', () => undefined)
  asked.end()
  const got = new Promise<import('node:http').IncomingMessage>((resolve) => asked.once('response', resolve))
  const read = async () => {
    const pieces: Buffer[] = []
    for await (const piece of await got) pieces.push(piece as Buffer)
    return Buffer.concat(pieces).toString()
  }
  return { held, clock, told, read }
}

describe('a page of a registry [E20]', () => {
  it('that comes byte by byte is copied together, written anew, and gives its memory back', async () => {
    const { held, told, read } = await page(1000, Buffer.from(LINK), 1)
    expect(await read()).toBe(LINK_ANEW)
    await eventually(() => told.isOver)
    expect({ error: told.error, cameBytes: told.cameBytes, held: held.bytes }).toEqual({
      ...{ error: undefined, cameBytes: LINK.length, held: 0 },
    })
  })

  it('for which there is no room is refused, and holds nothing', async () => {
    const { held, told } = await page(LINK.length - 1, Buffer.from(LINK), 10)
    await eventually(() => told.isOver)
    expect(told).toMatchObject({ error: { code: 'rate_limited' }, cameBytes: 0 })
    expect(held.bytes).toBe(0)
  })

  it('counts while its reader does not read, and is cut after two minutes of that [E12]', async () => {
    const large = Buffer.concat([Buffer.from(LINK), Buffer.alloc(8 << 20, ' ')])
    const { held, clock, told } = await page(32 << 20, large)
    await eventually(() => held.bytes === large.length - LINK.length + LINK_ANEW.length)
    await clock.advance(119_000)
    expect(told.isOver).toBe(false)
    await clock.advance(2000)
    await eventually(() => told.isOver)
    expect(held.bytes).toBe(0)
  })
})
