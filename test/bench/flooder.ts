/**
 * A process of its own that floods from the word it hears until it is ended, and says twice a second how much: `flood` and `refused` send as many
 * frames as the session's socket takes, the second such that each is refused; `http` pipelines requests on four connections.
 */
import { connect } from 'node:net'
import { newUuid, systemRandom } from '../../hub/base/random.ts'
import { HTTP_CONNECTIONS, HTTP_PER_SECOND } from './flood-plan.ts'
import { openFrameClient } from './frame-client.ts'

const AT_ONCE = 100
const BUFFERED_BYTES_MAX = 256 * 1024
const TICK_MS = 5
const REQUEST = 'GET /v1/artifacts HTTP/1.1\r\nHost: hub\r\n\r\n'

const socketPath = process.argv[2] ?? ''
const client = await openFrameClient(socketPath)
let refused = 0
/** Frames sent, or requests answered. */
let done = () => client.sent
client.onAck = (_upTo, more) => {
  refused += more
}

const id = () => newUuid(systemRandom, Date.now())
const line = () => `{"id":"${id()}","kind":"log","to":"hub","type":"task.log","body":{"text":"x"}}`
/** A type that no card names, a body against its shape, an answer to nothing: each refused under an operation of its own. */
const WRONG = [
  () => `{"id":"${id()}","kind":"request","to":"agent:bench","type":"x.y","body":{}}`,
  () => `{"id":"${id()}","kind":"progress","to":"hub","type":"task.progress","body":{"total":-1}}`,
  () => `{"id":"${id()}","kind":"reply","to":"hub","type":"x.y","correlationId":"${id()}","body":{}}`,
]

async function sendFrames(make: (nth: number) => string): Promise<never> {
  for (let nth = 0; ; ) {
    if (client.bufferedBytes < BUFFERED_BYTES_MAX)
      for (const until = nth + AT_ONCE; nth < until; nth += 1) client.send(make(nth))
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Keeps to its rate, as far as the hub reads: what a socket has not taken is not written twice. */
function pipeline(): void {
  let answered = 0
  done = () => answered
  const each = Math.ceil((HTTP_PER_SECOND * TICK_MS) / 1000 / HTTP_CONNECTIONS)
  for (let nth = 0; nth < HTTP_CONNECTIONS; nth += 1) {
    // The line of frames has a place of its own among the four.
    const socket = connect(socketPath)
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      answered += chunk.toString('latin1').split('HTTP/1.1 ').length - 1
    })
    const timer = setInterval(() => {
      if (socket.writableLength < BUFFERED_BYTES_MAX) socket.write(REQUEST.repeat(each))
    }, TICK_MS)
    socket.on('close', () => clearInterval(timer))
  }
}

process.on('disconnect', () => process.exit(0))
process.on('message', (word) => {
  const startedAt = performance.now()
  setInterval(() => {
    process.send?.({ sent: done(), refused, seconds: (performance.now() - startedAt) / 1000 })
  }, 500)
  if (word === 'http') {
    client.close()
    pipeline()
  } else void sendFrames(word === 'flood' ? line : (nth) => (WRONG[nth % WRONG.length] ?? line)())
})
process.send?.('open')
