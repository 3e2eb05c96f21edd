/** One call of a model on a session's second socket, as its program makes it; and a hub that has such an upstream. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'

export const MODEL = 'claude-haiku-4-5'
/** What must be seen nowhere but at the model server. */
export const CANARY = 'canary-Zq8wN3vTy0LmKc7RbXe51HdUa9'

/** `upstreams` of hub.yaml for a server on loopback. */
export const declared = (url: string) => ({ anthropic: { kind: 'anthropic', url, local: true, secret: 'model-key' } })

/** Puts its key into the home. */
export function writeKey(home: string): void {
  mkdirSync(join(home, 'secrets'), { recursive: true, mode: 0o700 })
  writeFileSync(join(home, 'secrets', 'model-key'), CANARY, { mode: 0o600 })
}

/** One call; resolves with what came, `isCut` where the connection broke. `told` fills while it comes. */
export function callModel(
  { home }: { home: string },
  { session }: { session: string },
  more: Record<string, unknown> = {},
  path = '/up/anthropic/v1/messages',
) {
  const body = { model: MODEL, max_tokens: 100, messages: [{ role: 'user', content: 'hello' }], ...more }
  const told = { status: 0, text: '', isCut: false }
  const done = new Promise<typeof told>((resolve) => {
    const asked = request(
      {
        ...{ socketPath: join(home, 'run', 's', session, 'egress.sock'), method: 'POST', path },
        headers: { 'content-type': 'application/json', 'anthropic-version': '2023-06-01' },
      },
      (response) => {
        told.status = response.statusCode ?? 0
        response.on('data', (piece) => {
          told.text += piece
        })
        response.on('end', () => resolve(told))
        response.on('error', () => resolve({ ...told, isCut: true }))
      },
    )
    asked.on('error', () => resolve({ ...told, isCut: true })).end(JSON.stringify(body))
  })
  return { told, done }
}
