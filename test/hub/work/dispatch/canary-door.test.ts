/** The canary's door over a real socket, as an image that is not the shim might use it. */
import { mkdtempSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openCanaryDoor } from '../../../../hub/work/dispatch/canary-door.ts'
import type { SessionFacts } from '../../../../hub/work/sandbox/profile.ts'
import type { Sockets } from '../../../../hub/work/sandbox/sockets.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'
import { ask } from '../../../support/hub-harness.ts'

async function scene() {
  const path = join(mkdtempSync(join(tmpdir(), 'h-')), 'hub.sock')
  const sockets = { socketPathOf: () => path, open: () => undefined } as unknown as Sockets
  const door = await openCanaryDoor({ session: 's' } as SessionFacts, sockets, createFakeClock())
  onTestFinished(door.close)
  return { path, door }
}

test.each([
  ['GET', '/v1/join'],
  ['POST', '/v1/other'],
  ['POST', '/v1/join/'],
] as const)('%s %s is answered with 404, and the connection ends', async (method, url) => {
  const { path } = await scene()
  const { status } = await ask(path, method, url, undefined, {})
  expect(status).toBe(404)
  const held = connect(path)
  held.write(`${method} ${url} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n`)
  held.resume()
  await new Promise<void>((resolve) => held.once('close', () => resolve()))
})

test('who waits for mail is left waiting: a refusal would end the hungry program before it has run out of memory (fault A5)', async () => {
  const { path } = await scene()
  const mail = connect(path)
  mail.write('GET /v1/receive?after=0&waitMs=25000 HTTP/1.1\r\nhost: x\r\n\r\n')
  const heard: string[] = []
  mail.on('data', (piece: Buffer) => void heard.push(piece.toString()))
  // What comes after it on the same door is answered; it is not.
  expect((await ask(path, 'POST', '/v1/send', { kind: 'log', body: {} }, {})).status).toBe(200)
  expect([heard, mail.destroyed]).toEqual([[], false])
  mail.destroy()
})

test('of many connections eight are held, the rest are dropped', async () => {
  const { path } = await scene()
  const open = new Set<Socket>()
  const dropped = Promise.withResolvers<void>()
  for (let at = 0; at < 20; at += 1) {
    const socket = connect(path)
    open.add(socket)
    socket.on('error', () => undefined)
    socket.resume()
    socket.once('close', () => {
      open.delete(socket)
      if (open.size === 8) dropped.resolve()
    })
  }
  await dropped.promise
  // Who is let in is answered still.
  const [first] = open
  first?.destroy()
  await new Promise<void>((resolve) => first?.once('close', () => resolve()))
  expect((await ask(path, 'POST', '/v1/send', { kind: 'log', body: {} }, {})).status).toBe(200)
  for (const socket of open) socket.destroy()
})
