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
import type { BudgetLowBody } from '../protocol/budget.ts'
import type { MessageKind } from '../protocol/envelope.ts'
import type { SilenceBody } from '../protocol/silence.ts'
import { STOP_GRACE_MS } from '../protocol/stop-grace.ts'
import type { StopReason } from '../protocol/stop-reasons.ts'
import { createAnswers } from './agent/answers.ts'
import { createArtifacts, createFolder } from './agent/artifacts.ts'
import { createBudgetWarnings } from './agent/budget-warnings.ts'
import type { Body, ChildOutcome, JoinAnswer, Message } from './agent/contract.ts'
import type { HubAgent, Progress, SendOptions, WaitOptions } from './agent/hub-agent.ts'
import { createInbox } from './agent/inbox.ts'
import { createPendingReplies } from './agent/pending.ts'
import { askPermit, withdrawing } from './agent/permits.ts'
import { createQuietNotes } from './agent/quiet.ts'
import { createTaskRun, type TaskHandler } from './agent/task-run.ts'
import { type ConnectOptions, join, type Transport } from './agent/transport.ts'
import { createTurns, type PromptHandler } from './agent/turns.ts'
import { createWire } from './agent/wire.ts'

export type { AgreeOptions, AnswerOptions } from './agent/answers.ts'
export type { Artifacts, FileContent, Folder } from './agent/artifacts.ts'
export type { Body, ChildOutcome, Delegation, Message, TaskFacts } from './agent/contract.ts'
export type { HubAgent, Progress, SendOptions, WaitOptions } from './agent/hub-agent.ts'
export type { Permission, Permit } from './agent/permits.ts'
export { type Afterthought, ProgramFault } from './agent/task-run.ts'
export type { ConnectOptions } from './agent/transport.ts'
export type { PromptHandler, Turn, Turns, TurnUsage } from './agent/turns.ts'
export type { BudgetLowBody, StopReason }

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
  const quiet = createQuietNotes(
    (thrown) => void log(`the handler of onQuiet failed: ${String(thrown)}`, 'warn').catch(() => {}),
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
    ...{ onQuiet: quiet.on, tellQuiet: quiet.tell },
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
