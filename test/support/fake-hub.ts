/** A hub and a watchdog that answer from a table, each on its own socket in a home of its own; and the real command run against them. */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ErrorCode, HubError, problemOf } from '../../hub/base/errors.ts'
import type { ModeView, TaskView } from '../../hub/client/answers.ts'

export const TASK_ID = '018f0000-0000-7000-8000-000000000001'
export const SESSION_ID = 'saaaaaaaaaaaaaaa'
export const INSTANCE = '0d0c0b0a-0000-4000-8000-000000000001'

export interface Asked {
  method: string
  path: string
  query: URLSearchParams
  headers: http.IncomingHttpHeaders
  bytes: Buffer
  body: unknown
}
export interface Said {
  status?: number
  body?: unknown
  bytes?: Buffer
  /** Takes over the answer altogether. */
  raw?: (response: http.ServerResponse) => void
}
export type Answer = (asked: Asked) => Said | Promise<Said>
export interface FakeDoor {
  asked: Asked[]
  /** `GET /v1/tasks/:id` and what is said to it; the last one given counts. */
  on(route: string, answer: Answer): void
  close(): Promise<void>
}

const matches = (pattern: string, method: string, pathname: string): boolean => {
  const [verb, shape = ''] = pattern.split(' ')
  return verb === method && new RegExp(`^${shape.replaceAll(/:\w+/g, '[^/]+')}$`).test(pathname)
}

export const refusal = (code: ErrorCode, detail: string, facts: Record<string, unknown> = {}): Said => {
  const body = problemOf(new HubError(code, detail, { facts }))
  return { status: body.status as number, body }
}

/** Serves a table of routes on a Unix socket. What is not in it is 404 `unknown_operation`, as at the real one. */
export async function openFakeDoor(socketPath: string): Promise<FakeDoor> {
  const routes = new Map<string, Answer>()
  const asked: Asked[] = []
  const server = http.createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const url = new URL(request.url ?? '/', 'http://localhost')
    const bytes = Buffer.concat(parts)
    const isJson = request.headers['content-type'] === 'application/json'
    const one: Asked = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      bytes,
      // Whoever breaks off half-way sent none.
      body: isJson && bytes.length > 0 ? JSON.parse(bytes.toString('utf8')) : undefined,
    }
    asked.push(one)
    const found = [...routes].reverse().find(([pattern]) => matches(pattern, one.method, one.path))
    const said = found === undefined ? refusal('unknown_operation', `${one.method} ${one.path}`) : await found[1](one)
    if (said.raw !== undefined) return said.raw(response)
    const type =
      said.bytes === undefined
        ? (said.status ?? 200) >= 400
          ? 'application/problem+json'
          : 'application/json'
        : 'application/octet-stream'
    response.writeHead(said.status ?? 200, { 'content-type': type })
    response.end(said.bytes ?? JSON.stringify(said.body ?? {}))
  })
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  return {
    asked,
    on(route, answer) {
      // The last one given stands last and so counts.
      routes.delete(route)
      routes.set(route, answer)
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

export const hubSocketOf = (home: string): string => path.join(home, 'run', 'operator.sock')
export const watchdogSocketOf = (home: string): string => path.join(home, 'watchdog', 'run', 'watchdog.sock')

/** A private home with an instance and nothing running. */
export function makeHome(): { home: string; remove: () => void } {
  const home = mkdtempSync(path.join(os.tmpdir(), 'hub-cli-'))
  for (const folder of ['run', 'logs', 'watchdog', 'watchdog/run']) mkdirSync(path.join(home, folder), { mode: 0o700 })
  writeFileSync(path.join(home, 'instance'), `${INSTANCE}\n`)
  return { home, remove: () => rmSync(home, { recursive: true, force: true }) }
}

/** The rules of such a home, as a running hub has them: in order, and granting nobody anything. */
export function writeRules(home: string): void {
  mkdirSync(path.join(home, 'policy'))
  writeFileSync(path.join(home, 'policy', 'data.json'), '{ "agents": {} }\n')
}

/** Server-sent events, and the stream left open unless `end`. */
export const eventFeed = (events: readonly unknown[], end = false): Said => ({
  raw(response) {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const event of events) {
      response.write(`id: ${(event as { sequence: number }).sequence}\ndata: ${JSON.stringify(event)}\n\n`)
    }
    if (end) response.end()
    else response.write(': still here\n\n')
  },
})

export const taskView = (change: Partial<TaskView> = {}): TaskView => ({
  id: TASK_ID,
  state: 'queued',
  agent: 'echo',
  needs: [],
  params: {},
  priority: 5,
  held: false,
  depth: 0,
  parent: null,
  attempts: 0,
  restarts: 0,
  outcome: null,
  error: null,
  createdAtMs: 1_700_000_000_000,
  startedAtMs: null,
  endedAtMs: null,
  requestedBy: 'operator',
  artifacts: [],
  progress: null,
  session: null,
  children: 0,
  ...change,
})

export const modeView = (change: Partial<ModeView> = {}): ModeView => ({
  mode: 'normal',
  conditions: [],
  since: 1_700_000_000_000,
  dispatched: 3,
  queued: 1,
  running: 2,
  sessions: 2,
  auditHead: 'ab'.repeat(32),
  auditSize: 41,
  lease: { remainingMs: 80_000, heartbeatAgeMs: 1000, deadlineInMs: 86_000_000 },
  instance: INSTANCE,
  version: '0.1.0',
  uptimeMs: 3_600_000,
  ...change,
})

export const watchdogView = (change: Record<string, unknown> = {}) => ({
  version: 1,
  hub: { answering: true, mode: 'normal', reason: '', misses: 0, announced: null },
  engine: 'ok',
  demand: 'normal',
  conditions: [],
  heartbeat: { dueInMs: 86_000_000, safeInMs: 93_200_000, stopInMs: 179_600_000, paused: false },
  roundAgeMs: 4_000,
  alerts: [],
  ...change,
})

export interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

export const CLI = fileURLToPath(new URL('../../hub/client/cli.ts', import.meta.url))

/** Runs the real command as a process, its ends being pipes. */
export function runHub(
  home: string,
  args: readonly string[],
  /** `endAfter`: of a command that goes on, what it has to say before it is ended. */
  options: { stdin?: string; cwd?: string; env?: Record<string, string>; endAfter?: RegExp } = {},
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const env = {
      PATH: process.env.PATH,
      HOME: home,
      HUB_HOME: home,
      TZ: 'Europe/Berlin',
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? path.join(os.tmpdir(), 'hub-test-cache'),
      ...options.env,
    }
    const child = spawn(process.execPath, [CLI, ...args], { env, cwd: options.cwd ?? home })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      if (options.endAfter?.test(stdout)) child.kill('SIGKILL')
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout, stderr }))
    child.stdin.end(options.stdin ?? '')
  })
}
