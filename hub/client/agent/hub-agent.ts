/** What a program has of the hub: the verbs of the SDK and what each promises. */
import type { AnsweredBody } from '../../protocol/approval.ts'
import type { DataClass } from '../../protocol/data-class.ts'
import type { FolderRef, MessageKind } from '../../protocol/envelope.ts'
import type { SilenceBody } from '../../protocol/silence.ts'
import type { StopReason } from '../../protocol/stop-reasons.ts'
import type { AgreeOptions, AnswerOptions } from './answers.ts'
import type { Artifacts, Folder } from './artifacts.ts'
import type { BudgetLowHandler } from './budget-warnings.ts'
import type { Body, ChildOutcome, Delegation, JoinAnswer, Message } from './contract.ts'
import type { MessageHandler } from './inbox.ts'
import type { Permission, Permit, PermitOptions } from './permits.ts'
import type { QuietHandler, QuietNote } from './quiet.ts'
import type { RunOptions, TaskHandler } from './task-run.ts'
import type { PromptHandler, Turns } from './turns.ts'

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
  /**
   * Called when the program has said nothing for so long that it is to be ended: `hub.onQuiet(({ why }) => hub.log('still at it'))`. A minute
   * later it is, unless it gave a sign of life meanwhile: a message, progress, a line of its log.
   */
  onQuiet(handler: QuietHandler): void
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
  /** Asks the program by its `onQuiet`; false where it does not hear. For the shim, and for unit tests of a program. */
  tellQuiet(note: QuietNote): boolean
  /** Runs the task and posts its result; for the shim, or for a program started by itself, after its handlers are registered. */
  run(options?: RunOptions): Promise<{ outcome: 'succeeded' | 'failed' }>
  /** Closes the connection to the hub. `run` does this itself. */
  close(): void
}
