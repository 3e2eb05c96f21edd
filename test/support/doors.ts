/** Who may come to a hub of a test from outside, each by its own way in, and rules that change under it. */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { ask, createHarness, type Harness, type HarnessOptions, type OperatorAnswer } from './hub-harness.ts'
import { send } from './plain-http.ts'

export type Row = Record<string, unknown>
/** One call of one principal. */
export type Caller = (
  method: 'GET' | 'POST' | 'PUT',
  path: string,
  body?: object | string,
  headers?: Record<string, string>,
) => Promise<OperatorAnswer>

export const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

export interface Doors {
  h: Harness
  operator: Caller
  /** A token of these actions, or a device of these rights. */
  token(name: string, actions: string[]): Promise<Caller>
  device(name: string, rights: string[]): Promise<Caller>
  /** Changes rows of policy/data.json, and loads it. */
  rules(change: (agents: Record<string, Row>) => void): Promise<void>
  /** Puts these two texts as an input; answers what a task names. */
  inputs(by: Caller, manifest: string, pack: string): Promise<{ manifest: string; pack: string }>
  [Symbol.asyncDispose](): Promise<void>
}

export async function openDoors(options: HarnessOptions): Promise<Doors> {
  const port = await freePort()
  const h = await createHarness({ ...options, config: { ...options.config, http: { port } } })
  mkdirSync(join(h.home, 'secrets'), { mode: 0o700 })

  const operator: Caller = (method, path, body, headers = {}) => {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    const type = typeof body === 'string' ? { 'content-type': 'application/octet-stream' } : {}
    return h.pumped(ask(join(h.home, 'run', 'operator.sock'), method, path, bytes, { ...type, ...headers }))
  }
  const bearer =
    (secret: string): Caller =>
    async (method, path, body, headers = {}) => {
      const type = typeof body === 'string' ? 'application/octet-stream' : 'application/json'
      const said = await h.pumped(
        send(port, {
          method,
          path,
          headers: {
            authorization: `Bearer ${secret}`,
            ...(body === undefined ? {} : { 'content-type': type }),
            ...headers,
          },
          ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
        }),
      )
      const isJson = String(said.headers['content-type']).includes('json')
      return { status: said.status, body: isJson ? (JSON.parse(said.text) as Row) : { text: said.text } }
    }
  async function enrolled(path: string, wish: object): Promise<Caller> {
    const { status, body } = await operator('POST', path, wish)
    if (status !== 200) throw new Error(`${path}: ${JSON.stringify(body)}`)
    return bearer(String(body.secret))
  }
  return {
    h,
    operator,
    token: (name, actions) => enrolled('/v1/tokens', { name, actions, expiresInMs: 3_600_000 }),
    device: (name, rights) => enrolled('/v1/devices', { name, kind: 'app', rights }),
    async rules(change) {
      const path = join(h.home, 'policy', 'data.json')
      const data = JSON.parse(readFileSync(path, 'utf8')) as { agents: Record<string, Row> }
      change(data.agents)
      writeFileSync(path, JSON.stringify(data))
      const { status, body } = await operator('POST', '/v1/policy/reload', {})
      if (status !== 200) throw new Error(JSON.stringify(body))
    },
    async inputs(by, manifest, pack) {
      for (const text of [manifest, pack]) {
        const { status, body } = await by('PUT', `/v1/artifacts/${sha256(text)}`, text)
        if (status !== 200) throw new Error(JSON.stringify(body))
      }
      return { manifest: sha256(manifest), pack: sha256(pack) }
    },
    [Symbol.asyncDispose]: () => h[Symbol.asyncDispose](),
  }
}
