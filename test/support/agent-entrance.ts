/**
 * A small faithful stand-in for the hub's entrance for agents: a real HTTP server on a real Unix socket for each session, which checks
 * every signature, nonce, token, timestamp and envelope, numbers deliveries and keeps artifacts. It knows no policy: a test says what is refused.
 */
import { createHash, createPublicKey, type KeyObject, randomUUID, verify } from 'node:crypto'
import { mkdirSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { ERRORS, type ErrorCode } from '../../hub/base/errors.ts'
import { base32, systemRandom } from '../../hub/base/random.ts'
import type { JoinAnswer, TaskFacts } from '../../hub/client/agent/contract.ts'
import { type Delivery, type Envelope, envelopeShape, type ResultBody } from '../../hub/protocol/envelope.ts'
import { signedText } from '../../hub/protocol/signing.ts'

export interface SessionOptions {
  agent?: string
  task?: Partial<TaskFacts>
  program?: Partial<JoinAnswer['program']>
  /** By name; an empty one is refused. */
  secrets?: Readonly<Record<string, string>>
  /** What the join answers of egress; nothing without it. */
  egress?: JoinAnswer['egress']
  /** The conversation that is kept for it, null for none; its card asks for none without it. */
  transcript?: { bytes: Buffer; tries?: number; as?: 'resume' | 'text' } | null
  /** Artifacts of which the hub takes none: they are larger than it allows. */
  tooLarge?: RegExp
  /** From the first join on, so that a process has all of it, however long it takes to start. */
  ttlMs?: number
  tokenMs?: number
}

export interface EntranceSession {
  readonly session: string
  readonly agent: string
  readonly task: TaskFacts
  readonly socketPath: string
  /** Every request that passed the checks: method, path and, for messages, the envelope. */
  readonly seen: { method: string; path: string; atMs: number; envelope?: Envelope; range?: string | undefined }[]
  readonly joinedAt: () => number | undefined
  /** Resolves with the first result posted. */
  readonly result: Promise<ResultBody>
  /** Every conversation that it kept, the newest last. */
  readonly transcripts: Buffer[]
  readonly artifactNames: Map<string, string>
  /** By name, of those that were stored with one. */
  readonly artifactClasses: Map<string, string>
  deliver(delivery: Omit<Delivery, 'number' | 'id' | 'sentAtMs'> & { id?: string }): void
  /** Loses everything a killed hub loses: connections, tokens, mailboxes, numbering. */
  crash(): Promise<void>
  listen(): Promise<void>
  /** The next request whose path begins so is carried out and its answer thrown away. */
  loseAnswer(pathStart: string): void
  revokeToken(): void
  /** Its session has ended: only what it leaves is taken, for so long as it is told. */
  end(handInMs: number): void
  /** So many renewals are answered `rate_limited`. */
  refuseRenewals(count: number): void
  /** The wall clock jumps ahead: the next signed request was signed before it and comes too late, and no token is renewed. */
  stepClock(): void
}

export interface Refusal {
  code: ErrorCode
  retryAfterMs?: number
  approval?: string
}

export interface EntranceOptions {
  dir: string
  /** A refusal for this message, or undefined: accepted. */
  judge?: (session: EntranceSession, envelope: Envelope) => Refusal | undefined
  onAccepted?: (session: EntranceSession, envelope: Envelope) => void
}

const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex')
const EMPTY_SHA = sha256('')

export function createAgentEntrance({ dir, judge, onAccepted }: EntranceOptions) {
  const blobs = new Map<string, Buffer>()
  const sessions = new Map<string, EntranceSession>()

  async function addSession(options: SessionOptions = {}): Promise<EntranceSession> {
    const created = createSession({ dir, blobs, judge, onAccepted, find: (id) => sessions.get(id) }, options)
    sessions.set(created.session, created)
    await created.listen()
    return created
  }
  return {
    addSession,
    sessions,
    blobs,
    store(bytes: Buffer | string): string {
      const digest = sha256(bytes)
      blobs.set(digest, Buffer.from(bytes))
      return digest
    },
    close: () => Promise.all([...sessions.values()].map((each) => each.crash())),
  }
}

/** What the join says of a conversation that is kept. */
function keptFact(kept: SessionOptions['transcript']): Pick<JoinAnswer, 'transcript'> {
  if (kept === undefined) return {}
  if (kept === null) return { transcript: null }
  const { bytes, tries = 0, as = 'resume' } = kept
  return { transcript: { sha256: sha256(bytes), size: bytes.length, tries, as } }
}

interface World extends Omit<EntranceOptions, 'judge' | 'onAccepted'> {
  judge: EntranceOptions['judge'] | undefined
  onAccepted: EntranceOptions['onAccepted'] | undefined
  blobs: Map<string, Buffer>
  find: (session: string) => EntranceSession | undefined
}

function createSession(world: World, options: SessionOptions): EntranceSession {
  const { blobs } = world
  const id = `s${base32(systemRandom, 15)}`
  const folder = join(world.dir, id)
  mkdirSync(folder)
  const socketPath = join(folder, 'hub.sock')
  const { ttlMs = 600_000, tokenMs = 300_000 } = options
  let renewalsRefused = 0
  let steppedClock: 'late' | 'seen' | undefined
  const task: TaskFacts = {
    task: randomUUID(),
    attempt: 1,
    params: {},
    inputs: null,
    capabilities: [],
    parent: null,
    depthLeft: 3,
    tasksLeft: 10,
    ...options.task,
  }
  const nonces = new Set<string>()
  const outcomes = new Set<string>()
  const waiting: (() => void)[] = []
  let key: { jwk: string; object: KeyObject } | undefined
  let token = ''
  let tokenEndsAtMs = 0
  let mailbox: Delivery[] = []
  let number = 0
  let server: Server | undefined
  let joinedAt: number | undefined
  let joinedMs: number | undefined
  let lostPath: string | undefined
  let handInMs: number | undefined
  let resolveResult: (body: ResultBody) => void = () => {}
  const result = new Promise<ResultBody>((resolve) => {
    resolveResult = resolve
  })

  function newToken() {
    token = `t-${randomUUID()}`
    tokenEndsAtMs = Date.now() + tokenMs
    return { token, tokenExpiresAtMs: tokenEndsAtMs, nowMs: Date.now() }
  }

  /** Undefined when the request is what it claims to be, else the code of its refusal. */
  function refusal(request: IncomingMessage, path: string, bodySha: string, body: Buffer): ErrorCode | undefined {
    const header = (name: string) => String(request.headers[name] ?? '')
    const isJoin = path === '/v1/join'
    if (isJoin) {
      const jwk = (JSON.parse(body.toString()) as { publicKey: string }).publicKey
      if (key !== undefined && key.jwk !== jwk) return 'unauthenticated'
      key = { jwk, object: createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: jwk }, format: 'jwk' }) }
    }
    if (key === undefined) return 'unauthenticated'
    const [timestampMs, nonce] = [header('hub-timestamp'), header('hub-nonce')]
    const text = signedText({ method: request.method ?? '', path, timestampMs, nonce, bodySha256: bodySha })
    if (!verify(null, Buffer.from(text), key.object, Buffer.from(header('hub-signature'), 'base64url')))
      return 'unauthenticated'
    if (Math.abs(Date.now() - Number(timestampMs)) > 30_000 || !/^[\w-]{22}$/.test(nonce)) return 'unauthenticated'
    const isLeft = path.startsWith('/v1/artifacts/') || (path === '/v1/send' && body.includes('"kind":"result"'))
    if (handInMs !== undefined && !isLeft) return 'unauthenticated'
    const needsToken = !isJoin && path !== '/v1/renew' && handInMs === undefined
    if (needsToken && steppedClock === 'late') {
      steppedClock = 'seen'
      return 'unauthenticated'
    }
    if (needsToken && (header('hub-token') !== token || Date.now() >= tokenEndsAtMs)) return 'unauthenticated'
    if (nonces.has(nonce)) return 'nonce_used'
    nonces.add(nonce)
    const wanted = /^\/v1\/(?:artifacts|transcript)\//.test(path) ? 'application/octet-stream' : 'application/json'
    if (request.method !== 'GET' && header('content-type') !== wanted) return 'schema_invalid'
    return undefined
  }

  function send(envelope: Envelope): Refusal | undefined {
    if (outcomes.has(envelope.id)) return undefined
    const denied = world.judge?.(self, envelope)
    if (denied !== undefined) return denied
    const target = envelope.to.startsWith('session:') ? world.find(envelope.to.slice(8)) : undefined
    if (envelope.to.startsWith('session:') && target === undefined) return { code: 'unknown_session' }
    outcomes.add(envelope.id)
    target?.deliver({
      kind: envelope.kind === 'reply' ? 'reply' : 'message',
      id: envelope.kind === 'reply' ? randomUUID() : envelope.id,
      from: { agent: self.agent, session: id },
      messageKind: envelope.kind,
      type: envelope.type,
      ...(envelope.correlationId === undefined ? {} : { correlationId: envelope.correlationId }),
      body: envelope.body,
    })
    if (envelope.kind === 'result') resolveResult(envelope.body as ResultBody)
    world.onAccepted?.(self, envelope)
    return undefined
  }

  async function receive(after: number, waitMs: number): Promise<{ deliveries: Delivery[] }> {
    mailbox = mailbox.filter((each) => each.number > after)
    if (mailbox.length === 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, waitMs)
        waiting.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
    return { deliveries: mailbox.filter((each) => each.number > after).slice(0, 64) }
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    const path = request.url ?? ''
    const { method = '' } = request
    const url = new URL(path, 'http://hub')
    const artifact = /^\/v1\/artifacts\/([0-9a-f]{64})$/.exec(url.pathname)?.[1]
    const conversation = /^\/v1\/transcript\/([0-9a-f]{64})$/.exec(url.pathname)?.[1]
    const answer = (status: number, value: unknown) => {
      if (lostPath !== undefined && path.startsWith(lostPath)) {
        lostPath = undefined
        request.socket.destroy()
        return
      }
      const bytes = Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value))
      response.writeHead(status, { 'content-length': bytes.length }).end(bytes)
    }
    const problem = (code: ErrorCode, facts: object = {}) =>
      answer(ERRORS[code].status, { code, detail: `${code} of the stand-in`, next: ERRORS[code].next, ...facts })

    const named = method === 'PUT' ? (artifact ?? conversation) : undefined
    const claimedSha = named ?? (body.length === 0 ? EMPTY_SHA : sha256(body))
    const refused = refusal(request, path, claimedSha, body)
    if (refused !== undefined) return problem(refused, handInMs === undefined ? {} : { handInMs })
    const entry: EntranceSession['seen'][number] = {
      method,
      path,
      atMs: performance.now(),
      range: request.headers.range,
    }
    self.seen.push(entry)
    if (path === '/v1/join') {
      joinedAt ??= performance.now()
      joinedMs ??= Date.now()
      const program = { driver: 'sdk' as const, run: [], env: {}, ...options.program }
      const deadlineMs = joinedMs + ttlMs
      const secrets = Object.keys(options.secrets ?? {})
      const { egress } = options
      const facts = { session: id, agent: self.agent, instance: 'test', deadlineMs, program, secrets, egress, task }
      return answer(200, { ...facts, ...keptFact(options.transcript), ...newToken() })
    }
    if (path === '/v1/renew') {
      if (steppedClock !== undefined) return problem('mode_degraded')
      if (renewalsRefused === 0) return answer(200, newToken())
      renewalsRefused -= 1
      return problem('rate_limited')
    }
    if (path === '/v1/subscribe') return answer(200, JSON.parse(body.toString()))
    if (url.pathname === '/v1/receive') {
      return answer(200, await receive(Number(url.searchParams.get('after')), Number(url.searchParams.get('waitMs'))))
    }
    if (path === '/v1/send') {
      const parsed = envelopeShape.safeParse(JSON.parse(body.toString()))
      if (!parsed.success || body.length > 66_000) return problem(body.length > 66_000 ? 'too_large' : 'schema_invalid')
      entry.envelope = parsed.data
      const denied = send(parsed.data)
      return denied === undefined
        ? answer(200, { id: parsed.data.id, outcome: 'accepted' })
        : problem(denied.code, denied)
    }
    if (path === '/v1/transcript') return answer(200, options.transcript?.bytes ?? Buffer.alloc(0))
    if (conversation !== undefined) {
      if (sha256(body) !== conversation) return problem('schema_invalid')
      self.transcripts.push(body)
      return answer(200, { sha256: conversation, size: body.length })
    }
    if (path.startsWith('/v1/secrets/')) {
      const value = options.secrets?.[path.slice('/v1/secrets/'.length)] ?? ''
      return value === '' ? problem('policy_denied') : answer(200, Buffer.from(value))
    }
    if (path === '/v1/artifacts') {
      const rows = [...self.artifactNames].map(([name, digest]) => ({
        name,
        sha256: digest,
        size: blobs.get(digest)?.length,
      }))
      return answer(200, { artifacts: rows })
    }
    if (artifact === undefined) return problem('unknown_operation')
    if (method === 'PUT') {
      if (sha256(body) !== artifact) return problem('schema_invalid')
      const name = url.searchParams.get('name') ?? ''
      if (options.tooLarge?.test(name)) return problem('too_large')
      blobs.set(artifact, body)
      self.artifactNames.set(name, artifact)
      const dataClass = url.searchParams.get('dataClass')
      if (dataClass !== null) self.artifactClasses.set(name, dataClass)
      return answer(200, { sha256: artifact, size: body.length, name })
    }
    const blob = blobs.get(artifact)
    if (blob === undefined) return problem('unknown_artifact')
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')
    return range === null ? answer(200, blob) : answer(206, blob.subarray(Number(range[1]), Number(range[2]) + 1))
  }

  const self: EntranceSession = {
    session: id,
    agent: options.agent ?? 'echo',
    task,
    socketPath,
    seen: [],
    joinedAt: () => joinedAt,
    result,
    transcripts: [],
    artifactNames: new Map(),
    artifactClasses: new Map(),
    deliver(delivery) {
      number += 1
      mailbox.push({ id: randomUUID(), ...delivery, number, sentAtMs: Date.now() })
      for (const wake of waiting.splice(0)) wake()
    },
    async crash() {
      const old = server
      server = undefined
      token = ''
      mailbox = []
      number = 0
      outcomes.clear()
      for (const wake of waiting.splice(0)) wake()
      old?.closeAllConnections()
      await new Promise<void>((resolve) => (old === undefined ? resolve() : old.close(() => resolve())))
      rmSync(socketPath, { force: true })
    },
    listen() {
      server = createServer((request, response) => {
        handle(request, response).catch(() => request.socket.destroy())
      })
      return new Promise((resolve) => server?.listen(socketPath, resolve))
    },
    loseAnswer(pathStart) {
      lostPath = pathStart
    },
    end(ms) {
      handInMs = ms
      for (const wake of waiting.splice(0)) wake()
    },
    refuseRenewals(count) {
      renewalsRefused = count
    },
    stepClock() {
      steppedClock = 'late'
    },
    revokeToken() {
      token = 'none'
    },
  }
  return self
}
