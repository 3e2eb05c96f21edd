/** A thread of its own that floods one fast session: as many frames as the socket takes, from when it is told to until it is told to stop, and a few at least. */
import { createPrivateKey } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import { newUuid, systemRandom } from '../../hub/base/random.ts'
import { openFrameLine } from './frame-line.ts'

const { socketPath, token, privateKey, atLeast } = workerData as {
  socketPath: string
  token: string
  privateKey: string
  /** It sends so many, however late it is heard on a busy machine. */
  atLeast: number
}
const line = await openFrameLine({
  socketPath,
  token,
  privateKey: createPrivateKey(privateKey),
  newId: () => newUuid(systemRandom, Date.now()),
})
const FRAME = { kind: 'log', to: 'hub', type: 'task.log', body: { text: 'x' } } as const
let flooding = true
const told = () => new Promise<void>((resolve) => parentPort?.once('message', () => resolve()))
parentPort?.postMessage('open')
await told()
void told().then(() => {
  flooding = false
})
let sent = 0
while (flooding || sent < atLeast) {
  if (line.bufferedBytes < 256 * 1024) for (let nth = 0; nth < 100; nth += 1) sent = line.send(FRAME)
  await new Promise<void>((resolve) => setImmediate(resolve))
}
while (line.upTo < sent && line.closed === undefined) await new Promise<void>((resolve) => setTimeout(resolve, 5))
const codes = [...new Set(line.refused.map(({ problem }) => String(problem.code)))]
parentPort?.postMessage({ sent, passed: line.upTo - line.refused.length, codes, closed: line.closed })
line.close()
