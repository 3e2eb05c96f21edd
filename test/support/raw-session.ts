/** A fast session opened by hand for tests: what the hub sends is checked, what is sent to it may be anything. */
import type { KeyObject } from 'node:crypto'
import { sign } from 'node:crypto'
import { WebSocket } from 'ws'
import { newNonce, systemRandom } from '../../hub/base/random.ts'
import type { Delivery } from '../../hub/protocol/envelope.ts'
import { directionKey, FRAME_TYPES, type FrameType, helloText, openFrame, sealFrame } from '../../hub/protocol/frame.ts'
import type { SigningClient } from './signing-client.ts'

export interface Ack {
  upTo: number
  durable: boolean
  refused?: { id: string; problem: Record<string, unknown> }[]
}

export interface RawSession {
  readonly ws: WebSocket
  readonly secret: Buffer
  /** The agent's own key, to seal what is not the next frame. */
  readonly outgoing: KeyObject
  readonly acks: Ack[]
  readonly deliveries: Delivery[]
  /** Frames of the hub as they came. */
  readonly frames: Buffer[]
  /** The close code; 1006 when it was cut. */
  readonly closed: Promise<number>
  closedWith: number | undefined
  /** Of the last frame that was sealed in order. */
  sequence: number
  /** Seals the next frame without sending it. */
  seal(body: unknown, type?: FrameType): Buffer
  send(body: unknown, type?: FrameType): void
}

export interface Opening {
  after?: number
  token?: string
  key?: KeyObject
  /** In the place of the hello. */
  hello?: string | Buffer
}

/** Upgrades and greets. Rejects with the close code when the hub does not welcome it. */
export async function openRawSession(agent: SigningClient, opening: Opening = {}): Promise<RawSession> {
  const ws = new WebSocket(`ws+unix:${agent.socketPath}:/v1/session`, { perMessageDeflate: false })
  let tell: (code: number) => void = () => undefined
  const closed = new Promise<number>((resolve) => {
    tell = resolve
  })
  await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject))
  ws.on('error', () => undefined)
  const token = opening.token ?? agent.token
  const nonce = newNonce(systemRandom)
  const signature = sign(null, Buffer.from(helloText(token, nonce)), opening.key ?? agent.privateKey)
  ws.send(
    opening.hello ??
      JSON.stringify({ token, nonce, signature: signature.toString('base64url'), after: opening.after ?? 0 }),
  )
  return new Promise((resolve, reject) => {
    let session: (RawSession & { incoming: KeyObject; received: number }) | undefined
    ws.on('close', (code) => {
      if (session !== undefined) session.closedWith = code
      tell(code)
      reject(new Error(`closed with ${code}`))
    })
    ws.on('message', (data: Buffer) => {
      if (session !== undefined) {
        take(session, data)
        return
      }
      const secret = Buffer.from((JSON.parse(data.toString()) as { welcome: string }).welcome, 'base64url')
      session = { ...create(ws, secret, closed), incoming: directionKey(secret, 'hub-to-agent'), received: 0 }
      resolve(session)
    })
  })
}

function create(ws: WebSocket, secret: Buffer, closed: Promise<number>): RawSession {
  return {
    ws,
    secret,
    outgoing: directionKey(secret, 'agent-to-hub'),
    acks: [],
    deliveries: [],
    frames: [],
    closed,
    closedWith: undefined,
    sequence: 0,
    seal(body, type = FRAME_TYPES.envelope) {
      this.sequence += 1
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      return sealFrame(this.outgoing, 'agent-to-hub', type, this.sequence, text)
    },
    send(body, type) {
      this.ws.send(this.seal(body, type))
    },
  }
}

function take(session: RawSession & { incoming: KeyObject; received: number }, frame: Buffer): void {
  const opened = openFrame(session.incoming, 'hub-to-agent', session.received + 1, frame)
  if ('fault' in opened) throw new Error(`the hub sent a frame with ${opened.fault}`)
  session.received += 1
  session.frames.push(frame)
  const said: unknown = JSON.parse(opened.body.toString())
  if (opened.type === FRAME_TYPES.ack) session.acks.push(said as Ack)
  else session.deliveries.push(said as Delivery)
}
