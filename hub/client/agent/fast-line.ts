/**
 * One open fast session of this agent: WebSocket `/v1/session` on its socket (docs/protocol.md 3). Knows frames, not what is repeated.
 *
 * 1. Nothing from the hub is used before its tag and its exact sequence are checked; a fault closes the line and counts as a lost link.
 * 2. `seen` tells the hub what the program holds, every 64 deliveries or 20 ms.
 * 3. `ws` is loaded when the first line opens: a task that sends little never pays for it.
 */
import type { WebSocket } from 'ws'
import { newNonce, systemRandom } from '../../base/random.ts'
import type { Delivery } from '../../protocol/envelope.ts'
import { directionKey, FRAME_TYPES, helloText, openFrame, sealFrame } from '../../protocol/frame.ts'
import { LinkLost } from './wire.ts'

export interface Ack {
  /** Everything up to this sequence is committed, or passed on by a hub whose store fails, but for what is refused. */
  upTo: number
  refused: ReadonlyMap<number, Record<string, unknown>>
}

export interface FastLineOptions {
  socketPath: string
  /** Of a renewal made for this opening: a token's id opens one session only. */
  token: string
  sign: (text: string) => string
  /** The last delivery this agent holds. */
  after: number
  onAck: (ack: Ack) => void
  onDelivery: (delivery: Delivery) => void
  /** Once, however it ended; 1006 when no close was said. */
  onClosed: (code: number) => void
}

export interface FastLine {
  /** Sends one envelope and answers its sequence; its ack comes later. */
  say(envelope: Buffer): number
  /** The program holds everything up to `after`, `count` more than before. */
  seen(after: number, count: number): void
  /** Ends it at once; `onClosed` follows. */
  close(): void
}

const OPEN_MS_MAX = 5_000
const FRAME_BYTES_MAX = 2 * 1024 ** 2
const SEEN_EVERY = 64
const SEEN_WITHIN_MS = 20

/** Opens the line and greets. Throws LinkLost, or the error of loading `ws`. */
export async function openFastLine(options: FastLineOptions): Promise<FastLine> {
  const { WebSocket } = await import('ws')
  const ws = new WebSocket(`ws+unix:${options.socketPath}:/v1/session`, {
    perMessageDeflate: false,
    maxPayload: FRAME_BYTES_MAX,
    handshakeTimeout: OPEN_MS_MAX,
  })
  return await greet(ws, options)
}

function greet(ws: WebSocket, options: FastLineOptions): Promise<FastLine> {
  const { token, sign, after } = options
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => fail('no welcome in time'), OPEN_MS_MAX).unref()
    function fail(why: string): void {
      clearTimeout(late)
      reject(new LinkLost(why))
      ws.terminate()
    }
    ws.on('error', (thrown) => fail(thrown.message))
    ws.once('close', (code) => fail(`closed with ${code} before the welcome`))
    ws.once('open', () => {
      const nonce = newNonce(systemRandom)
      ws.send(JSON.stringify({ token, nonce, signature: sign(helloText(token, nonce)), after }))
    })
    ws.once('message', (data: Buffer, isBinary) => {
      clearTimeout(late)
      try {
        if (isBinary) throw new Error('a frame came before the welcome')
        const secret = Buffer.from(String((JSON.parse(data.toString()) as { welcome?: unknown }).welcome), 'base64url')
        if (secret.length !== 32) throw new Error('the welcome holds no key')
        // Before this turn of the event loop ends: the next frame may be in the same chunk.
        resolve(createFastLine(ws, secret, options))
      } catch (thrown) {
        fail((thrown as Error).message)
      }
    })
  })
}

function createFastLine(ws: WebSocket, secret: Buffer, { after, ...heard }: FastLineOptions): FastLine {
  const outgoing = directionKey(secret, 'agent-to-hub')
  const incoming = directionKey(secret, 'hub-to-agent')
  let sent = 0
  let received = 0
  let held = after
  let told = after
  let untold = 0
  let timer: NodeJS.Timeout | undefined

  function say(type: typeof FRAME_TYPES.envelope | typeof FRAME_TYPES.seen, body: string | Buffer): number {
    sent += 1
    ws.send(sealFrame(outgoing, 'agent-to-hub', type, sent, body.toString()))
    return sent
  }
  function tellSeen(): void {
    clearTimeout(timer)
    timer = undefined
    untold = 0
    if (held === told || ws.readyState !== ws.OPEN) return
    told = held
    say(FRAME_TYPES.seen, JSON.stringify({ after: held }))
  }

  function take(frame: Buffer): void {
    const opened = openFrame(incoming, 'hub-to-agent', received + 1, frame)
    if ('fault' in opened) throw new Error(opened.fault)
    received += 1
    const said = JSON.parse(opened.body.toString()) as Record<string, unknown>
    if (opened.type === FRAME_TYPES.ack) heard.onAck(ackOf(said))
    else if (opened.type === FRAME_TYPES.delivery) heard.onDelivery(said as unknown as Delivery)
    else throw new Error(`frame of type ${opened.type}`)
  }

  ws.on('message', (data: Buffer, isBinary) => {
    try {
      take(isBinary ? data : Buffer.alloc(0))
    } catch {
      ws.removeAllListeners('message')
      ws.terminate()
    }
  })
  ws.once('close', (code) => {
    clearTimeout(timer)
    heard.onClosed(code)
  })

  return {
    say: (envelope) => say(FRAME_TYPES.envelope, envelope),
    seen(number, count) {
      held = Math.max(held, number)
      untold += count
      if (untold >= SEEN_EVERY) tellSeen()
      else timer ??= setTimeout(tellSeen, SEEN_WITHIN_MS).unref()
    },
    close: () => ws.terminate(),
  }
}

function ackOf(said: Record<string, unknown>): Ack {
  const refused = new Map<number, Record<string, unknown>>()
  for (const { problem } of (said.refused ?? []) as { problem: Record<string, unknown> }[]) {
    refused.set(Number(problem.sequence), problem)
  }
  // While the hub's store fails it says that nothing is durable: passed on and recorded, in its memory. What ends a line says 0.
  return { upTo: Number(said.upTo), refused }
}
