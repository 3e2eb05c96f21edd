/** A server in the watchdog's place in a home: keeps what it was told and answers as it was told to. */
import { mkdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import type { PresenceAnswer } from '../../watchdog/watch/status.ts'

export interface FakeWatchdog {
  readonly heard: { path: string; body: Record<string, unknown> }[]
  /** By path; what is not said is as at the real one for a word of the operator's, and else `{}`. */
  readonly answers: Record<string, object>
  /** By path: refused with 409 and this word. */
  readonly refusals: Record<string, string>
  /** Asked first; what it answers goes before `answers`. */
  onAsk: (asked: { path: string; body: Record<string, unknown> }) => object | undefined
  close(): Promise<void>
}

/** The next deadlines, as whoever may say that somebody is there hears them. */
export const PRESENCE: PresenceAnswer = {
  acceptedAtMs: 1,
  dueAtMs: 2,
  dueInMs: 1,
  safeAtMs: 3,
  stopAtMs: 4,
  zone: 'UTC',
  conditions: [],
  text: '',
}
const WORDS = new Set(['/v1/heartbeat', '/v1/away', '/v1/back'])

export async function openFakeWatchdog(home: string): Promise<FakeWatchdog> {
  const heard: FakeWatchdog['heard'] = []
  const answers: Record<string, object> = {}
  const refusals: Record<string, string> = {}
  const server = createServer((request, response) => {
    let text = ''
    request.on('data', (part) => {
      text += part
    })
    request.on('end', () => {
      const path = request.url ?? ''
      const asked = { path, body: JSON.parse(text === '' ? '{}' : text) as Record<string, unknown> }
      heard.push(asked)
      response.setHeader('content-type', 'application/json')
      const error = refusals[path]
      if (error !== undefined) response.statusCode = 409
      response.end(
        JSON.stringify(
          error === undefined
            ? (fake.onAsk(asked) ?? { ...(WORDS.has(path) ? PRESENCE : {}), ...answers[path] })
            : { error },
        ),
      )
    })
  })
  const folder = join(home, 'watchdog', 'run')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  await new Promise<void>((resolve) => server.listen(join(folder, 'watchdog.sock'), resolve))
  const fake: FakeWatchdog = {
    heard,
    answers,
    refusals,
    onAsk: () => undefined,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
  return fake
}
