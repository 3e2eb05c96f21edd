/** A lean frame client for the benchmark: joins by signed request, opens a session, seals and sends; deliveries are counted, not verified. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { Agent, request } from 'node:http'
import { WebSocket } from 'ws'
import { directionKey, FRAME_OVERHEAD_BYTES, FRAME_TYPES, helloText, sealFrame } from '../../hub/protocol/frame.ts'
import { signedText } from '../../hub/protocol/signing.ts'

export interface FrameClient {
  send(text: string): void
  /** Hears the highest committed sequence. */
  onAck: (upTo: number, refused: number) => void
  onDelivery: (body: Buffer) => void
  readonly sent: number
  /** What the socket has not taken yet. */
  readonly bufferedBytes: number
  signed(method: string, path: string, body?: string): Promise<{ status: number; text: string }>
  close(): void
}

const nonceText = () => randomBytes(16).toString('base64url')

export async function openFrameClient(socketPath: string): Promise<FrameClient> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  let token = ''
  const exchange = signer(socketPath, privateKey, () => token)
  const x = publicKey.export({ format: 'jwk' }).x ?? ''
  const joined = await exchange('POST', '/v1/join', JSON.stringify({ publicKey: x }))
  if (joined.status !== 200) throw new Error(`join: ${joined.text}`)
  token = (JSON.parse(joined.text) as { token: string }).token
  const ws = new WebSocket(`ws+unix:${socketPath}:/v1/session`, { perMessageDeflate: false })
  await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject))
  const nonce = nonceText()
  ws.send(
    JSON.stringify({
      token,
      nonce,
      signature: sign(null, Buffer.from(helloText(token, nonce)), privateKey).toString('base64url'),
      after: 0,
    }),
  )
  const welcome = await new Promise<string>((resolve, reject) => {
    ws.once('message', (data) => resolve(String(data)))
    ws.once('close', (code, reason) => reject(new Error(`closed ${code} ${reason}`)))
  })
  const outgoing = directionKey(
    Buffer.from((JSON.parse(welcome) as { welcome: string }).welcome, 'base64url'),
    'agent-to-hub',
  )
  let sent = 0
  let unseen = 0
  const client: FrameClient = {
    onAck: () => undefined,
    onDelivery: () => undefined,
    get sent() {
      return sent
    },
    get bufferedBytes() {
      return ws.bufferedAmount
    },
    send(text) {
      sent += 1
      ws.send(sealFrame(outgoing, 'agent-to-hub', FRAME_TYPES.envelope, sent, text))
    },
    signed: exchange,
    close: () => ws.terminate(),
  }
  ws.on('message', (data: Buffer) => {
    const body = data.subarray(FRAME_OVERHEAD_BYTES)
    if (data[1] === FRAME_TYPES.ack) {
      const ack = JSON.parse(body.toString()) as { upTo: number; refused?: unknown[] }
      client.onAck(ack.upTo, ack.refused?.length ?? 0)
      return
    }
    unseen += 1
    if (unseen % 64 === 0) {
      const { number } = JSON.parse(body.toString()) as { number: number }
      sent += 1
      ws.send(sealFrame(outgoing, 'agent-to-hub', FRAME_TYPES.seen, sent, JSON.stringify({ after: number })))
    }
    client.onDelivery(body)
  })
  ws.on('close', (code, reason) => code !== 1006 && process.stderr.write(`session closed: ${code} ${reason}\n`))
  return client
}

/** Signed requests over two kept-alive connections: a session has four, one of them for its frames. */
function signer(socketPath: string, privateKey: KeyObject, tokenOf: () => string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 2 })
  return (method: string, path: string, body = ''): Promise<{ status: number; text: string }> =>
    new Promise((resolve, reject) => {
      const timestampMs = String(Date.now())
      const nonce = nonceText()
      const bodySha256 = createHash('sha256').update(body).digest('hex')
      const signature = sign(
        null,
        Buffer.from(signedText({ method, path, timestampMs, nonce, bodySha256 })),
        privateKey,
      ).toString('base64url')
      const token = tokenOf()
      const sent = request({
        agent,
        socketPath,
        path,
        method,
        headers: {
          ...(body === '' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
          ...(token === '' ? {} : { 'hub-token': token }),
          'hub-timestamp': timestampMs,
          'hub-nonce': nonce,
          'hub-signature': signature,
        },
      })
      sent.on('response', (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part
        })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
      })
      sent.on('error', reject)
      sent.end(body)
    })
}
