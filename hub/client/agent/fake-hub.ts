/**
 * A hub in memory, for unit tests of an agent: the same interface as the real one, no socket, no container, no policy.
 *
 * ```ts
 * const hub = createFakeHub({ task: { params: { name: 'Ada' } }, onRequest: () => ({ ok: true }) })
 * register(hub)                                    // the agent's own onTask and onMessage
 * const result = await hub.perform()               // { outcome: 'succeeded', value: ... }
 * ```
 *
 * What the agent says is kept in `sent`, `logs`, `progressed` and `artifacts`; what it asks is answered by functions. Nothing is
 * permitted or forbidden here unless `refuse` says so: what policy grants is seen by `hub agent try`. A full example that the tests
 * run is `test/hub/client/examples/unit-test.ts`.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { type ErrorCode, HubError } from '../../base/errors.ts'
import { newSessionId, newUuid, systemRandom } from '../../base/random.ts'
import type { AnsweredBody } from '../../protocol/approval.ts'
import type { BudgetLowBody } from '../../protocol/budget.ts'
import type { FolderRef, MessageKind, ResultBody } from '../../protocol/envelope.ts'
import { comparePaths, judgePath } from '../../protocol/paths.ts'
import { STOP_GRACE_MS } from '../../protocol/stop-grace.ts'
import type { Delegation, HubAgent, Progress } from '../agent.ts'
import { createAnswers } from './answers.ts'
import { type Artifacts, createFolder, type Transcript } from './artifacts.ts'
import { createBudgetWarnings } from './budget-warnings.ts'
import type { ArtifactRow, Body, ChildOutcome, JoinAnswer, TaskFacts } from './contract.ts'
import { answerOf, createFakeInbox, createFakeTurns, type DeliverOptions, type FakeTurns } from './fake-turns.ts'
import { askPermit, type Permission, type Permit, type PermitOptions, withdrawing } from './permits.ts'
import { createQuietNotes } from './quiet.ts'
import { createTaskRun, type RunOptions, type TaskHandler } from './task-run.ts'

/** A message the agent sent: requests, replies, events, broadcasts, delegations and questions, in their order. */
export interface SentMessage {
  kind: MessageKind
  to: string
  type: string
  body: Body
}

type Content = Uint8Array | string

export interface FakeHubOptions {
  /** The agent's own name. */
  agent?: string
  task?: Partial<TaskFacts>
  /** Files of the task's input by path; `task.inputs` then names them. */
  inputs?: Readonly<Record<string, Content>>
  /** Span until the deadline, in ms (60 000). */
  ttlMs?: number
  /** Its secrets by name, as the operator keeps them. */
  secrets?: Readonly<Record<string, string>>
  /** Answers a request. Nothing means that nobody answered; a throw is the other agent's `{error}`. */
  onRequest?: (to: string, type: string, body: Body) => unknown
  /** How a child task ended; `outcome` is `succeeded` unless it is named. */
  onDelegate?: (delegation: Delegation) => Partial<ChildOutcome> | Promise<Partial<ChildOutcome>>
  /** The operator's answer to a question. */
  onAsk?: (text: string) => Body | Promise<Body>
  /** Whether a tool may be used; without it each is refused. */
  onPermit?: (permit: Permit) => boolean | Permission | Promise<boolean | Permission>
  /** The code with which a message, a subscription or an artifact is refused, as policy would. */
  refuse?: (message: SentMessage) => ErrorCode | undefined
  /** What a person answers about a message that `refuse` refused with `needs_approval`; a yes without it. What was approved is refused no more, once. */
  onApproval?: (message: SentMessage) => Partial<Omit<AnsweredBody, 'approval'>>
}

export interface FakeHub extends HubAgent, FakeTurns {
  readonly sent: readonly SentMessage[]
  readonly logs: readonly { level: string; text: string }[]
  readonly progressed: readonly Progress[]
  /** By name: what the agent stored. */
  readonly artifacts: ReadonlyMap<string, Buffer>
  readonly subscribed: ReadonlySet<string>
  /** The posted result, once there is one. */
  readonly result: ResultBody | undefined
  /** Gives the task to the handler and answers the result it posts. */
  perform(): Promise<ResultBody>
  /** Brings a message to the agent; answers the reply to a request, and nothing for any other kind. Waits until the task began. */
  deliver(type: string, body?: Body, options?: DeliverOptions): Promise<Body | undefined>
  /** Warns the agent that money runs low, as the hub does. */
  warnBudgetLow(low: BudgetLowBody): void
  /** What the operator's `hub task cancel` does. */
  cancel(): void
}

const unanswered = (what: string, option: string) =>
  new HubError('timed_out', `no reply to ${what}; give createFakeHub({ ${option} }) a function that answers it`)

const permitted = (
  permit: Permit,
  stopping: AbortSignal,
  say: (body: Body) => void,
  { onPermit, onAccepted, signal: withdrawn }: Pick<FakeHubOptions, 'onPermit'> & PermitOptions,
): Promise<Permission> => {
  const id = newUuid(systemRandom, Date.now())
  const { promise: over, reject: giveUp } = Promise.withResolvers<never>()
  async function answered(): Promise<Body> {
    if (onPermit === undefined) throw unanswered(`whether ${permit.tool} may be used`, 'onPermit')
    const answer = await onPermit(permit)
    const { allowed, reason } = typeof answer === 'boolean' ? { allowed: answer, reason: '' } : answer
    return { approved: allowed, text: reason }
  }
  return askPermit(permit, {
    ...{ signal: stopping, withdrawn, giveUp },
    exchange: withdrawing(
      () => say({ withdraw: id }),
      onAccepted,
      async (body, accepted) => {
        say(body)
        accepted()
        return await Promise.race([answered(), over])
      },
    ),
  })
}

/** The hub's limit of a body; envelope.ts, which names it, loads a package that no image carries. */
const BODY_BYTES_MAX = 64 * 1024

const taskOf = (given: Partial<TaskFacts> | undefined, inputs: FolderRef | null): TaskFacts => ({
  task: newUuid(systemRandom, Date.now()),
  attempt: 1,
  params: {},
  inputs,
  capabilities: [],
  parent: null,
  depthLeft: 3,
  tasksLeft: 64,
  ...given,
})

/** Only the shim keeps conversations, for programs that know nothing of the SDK. */
const noTranscript = () =>
  Promise.reject(new HubError('policy_denied', 'an agent of the SDK has no conversation that is kept'))
const NO_TRANSCRIPT: Transcript = { put: noTranscript, get: noTranscript }

/** For the unit tests of an agent. */
export function createFakeHub(options: FakeHubOptions = {}): FakeHub {
  const { agent = 'under-test', ttlMs = 60_000, refuse } = options
  const sent: SentMessage[] = []
  const logs: { level: string; text: string }[] = []
  const progressed: Progress[] = []
  const subscribed = new Set<string>()
  const inbox = createFakeInbox()
  const answers = createAnswers()
  const warnings = createBudgetWarnings((thrown) =>
    logs.push({ level: 'warn', text: `the handler of onBudgetLow failed: ${String(thrown)}` }),
  )
  const quiet = createQuietNotes((thrown) =>
    logs.push({ level: 'warn', text: `the handler of onQuiet failed: ${String(thrown)}` }),
  )
  const approved = new Set<string>()
  const session = newSessionId(systemRandom)
  let handler: TaskHandler | undefined
  let result: ResultBody | undefined
  let closed = false

  const store = createFakeArtifacts((name) => check({ kind: 'event', to: 'hub', type: 'artifact.put', body: { name } }))
  const task = taskOf(options.task, options.inputs === undefined ? null : store.folder(options.inputs))
  const nowMs = Date.now()
  const joined: JoinAnswer = {
    session,
    agent,
    instance: 'fake',
    token: 'fake',
    nowMs,
    tokenExpiresAtMs: nowMs + ttlMs,
    deadlineMs: nowMs + ttlMs,
    program: { driver: 'sdk', run: [], env: {} },
    secrets: Object.keys(options.secrets ?? {}),
    task,
  }

  /** Bodies are copied as JSON copies them, so that a test sees what another agent would. */
  function check(message: SentMessage): SentMessage {
    if (closed) throw new HubError('cancelled', 'this session is closed')
    const text = JSON.stringify(message.body)
    if (Buffer.byteLength(text) > BODY_BYTES_MAX) throw new HubError('too_large', `a body over ${BODY_BYTES_MAX} bytes`)
    const copy = { ...message, body: JSON.parse(text) as Body }
    const code = refuse?.(copy)
    const act = JSON.stringify(copy)
    if (code !== 'needs_approval' && code !== undefined) throw new HubError(code)
    if (code !== undefined && !approved.delete(act)) {
      const approval = newUuid(systemRandom, Date.now())
      const answer: AnsweredBody = { approval, answer: 'approved', text: '', ...options.onApproval?.(copy) }
      if (answer.answer === 'approved') approved.add(act)
      answers.hear(answer)
      throw new HubError(code, `a person has to agree first (approval ${approval})`, { facts: { approval } })
    }
    return copy
  }
  function post(kind: MessageKind, to: string, type: string, body: Body): Body {
    const message = check({ kind, to, type, body })
    sent.push(message)
    return message.body
  }

  const run = createTaskRun({
    task,
    ttlMs,
    async post(body) {
      check({ kind: 'result', to: 'hub', type: 'hub', body: { ...body } })
      result ??= body
    },
  })
  const turns = createFakeTurns(run, (text) => logs.push({ level: 'warn', text }))
  async function perform(runOptions?: RunOptions): Promise<ResultBody> {
    inbox.begin()
    try {
      return await run.run(turns.beside(handler), runOptions)
    } finally {
      closed = true
    }
  }

  return {
    joined,
    signal: run.signal,
    sent,
    logs,
    progressed,
    subscribed,
    get artifacts() {
      return store.contents()
    },
    get result() {
      return result
    },
    onTask(given) {
      if (handler !== undefined) throw new TypeError('onTask was called twice: a session has one task')
      handler = given
    },
    ...turns.agent,
    onMessage: inbox.onType,
    onAny: inbox.onAny,
    onBudgetLow: warnings.on,
    ...{ onQuiet: quiet.on, tellQuiet: quiet.tell },
    async subscribe(topic, given) {
      check({ kind: 'event', to: `topic:${topic}`, type: 'subscribe', body: {} })
      inbox.onTopic(topic, given)
      subscribed.add(topic)
    },
    send: async (kind, to, type, body = {}) => void post(kind, to, type, body),
    async request(to, type, body = {}, { onAccepted } = {}) {
      const copy = post('request', to, type, body)
      onAccepted?.()
      const answer = await answerOf(() => options.onRequest?.(to, type, copy))
      if (answer === undefined) throw unanswered(`${type} from ${to}`, 'onRequest')
      return answer
    },
    reply: async (message, body = {}) =>
      inbox.replied(message, post('reply', `session:${message.from.session}`, 'hub', body)),
    publish: async (topic, type, body = {}) => void post('event', `topic:${topic}`, type, body),
    broadcast: async (type, body = {}) => void post('broadcast', 'all', type, body),
    async delegate(delegation, { onAccepted } = {}) {
      post('delegate', 'hub', 'hub', { ...delegation })
      onAccepted?.()
      if (options.onDelegate === undefined) throw unanswered('the child task', 'onDelegate')
      const ended = await options.onDelegate(delegation)
      return { task: newUuid(systemRandom, Date.now()), outcome: 'succeeded', artifacts: [], ...ended }
    },
    async ask(text, { onAccepted } = {}) {
      post('ask', 'hub', 'hub', { text })
      onAccepted?.()
      if (options.onAsk === undefined) throw unanswered('the question to the operator', 'onAsk')
      return await options.onAsk(text)
    },
    permit: (permit, more) =>
      permitted(permit, run.signal, (body) => post('permit', 'hub', 'hub', body), { ...options, ...more }),
    agreed: answers.agreed,
    answered: answers.wait,
    artifact: store.artifacts,
    async secret(name) {
      const value = new Map(Object.entries(options.secrets ?? {})).get(name)
      if (value === undefined) throw new HubError('policy_denied', `the agent may not have secret ${name}`)
      return Buffer.from(value)
    },
    folder: (inputs) => createFolder(store.artifacts, inputs),
    progress: (progress) => void progressed.push({ ...progress }),
    async log(text, level = 'info') {
      check({ kind: 'log', to: 'hub', type: 'hub', body: { level, text } })
      logs.push({ level, text })
    },
    ...{ partial: run.partial, stopReason: run.stopReason, onSilent: () => {} },
    run: perform,
    async perform() {
      await perform()
      return result ?? { outcome: 'failed', error: 'no result was posted' }
    },
    deliver: (type, body = {}, from = {}) => inbox.deliver(type, body, from),
    warnBudgetLow: warnings.hear,
    // Later, as a delivery would come: never in the middle of what the agent is doing.
    cancel: () => void setImmediate(() => run.stop(new HubError('cancelled', 'the task was cancelled'), STOP_GRACE_MS)),
    close() {
      closed = true
    },
  }
}

interface FakeArtifacts {
  readonly artifacts: Artifacts
  /** What was put, by name. */
  contents(): ReadonlyMap<string, Buffer>
  /** Stores the files as manifest and pack, as `hub submit --input` does. */
  folder(files: Readonly<Record<string, Content>>): FolderRef
}

const GET_BYTES_MAX = 16 * 1024 ** 2
const sha256 = (bytes: Content) => createHash('sha256').update(bytes).digest('hex')

/**
 * Named bytes in memory, and a folder of inputs made from a table of files. `onPut` is called with each name before it is stored; a throw
 * refuses it.
 */
function createFakeArtifacts(onPut: (name: string) => void): FakeArtifacts {
  const blobs = new Map<string, Buffer>()
  const rows = new Map<string, ArtifactRow>()

  const store = (content: Content) => {
    const bytes = Buffer.from(content)
    const digest = sha256(bytes)
    blobs.set(digest, bytes)
    return { sha256: digest, size: bytes.length }
  }
  return {
    artifacts: {
      async put(name, content) {
        const fault = judgePath(name)
        if (fault !== undefined) throw new HubError('schema_invalid', `name: ${JSON.stringify(name)} ${fault}`)
        const bytes = typeof content === 'object' && 'file' in content ? await readFile(content.file) : content
        onPut(name)
        const row = { name, ...store(bytes) }
        rows.set(name, row)
        return row
      },
      async get(digest, { start = 0, end, bytesMax = GET_BYTES_MAX } = {}) {
        const bytes = blobs.get(digest)?.subarray(start, end)
        if (bytes === undefined) throw new HubError('unknown_artifact')
        if (bytes.length > bytesMax) throw new HubError('too_large', `the answer is over ${bytesMax} bytes`)
        return Buffer.from(bytes)
      },
      list: async () => [...rows.values()],
      transcript: NO_TRANSCRIPT,
    },
    contents: () => new Map([...rows].map(([name, row]) => [name, blobs.get(row.sha256) ?? Buffer.alloc(0)])),
    folder(inputs) {
      const files: { path: string; mode: number; size: number; offset: number; sha256: string }[] = []
      const contents: Buffer[] = []
      let offset = 0
      for (const [path, content] of Object.entries(inputs).sort(([a], [b]) => comparePaths(a, b))) {
        const bytes = Buffer.from(content)
        files.push({ path, mode: 0o644, size: bytes.length, offset, sha256: sha256(bytes) })
        contents.push(bytes)
        offset += bytes.length
      }
      return {
        manifest: store(JSON.stringify({ version: 1, files })).sha256,
        pack: store(Buffer.concat(contents)).sha256,
      }
    },
  }
}
