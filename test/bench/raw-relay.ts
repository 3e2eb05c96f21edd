/** The raw baseline: a `ws` relay over Unix sockets that forwards each message to the partner and acknowledges it, and checks nothing. */
import { createServer } from 'node:http'
import { join } from 'node:path'
import { type WebSocket, WebSocketServer } from 'ws'

const [folder = '', count = '8'] = process.argv.slice(2)
const peers: (WebSocket | undefined)[] = []
for (let place = 0; place < Number(count); place += 1) {
  const server = createServer()
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false })
  server.on('upgrade', (request, socket, head) =>
    sockets.handleUpgrade(request, socket, head, (ws) => {
      peers[place] = ws
      let upTo = 0
      ws.on('message', (data) => {
        upTo += 1
        peers[(place + 1) % Number(count)]?.send(data)
        ws.send(`{"upTo":${upTo},"durable":true}`)
      })
    }),
  )
  await new Promise<void>((resolve) => server.listen(join(folder, `${place}.sock`), resolve))
}
process.send?.({ ready: true })
process.on('disconnect', () => process.exit(0))
process.on('message', (word) => {
  if (word === 'usage') process.send?.({ cpu: process.cpuUsage(), rss: process.memoryUsage.rss(), records: 0 })
  if (word === 'end') process.exit(0)
})
