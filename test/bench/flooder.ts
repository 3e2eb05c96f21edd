/** A process of its own that sends as many frames as its session's socket takes, from the word `flood` until it is ended; says each second how many. */
import { newUuid, systemRandom } from '../../hub/base/random.ts'
import { openFrameClient } from './frame-client.ts'

const AT_ONCE = 100
const BUFFERED_BYTES_MAX = 256 * 1024

const client = await openFrameClient(process.argv[2] ?? '')
let refused = 0
client.onAck = (_upTo, more) => {
  refused += more
}
process.on('disconnect', () => process.exit(0))
process.on('message', async () => {
  const startedAt = performance.now()
  setInterval(() => {
    process.send?.({ sent: client.sent, refused, seconds: (performance.now() - startedAt) / 1000 })
  }, 500)
  for (;;) {
    if (client.bufferedBytes < BUFFERED_BYTES_MAX)
      for (let nth = 0; nth < AT_ONCE; nth += 1)
        client.send(
          `{"id":"${newUuid(systemRandom, Date.now())}","kind":"log","to":"hub","type":"task.log","body":{"text":"x"}}`,
        )
    await new Promise((resolve) => setImmediate(resolve))
  }
})
process.send?.('open')
