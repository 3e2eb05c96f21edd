/** Real receivers on loopback for alert tests: an HTTP sink that behaves as told and a mail server that keeps its letters. */
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { SMTPServer } from 'smtp-server'
import type { Letter } from '../../watchdog/tell/channels/letter.ts'

export interface Received {
  readonly headers: http.IncomingHttpHeaders
  readonly url: string
  readonly body: string
}

/** Answers with `status` until told otherwise; `answer` replaces the whole answering. */
export async function httpSink() {
  const received: Received[] = []
  const sink = {
    received,
    url: '',
    status: 200,
    answer: undefined as ((response: http.ServerResponse) => void) | undefined,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
  const server = http.createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      received.push({ headers: request.headers, url: request.url ?? '', body: Buffer.concat(parts).toString('utf8') })
      if (sink.answer) return sink.answer(response)
      response.statusCode = sink.status
      response.end('so it is')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  sink.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return sink
}

/** A real SMTP server that keeps what it got; with `user`, the password is `secret`; with `tls` it offers STARTTLS. */
export async function mailSink(user?: string, refuses: string[] = [], tls?: { key: string; cert: string }) {
  const letters: string[] = []
  const recipients: string[] = []
  /** Of each letter, whether it came over TLS. */
  const secured: boolean[] = []
  const server = new SMTPServer({
    authOptional: user === undefined,
    allowInsecureAuth: true,
    ...(tls === undefined ? { disabledCommands: ['STARTTLS'] } : tls),
    onAuth: (auth, _session, done) =>
      auth.username === user && auth.password === 'secret' ? done(null, { user }) : done(new Error('who are you')),
    onRcptTo: (address, _session, done) => {
      if (refuses.includes(address.address)) return done(new Error('no such mailbox'))
      recipients.push(address.address)
      done()
    },
    onData(stream, session, done) {
      const parts: Buffer[] = []
      secured.push(session.secure)
      stream.on('data', (part) => parts.push(part))
      stream.on('end', () => {
        letters.push(Buffer.concat(parts).toString())
        done()
      })
    },
  })
  // A client that breaks off over a certificate is no fault of the server's.
  server.on('error', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.server.address() as AddressInfo
  return { port, letters, recipients, secured, close: () => server.close() }
}

/** A port on which whoever connects is kept waiting for ever. */
export async function silentSink() {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

export const makeLetter = (over: Partial<Letter> = {}): Letter => ({
  id: 'a1',
  instance: '0f0e0d0c-0000-4000-8000-00000000abcd',
  severity: 'warning',
  subject: 'hub watchdog, warning: hub health',
  text: 'The hub does not answer.',
  alerts: [
    {
      name: 'hub_health',
      status: 'firing',
      severity: 'warning',
      text: 'The hub does not answer.',
      startsAtMs: Date.UTC(2026, 0, 5, 9),
      endsAtMs: null,
      fingerprint: 'hub_health-3',
    },
  ],
  ...over,
})

/** A clock whose timers fire when it is moved past them, in order. */
export function createTimerClock(wallMs = Date.UTC(2026, 0, 5, 9)) {
  let nowMs = 0
  let timers: { atMs: number; fn: () => void }[] = []
  return {
    read: () => ({
      wallMs: wallMs + nowMs,
      bootMs: 5_000_000 + nowMs,
      monotonicMs: 4_000_000 + nowMs,
      bootId: 'boot-a',
    }),
    after(delayMs: number, fn: () => void) {
      const timer = { atMs: nowMs + delayMs, fn }
      timers.push(timer)
      return () => {
        timers = timers.filter((one) => one !== timer)
      }
    },
    /** Moves on and lets everything that became due run, promises included. */
    async move(ms: number) {
      const untilMs = nowMs + ms
      for (;;) {
        await new Promise((resolve) => setImmediate(resolve))
        const next = timers.filter((one) => one.atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0]
        if (next === undefined) break
        timers = timers.filter((one) => one !== next)
        nowMs = Math.max(nowMs, next.atMs)
        next.fn()
      }
      nowMs = untilMs
    },
  }
}
