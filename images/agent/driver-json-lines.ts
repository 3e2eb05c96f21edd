/** The driver `json-lines`: one JSON object per line on the program's standard input and output (docs/protocol.md 10). */
import type { Message, Turn } from '../../hub/client/agent.ts'
import { STOP_GRACE_MS } from '../../hub/protocol/stop-grace.ts'
import { startChild } from './child.ts'
import { createConversation } from './conversation.ts'
import {
  type DriverOptions,
  type Ending,
  exitText,
  FAREWELL_MS,
  failed,
  GRACE,
  keepLarge,
  onStop,
  RESULT_BYTES_MAX,
  readLog,
  resultEnding,
} from './ending.ts'
import { createLineSplitter, LINE_BYTES_MAX, lineOf } from './lines.ts'
import { VERB_NAMES } from './verbs.ts'

export async function driveJsonLines(options: DriverOptions): Promise<Ending> {
  const { hub, argv, env, workspace, cwd, log, classes, turns, chat } = options
  const { task, deadlineMs } = hub.joined
  const child = startChild(argv, { env, cwd })
  options.silence.watch(child)
  let turn: Turn | undefined
  const conversation = createConversation({
    hub,
    verbs: VERB_NAMES,
    warn: (text) => log.add(text, 'warn'),
    hand,
    keepLarge: (value) => keepLarge(workspace, value),
    classify: classes.set,
    turn: () => turn,
    async say(answer, mustArrive) {
      if (mustArrive) await child.drained()
      child.write(lineOf(answer))
    },
  })
  const spec = task.spec === undefined ? {} : { spec: task.spec }
  const start = { op: 'task', task: task.task, attempt: task.attempt, params: task.params, ...spec, deadlineMs }
  child.write(lineOf(start))
  hub.onAny(hand)
  hub.onBudgetLow((low) => {
    if (!child.write(lineOf({ op: 'budget', ...low })))
      log.add('it was not told that money runs low: the program does not read its input', 'warn')
  })

  hub.onQuiet(({ why }) => child.write(lineOf({ op: 'quiet', why })))

  /** The next prompt is written once the turn before has ended; a program that reads nothing gets none. */
  async function handPrompts(): Promise<void> {
    for await (const next of turns) {
      turn = next
      if (!child.write(lineOf({ op: 'prompt', turn: next.id, number: next.number, text: next.prompt }))) {
        await next.done('error', 'the program does not read its input')
        continue
      }
      next.signal.addEventListener('abort', () => child.write(lineOf({ op: 'cancel', turn: next.id })), { once: true })
      // A program that is gone ended no turn: the hub says what becomes of it.
      if ((await Promise.race([next.ended, child.exit])) !== undefined) return
    }
  }
  void handPrompts()

  function hand(message: Message): void {
    if (child.write(lineOf(conversation.hear(message)))) return
    log.add(`a message of type ${message.type} was not delivered: the program does not read its input`, 'warn')
    // If the reply cannot be sent any more, nobody waits for it.
    if (message.messageKind === 'request')
      hub.reply(message, { error: 'it does not read its messages' }).catch(() => {})
  }
  function part(graceMs: number, killAfterMs: number): void {
    child.write(lineOf({ op: 'shutdown', graceMs: Math.floor(graceMs) }))
    child.endInput()
    child.stop({ termAfterMs: graceMs, killAfterMs })
  }
  onStop(hub, (graceMs) => part(graceMs * GRACE.term, graceMs * GRACE.kill))

  const lines = createLineSplitter(LINE_BYTES_MAX, RESULT_BYTES_MAX)
  let parting = false
  const output = child.read('stdout', async (chunk) => {
    for (const line of lines.push(chunk)) await conversation.take(line)
    if (conversation.result() === undefined || parting) return
    parting = true
    part(FAREWELL_MS, FAREWELL_MS + STOP_GRACE_MS)
  })
  const [exit] = await Promise.all([child.exit, output, readLog(child, 'stderr', log)])
  for (const line of lines.end()) await conversation.take(line)

  const given = resultEnding(conversation)
  if (given !== undefined) return given
  if (exit.kind === 'not_started')
    return failed(`the program could not be started: ${exit.why}`, undefined, 'not_started')
  // It was told that nothing more comes.
  if (chat && hub.signal.aborted && exit.kind === 'exited' && exit.code === 0)
    return { kind: 'result', result: { outcome: 'succeeded' } }
  return { kind: 'crash', why: options.silence.ended() ?? `the program ended without a result (${exitText(exit)})` }
}
