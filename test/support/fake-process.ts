/**
 * A stand-in for the hub or the watchdog as a process: `node fake-process.ts ROLE --home DIR [--how never|crash|stubborn]`.
 * Writes its pid, listens on its socket, prints its ready line, and ends when it is told to.
 */
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import path from 'node:path'

const [role = '', , home = '', , how = ''] = process.argv.slice(2)
const folder = role === 'hub' ? home : path.join(home, 'watchdog')
const socket = path.join(folder, 'run', role === 'hub' ? 'operator.sock' : 'watchdog.sock')
const pidFile = role === 'hub' ? path.join(home, 'run', 'hub.pid') : path.join(home, 'watchdog', 'watchdog.pid')

process.stdout.write(`{"level":"info","text":"${role} begins"}\n`)
if (how === 'crash') {
  process.stderr.write(
    'hub begins\n{"level":40,"msg":"no alert channel is configured"}\nhub: port 7300 is in use; choose another\n',
  )
  process.exit(4)
}
const end = () => {
  rmSync(pidFile, { force: true })
  rmSync(socket, { force: true })
  process.exit(0)
}
const server = http.createServer((request, response) => {
  const name = `${request.method} ${request.url}`
  request.resume()
  response.writeHead(200, { 'content-type': 'application/json' })
  if (name === 'POST /v1/shutdown') {
    const container = { container: 'hub-0d0c0b0a-s1', session: 's1', outcome: 'gone' }
    response.end(JSON.stringify({ path: role, requested: 1, containers: [container] }))
  } else response.end(JSON.stringify({ mode: 'normal', pid: process.pid }))
  const ends = name === 'POST /v1/exit' || (role === 'hub' && name === 'POST /v1/shutdown')
  if (ends && how !== 'stubborn') response.on('close', end)
})
if (how === 'never') setInterval(() => {}, 1000)
else {
  if (existsSync(socket)) rmSync(socket)
  writeFileSync(pidFile, `${process.pid}\n`)
  server.listen(socket, () => process.stdout.write(`{"ready":true,"role":"${role}"}\n`))
}
