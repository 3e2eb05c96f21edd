/** A fast session for tests, over the joined key and token of a test agent: seals frames, counts acks and refusals, opens deliveries. */
import { sign } from 'node:crypto'
import { WebSocket } from 'ws'
import { newNonce, systemRandom } from '../../hub/base/random.ts'
import type { Delivery } from '../../hub/protocol/envelope.ts'
import { directionKey, FRAME_TYPES, helloText, openFrame, sealFrame } from '../../hub/protocol/frame.ts'
import type { Envelope, SigningClient } from './signing-client.ts'

export interface FrameLine {
  /** Sends at once and answers the frame's sequence. */
  send(envelope: Partial<Envelope>): number
  /** The highest committed sequence. */
  readonly upTo: number
  readonly refused: { id: string; problem: Record<string, unknown> }[]
  readonly deliveries: Delivery[]
  /** Hears every ack. */
  onAck: (upTo: number) => void
  /** What the socket has not taken yet. */
  readonly bufferedBytes: number
  /** The close code, once it has closed. */
  readonly closed: number | undefined
  close(): void
}

export async function openFrameLine(
  agent: Pick<SigningClient, 'socketPath' | 'token' | 'privateKey' | 'newId'>,
): Promise<FrameLine> {
  const ws = new WebSocket(`ws+unix:${agent.socketPath}:/v1/session`, { perMessageDeflate: false })
  await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject))
  const nonce = newNonce(systemRandom)
  const signature = sign(null, Buffer.from(helloText(agent.token, nonce)), agent.privateKey).toString('base64url')
  ws.send(JSON.stringify({ token: agent.token, nonce, signature, after: 0 }))
  const welcome = await new Promise<string>((resolve, reject) => {
    ws.once('message', (data) => resolve(String(data)))
    ws.once('close', (code, reason) => reject(new Error(`closed ${code} ${reason}`)))
  })
  const secret = Buffer.from((JSON.parse(welcome) as { welcome: string }).welcome, 'base64url')
  const [outgoing, incoming] = [directionKey(secret, 'agent-to-hub'), directionKey(secret, 'hub-to-agent')]
  let sent = 0
  let received = 0
  let upTo = 0
  let closed: number | undefined
  const line: FrameLine = {
    refused: [],
    deliveries: [],
    onAck: () => undefined,
    get upTo() {
      return upTo
    },
    get bufferedBytes() {
      return ws.bufferedAmount
    },
    get closed() {
      return closed
    },
    send(envelope) {
      sent += 1
      const text = JSON.stringify({ id: agent.newId(), ...envelope })
      ws.send(sealFrame(outgoing, 'agent-to-hub', FRAME_TYPES.envelope, sent, text))
      return sent
    },
    close: () => ws.terminate(),
  }
  ws.on('message', (data: Buffer) => {
    received += 1
    const opened = openFrame(incoming, 'hub-to-agent', received, data)
    if ('fault' in opened) throw new Error(`frame ${received} of the hub: ${opened.fault}`)
    const said = JSON.parse(opened.body.toString())
    if (opened.type === FRAME_TYPES.delivery) line.deliveries.push(said as Delivery)
    else {
      upTo = said.upTo
      line.refused.push(...(said.refused ?? []))
      line.onAck(upTo)
    }
  })
  ws.on('error', () => undefined)
  ws.on('close', (code) => {
    closed = code
  })
  return line
}
