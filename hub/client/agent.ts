/**
 * The agent SDK: what a program inside a session's container uses to do its task and to talk through the hub.
 *
 * ```ts
 * import { connect } from '../../hub/client/agent.ts'
 *
 * const hub = await connect()
 * hub.onTask(async (task, signal) => {
 *   hub.progress({ text: 'reading', done: 0, total: 2 })
 *   const answer = await hub.request('agent:reader', 'survey.part', { first: 0 }, { timeoutMs: 10_000 })
 *   const child = await hub.delegate({ agent: 'reader', params: { first: 1 }, inputs: task.inputs })
 *   await hub.artifact.put('report.md', `# ${child.outcome}`)
 *   return { answer }                       // becomes `result succeeded {value}`; a throw becomes `failed`
 * })
 * ```
 *
 * Errors are `HubError` with the hub's own code (`policy_denied`, `mailbox_full`, ...), its text in `message`, the rest in `facts`.
 * Few small modules and no package: this is copied into every image, and its loading is part of every task's start.
 */
import { HubError } from '../base/errors.ts'
import { newUuid, systemRandom } from '../base/random.ts'
import type { AnsweredBody } from '../protocol/approval.ts'
import type { BudgetLowBody } from '../protocol/budget.ts'
import type { DataClass } from '../protocol/data-class.ts'
import type { FolderRef, MessageKind } from '../protocol/envelope.ts'
import type { SilenceBody } from '../protocol/silence.ts'
import { STOP_GRACE_MS } from '../protocol/stop-grace.ts'
import type { StopReason } from '../protocol/stop-reasons.ts'
import { type AgreeOptions, type AnswerOptions, createAnswers } from './agent/answers.ts'
import { type Artifacts, createArtifacts, createFolder, type Folder } from './agent/artifacts.ts'
import { type BudgetLowHandler, createBudgetWarnings } from './agent/budget-warnings.ts'
import type { Body, ChildOutcome, Delegation, JoinAnswer, Message } from './agent/contract.ts'
import { createInbox, type MessageHandler } from './agent/inbox.ts'
import { createPendingReplies } from './agent/pending.ts'
import { askPermit, type Permission, type Permit, type PermitOptions, withdrawing } from './agent/permits.ts'
import { createTaskRun, type RunOptions, type TaskHandler } from './agent/task-run.ts'
import { type ConnectOptions, join, type Transport } from './agent/transport.ts'
import { createTurns, type PromptHandler, type Turns } from './agent/turns.ts'
import { createWire } from './agent/wire.ts'

export type { AgreeOptions, AnswerOptions } from './agent/answers.ts'
export type { Artifacts, FileContent, Folder } from './agent/artifacts.ts'
export type { Body, ChildOutcome, Delegation, Message, TaskFacts } from './agent/contract.ts'
export type { Permission, Permit } from './agent/permits.ts'
export { type Afterthought, ProgramFault } from './agent/task-run.ts'
export type { ConnectOptions } from './agent/transport.ts'
export type { PromptHandler, Turn, Turns, TurnUsage } from './agent/turns.ts'
export type { BudgetLowBody, StopReason }

export interface Progress {
  text?: string
  done?: number
  total?: number
}

export interface SendOptions {
  /** How far the body may be passed on; the rules see it, and so does the recipient. */
  dataClass?: DataClass | undefined
}

export interface WaitOptions extends SendOptions {
  timeoutMs?: number | undefined
  /** Called once the hub has accepted the message; the answer comes later. */
  onAccepted?: (() => void) | undefined
}

export interface HubAgent {
  /** The hub's answer to the join: session, agent, task, program, deadline. */
  readonly joined: JoinAnswer
  /** Aborted on cancel, drain, SIGTERM and shortly before the deadline; its reason says which, and `facts.graceMs` how long is left. */
  readonly signal: AbortSignal
  /** What to do with the task. The return value is its result; large things belong into artifacts. */
  onTask(handler: TaskHandler): void
  /**
   * What people say to this session while it lives: of `mode: chat` its work, of a task notes on the way. `hub.onPrompt((turn) => answer)`: one
   * turn after the other; a text that it returns is the turn's, and so is what `turn.text(part)` adds before. Without `onTask` the session
   * ends, with success, once it is closed.
   */
  onPrompt(handler: PromptHandler): void
  /** The same without a handler: `for await (const turn of hub.turns) { ... }` in the handler of the task; and for drivers. */
  readonly turns: Turns
  /** A handler's return value answers a `request`; a throw answers it with `{error}`. `hub.onMessage('ping', () => ({ ok: true }))` */
  onMessage(type: string, handler: MessageHandler): void
  /** Gets every message without a handler for its type. It answers nothing by itself: use `reply` for a request. For drivers. */
  onAny(handler: (message: Message) => void): void
  /**
   * Called when half, four fifths and all of a limit on money is used, once each: `hub.onBudgetLow(({ of, mark, spentUsd, limitUsd }) => ...)`.
   * `of` is the limit, `mark` its share in per cent (`soft`: the soft limit of a day), the rest is in millionths of a US dollar. The next call
   * of a model that does not fit is refused. A warning that came before a handler was there is kept for it.
   */
  onBudgetLow(handler: BudgetLowHandler): void
  /** Joins a topic, policy permitting; its events go to the handler. `await hub.subscribe('survey', (body) => ...)` */
  subscribe(topic: string, handler: MessageHandler): Promise<void>
  /** One message, accepted (audited and queued) when it resolves. */
  send(kind: MessageKind, to: string, type: string, body?: Body, options?: SendOptions): Promise<void>
  /** Asks `agent:<name>` or `session:<id>` and waits for the reply's body; repeated until then. Throws `timed_out` (30 s by default). */
  request(to: string, type: string, body?: Body, options?: WaitOptions): Promise<Body>
  /** Answers a request later than its handler returns; a handler's own return value needs no call. */
  reply(message: Message, body?: Body, options?: SendOptions): Promise<void>
  publish(topic: string, type: string, body?: Body, options?: SendOptions): Promise<void>
  broadcast(type: string, body?: Body, options?: SendOptions): Promise<void>
  /**
   * Starts a child task and waits for its end. A failed child is an outcome, not a throw; a refused delegation throws. While the hub is in
   * the mode degraded or safe, this waits, and the time to live of this session goes on.
   */
  delegate(delegation: Delegation, options?: Pick<WaitOptions, 'onAccepted'>): Promise<ChildOutcome>
  /** Asks the operator and waits for the answer. Meanwhile the time to live stands still, for 30 min in all. */
  ask(text: string, options?: WaitOptions): Promise<Body>
  /**
   * Asks whether a tool may be used, by `permissions` of the card, the rules, and a person where these ask (docs/permissions.md):
   * `const { allowed, reason } = await hub.permit({ tool: 'Bash', kind: 'execute', title: 'npm test', arguments: { command: 'npm test' } })`.
   * Never throws: what is refused, not answered within `timeoutMs`, or overtaken by a stop is a no with its reason. While a person is asked
   * the time to live stands still, for 30 min in all. `signal` takes the question back, and so does `timeoutMs`: no person is asked any more.
   */
  permit(permit: Permit, options?: PermitOptions): Promise<Permission>
  /**
   * Does `act`; where the rules ask a person first, waits for the answer and does it again: `await hub.agreed(() => hub.send(...))`. The act
   * must be the same each time, since the yes is for exactly that act, once. Throws `approval_refused` after a no, or when nobody answered
   * in time, and `timed_out` after `timeoutMs`. The time to live of this session goes on meanwhile.
   */
  agreed<Result>(act: () => Promise<Result>, options?: AgreeOptions): Promise<Result>
  /** Waits for the answer about an approval: `facts.approval` of a `needs_approval`. After `approved` or `superseded` try the act again. */
  answered(approval: string, options?: AnswerOptions): Promise<AnsweredBody>
  readonly artifact: Artifacts
  /** A secret by its name, fetched again; the shim has left the same bytes in `/tmp/secrets/<name>`. Throws `policy_denied`, `config_invalid`. */
  secret(name: string): Promise<Buffer>
  /** A folder handed in as manifest and pack: `for await (const { entry, chunks } of hub.folder(task.inputs).files()) ...` */
  folder(inputs: FolderRef): Folder
  /** Shown live to a person who waits; only the latest of each quarter second is sent. */
  progress(progress: Progress): void
  log(text: string, level?: 'debug' | 'info' | 'warn' | 'error'): Promise<void>
  /** The value to report if the task is stopped before its handler returns. */
  partial(value: unknown): void
  /** Why the model of this program stopped, for the result: `hub.stopReason('max_tokens')`. Of a task that is stopped it is `cancelled`. */
  stopReason(reason: StopReason): void
  /** What to do when the hub finds the program silent; for the shim. */
  onSilent(handler: (body: SilenceBody) => void): void
  /** Runs the task and posts its result; for the shim, or for a program started by itself, after its handlers are registered. */
  run(options?: RunOptions): Promise<{ outcome: 'succeeded' | 'failed' }>
  /** Closes the connection to the hub. `run` does this itself. */
  close(): void
}

const PROGRESS_EVERY_MS = 250
const SEND_PATIENCE_MS = 30_000
const asBuffer = (value: unknown) => Buffer.from(JSON.stringify(value))

let connection: Promise<HubAgent> | undefined

/** Joins the hub, once per process: one process is one session, so every later call returns the same agent. */
export function connect(options: ConnectOptions = {}): Promise<HubAgent> {
  connection ??= open(options)
  return connection
}

async function open({ socketPath, joinTimeoutMs = 30_000, session = 'auto' }: ConnectOptions): Promise<HubAgent> {
  const wire = createWire(socketPath ?? process.env.HUB_SOCKET ?? '/run/hub/hub.sock')
  const deadlineMs = Number(process.env.HUB_DEADLINE) || Number.POSITIVE_INFINITY
  const joinMs = Math.min(joinTimeoutMs, deadlineMs - Date.now())
  // Heard before the hub counts this program as joined: one that died of it in between would be a crash of a task that it never began.
  const told = new AbortController()
  const hear = () => told.abort()
  process.once('SIGTERM', hear)
  const joined = join(wire, performance.now() + joinMs, session, told.signal).then((found) => {
    if (process.env.HUB_SESSION === undefined || process.env.HUB_SESSION === found.answer.session) return found
    found.transport.close()
    throw new HubError('unauthenticated', 'the hub answered for another session than HUB_SESSION')
  })
  const { transport, answer } = await joined.catch((thrown) => {
    process.off('SIGTERM', hear)
    throw thrown
  })
  const agent = createAgent(transport, answer)
  if (told.signal.aborted) agent.terminate()
  else told.signal.addEventListener('abort', agent.terminate)
  return agent
}

function createAgent(transport: Transport, joined: JoinAnswer): HubAgent & { terminate: () => void } {
  const pending = createPendingReplies()
  const answers = createAnswers()
  const warnings = createBudgetWarnings(
    (thrown) => void log(`the handler of onBudgetLow failed: ${String(thrown)}`, 'warn').catch(() => {}),
  )
  let handler: TaskHandler | undefined
  let silent: ((body: SilenceBody) => void) | undefined
  let promptHandler: PromptHandler | undefined
  let latestProgress: Progress | undefined
  let progressTimer: NodeJS.Timeout | undefined

  const newId = () => newUuid(systemRandom, Date.now())
  const { traceparent } = joined.task
  /** What it causes stands in the trace of the task, or of the message that it answers. */
  const traced = (envelope: Body): Body =>
    traceparent === undefined || envelope.traceparent !== undefined ? envelope : { traceparent, ...envelope }
  const post = (given: Body, options: { patient?: boolean; held?: boolean; withinMs?: number } = {}) => {
    const envelope = traced(given)
    return transport.call({
      method: 'POST',
      path: '/v1/send',
      body: asBuffer(envelope),
      again: () => asBuffer({ ...envelope, repeated: true }),
      patient: options.patient ?? false,
      held: options.held ?? false,
      ...(options.withinMs === Number.POSITIVE_INFINITY
        ? {}
        : { untilAt: performance.now() + (options.withinMs ?? SEND_PATIENCE_MS) }),
    })
  }
  const run = createTaskRun({
    task: joined.task,
    ttlMs: joined.deadlineMs - joined.nowMs,
    waitMs: joined.waitLeftMs ?? 0,
    async post(body, withinMs) {
      await flushProgress()
      await post({ id: newId(), kind: 'result', body }, { patient: true, withinMs })
    },
  })
  const turning = createTurns({
    signal: run.signal,
    post: (kind, body, { patient }) => post({ id: newId(), kind, body }, { patient }),
    agreed: answers.agreed,
    warn: (text) => void log(text, 'warn').catch(() => {}),
  })
  const inbox = createInbox({
    transport,
    onTurn: turning.hear,
    pending,
    reply: (message, body) => reply(message, body),
    onAnswered: answers.hear,
    onBudgetLow: warnings.hear,
    onSilent: (body) => silent?.(body),
    onReturned: ({ detail }) => void log(`a message was not delivered: ${String(detail)}`, 'warn').catch(() => {}),
    onStop(kind, body) {
      if (kind === 'finish' && body.closed === true)
        run.stop(new HubError('inbox_closed', 'the session was closed'), Number(body.graceMs) || STOP_GRACE_MS)
      else if (kind === 'cancel') run.stop(new HubError('cancelled', 'the task was cancelled'), STOP_GRACE_MS)
      else run.stop(new HubError('mode_draining', 'the hub is stopping'), Number(body.graceMs) || STOP_GRACE_MS)
    },
    onEnd(thrown) {
      const handInMs = thrown instanceof HubError ? Number(thrown.facts.handInMs) : 0
      const isTaken = handInMs > 0
      const why = isTaken
        ? 'the hub ended the session, and takes what there is'
        : `the session ended: ${String(thrown)}`
      // Any other program was ended by a signal just now: that it exits with 0 says nothing of its work.
      const returns = isTaken && joined.program.driver === 'sdk'
      const ended = new HubError('token_revoked', why, { facts: { returns } })
      answers.failAll(ended)
      run.stop(ended, isTaken ? handInMs : STOP_GRACE_MS)
    },
  })
  transport.onRestored(() => pending.repeatAll())

  /** Sends and waits for the reply, both under one id; whichever fails first ends it. */
  async function exchange(envelope: Body & { id: string }, what: string, options: WaitOptions = {}): Promise<Body> {
    const { timeoutMs, onAccepted } = options
    inbox.start()
    // A delegation waits as long as the session lives: the program cannot help the mode of the hub (S1-17).
    const held = envelope.kind === 'delegate'
    const withinMs = timeoutMs ?? SEND_PATIENCE_MS
    const say = () => post(envelope, held ? { held, withinMs: timeoutMs ?? Number.POSITIVE_INFINITY } : { withinMs })
    const repeat = () => post({ ...envelope, repeated: true }, { withinMs })
    const answer = pending.open(envelope.id, { what, repeat, ...(timeoutMs === undefined ? {} : { timeoutMs }) })
    say().then(onAccepted, (thrown) => pending.fail(envelope.id, thrown))
    return await answer
  }
  /** The same for what a person may be asked about: meanwhile the time to live stands still. */
  async function whileWaiting(envelope: Body & { id: string }, what: string, options: WaitOptions): Promise<Body> {
    let goOn = () => {}
    let isAnswered = false
    // Counts from when the hub accepted it, as the hub does.
    const onAccepted = () => {
      if (!isAnswered) goOn = run.waiting()
      options.onAccepted?.()
    }
    try {
      return await exchange(envelope, what, { ...options, onAccepted })
    } finally {
      isAnswered = true
      goOn()
    }
  }
  const classed = ({ dataClass }: SendOptions) => (dataClass === undefined ? {} : { dataClass })
  async function send(kind: MessageKind, to: string, type: string, body: Body = {}, options: SendOptions = {}) {
    await post({ id: newId(), kind, to, type, ...classed(options), body })
  }
  async function reply(message: Message, body: Body = {}, options: SendOptions = {}): Promise<void> {
    const about = { to: `session:${message.from.session}`, correlationId: message.id, ...classed(options) }
    const trace = message.traceparent === undefined ? {} : { traceparent: message.traceparent }
    await post({ id: newId(), kind: 'reply', ...about, ...trace, body })
  }
  async function log(text: string, level: 'debug' | 'info' | 'warn' | 'error' = 'info'): Promise<void> {
    await post({ id: newId(), kind: 'log', body: { level, text } })
  }
  async function flushProgress(): Promise<void> {
    clearTimeout(progressTimer)
    progressTimer = undefined
    const body = latestProgress
    latestProgress = undefined
    // Sent at most once: if it is lost, the next one replaces it.
    if (body !== undefined) await post({ id: newId(), kind: 'progress', body }, { withinMs: 2_000 }).catch(() => {})
  }
  const takeBack = (kind: 'ask' | 'permit', asked: string) => () =>
    void post({ id: newId(), kind, body: { withdraw: asked } }).catch(() => {})
  const artifact = createArtifacts(transport)

  return {
    joined,
    signal: run.signal,
    onTask(given) {
      if (handler !== undefined) throw new TypeError('onTask was called twice: a session has one task')
      handler = given
    },
    onPrompt(given) {
      if (promptHandler !== undefined) throw new TypeError('onPrompt was called twice: a session has one')
      promptHandler = given
    },
    turns: turning.turns,
    onMessage: inbox.onType,
    onAny: inbox.onAny,
    onBudgetLow: warnings.on,
    onSilent(given) {
      silent = given
    },
    async subscribe(topic, given) {
      inbox.onTopic(topic, given)
      inbox.start()
      await transport.call({ method: 'POST', path: '/v1/subscribe', body: asBuffer({ topic }) })
    },
    send,
    request: (to, type, body = {}, { timeoutMs = 30_000, onAccepted, ...more } = {}) =>
      exchange({ id: newId(), kind: 'request', to, type, timeoutMs, ...classed(more), body }, `${type} from ${to}`, {
        timeoutMs,
        onAccepted,
      }),
    reply,
    publish: (topic, type, body, options) => send('event', `topic:${topic}`, type, body, options),
    broadcast: (type, body, options) => send('broadcast', 'all', type, body, options),
    async delegate(delegation, options) {
      const answer = await exchange(
        { id: newId(), kind: 'delegate', to: 'hub', body: { ...delegation } },
        'the child task',
        options,
      )
      return answer as unknown as ChildOutcome
    },
    async ask(text, options = {}) {
      const id = newId()
      return await withdrawing(takeBack('ask', id), options.onAccepted, (body, onAccepted) =>
        whileWaiting({ id, kind: 'ask', ...classed(options), body }, 'the question to the operator', {
          ...options,
          onAccepted,
        }),
      )({ text })
    },
    async permit(permit, options = {}) {
      const id = newId()
      return await askPermit(permit, {
        ...{ signal: run.signal, withdrawn: options.signal, giveUp: (why) => pending.fail(id, why) },
        exchange: withdrawing(takeBack('permit', id), options.onAccepted, (body, onAccepted) =>
          whileWaiting({ id, kind: 'permit', body }, `whether ${permit.tool} may be used`, { ...options, onAccepted }),
        ),
      })
    },
    async agreed(act, options) {
      inbox.start()
      return await answers.agreed(act, options)
    },
    async answered(approval, options) {
      inbox.start()
      return await answers.wait(approval, options)
    },
    artifact,
    secret: (name) => transport.call({ method: 'GET', path: `/v1/secrets/${name}`, patient: true }),
    folder: (inputs) => createFolder(artifact, inputs),
    progress(progress) {
      latestProgress = progress
      progressTimer ??= setTimeout(() => void flushProgress(), PROGRESS_EVERY_MS).unref()
    },
    log,
    partial: run.partial,
    stopReason: run.stopReason,
    async run(options) {
      inbox.start()
      inbox.release()
      try {
        return await run.run(turning.beside(handler, promptHandler), options)
      } finally {
        close()
      }
    },
    close,
    terminate: () => run.stop(new HubError('cancelled', 'the container is being stopped'), STOP_GRACE_MS),
  }

  function close(): void {
    inbox.stop()
    answers.failAll(new HubError('cancelled', 'this session has ended'))
    transport.close()
  }
}
