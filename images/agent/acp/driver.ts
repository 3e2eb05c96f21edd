/**
 * The driver `acp`: a coding agent that speaks the Agent Client Protocol on its standard input and output (docs/protocol.md 10). The shim is its client,
 * through the official SDK. All of it is an addition: only images of agents with this driver hold it.
 */
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { shownLine } from '../../../hub/base/shown-text.ts'
import { STOP_GRACE_MS } from '../../../hub/protocol/stop-grace.ts'
import type { Wishes } from '../../../hub/protocol/wish-places.ts'
import { expandArgv } from '../argv.ts'
import { type Exit, startChild } from '../child.ts'
import {
  type DriverOptions,
  type Ending,
  exitText,
  FAREWELL_MS,
  failed,
  GRACE,
  onStop,
  RESULT_BYTES_MAX,
  readLog,
} from '../ending.ts'
import { createLineSplitter } from '../lines.ts'
import { createHeld, fitting } from '../shown.ts'
import { fieldsOf, type Seen } from '../stream-events.ts'
import { createStreamRun, type Note } from '../stream-run.ts'
import { createClient, sessionOf } from './client.ts'
import { createDraftClient } from './client-v2.ts'
import { createFiles } from './files.ts'
import { serversOf } from './mcp-servers.ts'
import { AcpFault, type Agent, type Conversation, openConversation, READY_MS, type TurnEnd } from './session.ts'
import { openDraft } from './session-v2.ts'
import { createTalk, meaningOf } from './talk.ts'
import { createTerminals } from './terminals.ts'
import { createUpdates } from './updates.ts'
import { createWire } from './wire.ts'

/** All in ms. */
export interface AcpTimes {
  /** For each answer before its first prompt. */
  readyMs: number
  /** An agent that was told to stop its turn and does not answer for so long is ended itself. */
  cancelMs: number
  /** So long it may live after its last turn, and so long after SIGTERM. */
  farewellMs: number
  killMs: number
}
const TIMES: AcpTimes = { readyMs: READY_MS, cancelMs: 30_000, farewellMs: FAREWELL_MS, killMs: STOP_GRACE_MS }

/** Of the sessions that an agent begins by itself so many are named in its log. */
const STRANGERS_MAX = 16

/** What the agent is asked first: the parameter `task`, and the input where no word of `run` names it. */
function firstPrompt({ task }: Readonly<Record<string, unknown>>, input: string | undefined): object[] | undefined {
  if (task === undefined || task === null) return undefined
  const text = typeof task === 'string' ? task : JSON.stringify(task)
  const link =
    input === undefined ? [] : [{ type: 'resource_link', uri: pathToFileURL(input).href, name: basename(input) }]
  return text.trim() === '' ? undefined : [{ type: 'text', text }, ...link]
}

/** What the protocol is to tell: what the task asks for and its card gives no place. */
function untold(
  { model, system }: Wishes,
  { run, env }: { run: readonly string[]; env: Readonly<Record<string, string>> },
): Pick<Wishes, 'model' | 'system'> {
  const isTold = (place: string, text = '') =>
    run.some((word) => word.includes(place)) || Object.values(env).some((value) => value.includes(text))
  return {
    ...(model === undefined || isTold('{model}', model) ? {} : { model }),
    ...(system === undefined || isTold('{system}', system) ? {} : { system }),
  }
}

/** What came of it, before the program's own end is looked at. */
type Outcome = { end: TurnEnd | undefined } | { fault: AcpFault; wasThere: boolean }

/** @throws Error in words for the task's result, where nothing can be started */
export const driveAcp = (options: DriverOptions, times = TIMES): Promise<Ending> => drive(options, times, 1)
/** The driver `acp-v2`: version 2 of the protocol, which is a draft. @throws Error as `driveAcp` */
export const driveAcpDraft = (options: DriverOptions, times = TIMES): Promise<Ending> => drive(options, times, 2)

async function drive(options: DriverOptions, times: AcpTimes, version: 1 | 2): Promise<Ending> {
  const { hub, env, workspace, cwd, log, input, turns, chat } = options
  const { params, spec } = hub.joined.task
  const { argv, namesInput } = expandArgv(options.argv, { input, params, spec })
  const first = firstPrompt(params, namesInput ? undefined : input)
  if (first === undefined && !chat) throw new Error('this agent needs a parameter: hub submit --param task=TEXT')
  const wishes = untold(spec ?? {}, { run: options.argv, env })
  const child = startChild(argv, { env, cwd })
  options.silence.watch(child)
  onStop(hub, (graceMs) => child.stop({ termAfterMs: graceMs * GRACE.term, killAfterMs: graceMs * GRACE.kill }))

  const run = createStreamRun()
  const held = createHeld(log)
  const updates = createUpdates()
  const files = createFiles(workspace)
  const terminals = createTerminals({ env, cwd, folder: files.folder })
  const giveUp = () => child.stop({ termAfterMs: 0, killAfterMs: times.killMs })
  const talk = createTalk({ hub, turns, chat, observe, giveUp, cancelMs: times.cancelMs })
  let conversation: Conversation | undefined
  const strangers = new Set<string>()

  const show = ({ kind, text }: Note) => {
    if (kind === 'trouble') return held.add(text, 'warn')
    held.release()
    log.add(text)
    if (kind === 'call') hub.progress({ text })
  }
  function observe(seen: Seen): void {
    run.take(seen).forEach(show)
    if (seen.kind === 'said') talk.speaking()?.text(seen.text)
    if (seen.kind === 'called') talk.speaking()?.tool({ name: seen.words })
  }
  /** Something came of a session: a sign of work. False for one that the agent began by itself: what it says there is not its own last word. */
  function from(session: string): boolean {
    conversation?.sign()
    if (conversation === undefined || session === conversation.id) return true
    const name = shownLine(session).slice(0, 80)
    if (strangers.size < STRANGERS_MAX && !strangers.has(name)) {
      strangers.add(name)
      log.add(`it works in a session of its own: ${name}`)
    }
    return false
  }

  const wire = createWire({
    child,
    onText: held.add,
    warn: (text) => held.add(text, 'warn'),
    onUpdate(given) {
      const { update } = fieldsOf(given)
      if (conversation !== undefined && fieldsOf(update).sessionUpdate === 'state_update')
        if (sessionOf(given) === conversation.id) conversation.state?.(fieldsOf(update))
      const seen = updates.read(given)
      if (seen.length === 0) return
      const isOwn = from(sessionOf(given))
      for (const one of seen) observe(one.kind === 'said' && !isOwn ? { kind: 'thought' } : one)
    },
  })
  const answers = {
    ...{ permit: hub.permit, say: log.add, turn: talk.current, from },
    asked(toolCall: unknown) {
      const { seen, tool } = updates.asked(toolCall)
      seen.forEach(observe)
      return tool
    },
  }
  function connect(): { agent: Agent; closed: Promise<unknown> } {
    if (version === 1) return createClient({ ...answers, files, terminals }).connect(wire.stream)
    return createDraftClient(answers).connect(wire.stream)
  }
  const { agent, closed } = connect()
  const begin = () => {
    const mcp = serversOf(hub.joined.program.mcp ?? [], env)
    const warn = (text: string) => held.add(text, 'warn')
    const place = { cwd, readyMs: times.readyMs, ...wishes, mcp, warn }
    return version === 1 ? openConversation(agent, place) : openDraft(agent, closed, place)
  }
  const lines = createLineSplitter(RESULT_BYTES_MAX)
  const output = child
    .read('stdout', (chunk) => lines.push(chunk).forEach(wire.take))
    .then(() => {
      lines.end().forEach(wire.take)
      wire.end()
    })
  const errors = readLog(child, 'stderr', { ...log, add: held.add })

  async function work(): Promise<Outcome> {
    try {
      conversation = await begin()
      observe({ kind: 'conversation', id: conversation.id })
      if (conversation.agent !== '') log.add(conversation.agent)
      return { end: await talk.hold(conversation, first) }
    } catch (thrown) {
      const fault = thrown instanceof AcpFault ? thrown : new AcpFault('turn_failed', (thrown as Error).message)
      // Its output ended; whether it did so too shows soon.
      const late = fault.code === 'ended_early' ? times.farewellMs : 0
      return { fault, wasThere: (await Promise.race([child.exit, sleep(late)])) === undefined }
    }
  }
  const outcome = await work()
  // What it still does must not last until the deadline.
  terminals.closeAll()
  child.endInput()
  child.stop({ termAfterMs: times.farewellMs, killAfterMs: times.farewellMs + times.killMs })
  const [exit] = await Promise.all([child.exit, output, errors])
  run.close().forEach(show)
  held.release()
  const crash = crashOf(outcome, exit, { wasStopped: hub.signal.aborted, silent: options.silence.ended() })
  if (crash !== undefined) return crash
  const value = await fitting(run.value(exit), workspace)
  hub.stopReason('fault' in outcome ? 'error' : run.reason())
  return judge(outcome, exit, { value, chat, ran: run.judge(exit, true) })
}

/** A program that a signal ended within its work, or that was ended because it said nothing. */
function crashOf(
  outcome: Outcome,
  exit: Exit,
  { wasStopped, silent }: { wasStopped: boolean; silent: string | undefined },
): Ending | undefined {
  if (!('fault' in outcome) || wasStopped) return undefined
  if (silent !== undefined) return { kind: 'crash', why: silent }
  if (outcome.fault.code !== 'ended_early' || outcome.wasThere || exit.kind !== 'killed') return undefined
  return { kind: 'crash', why: `the program was ended by ${exit.signal}` }
}

function judge(
  outcome: Outcome,
  exit: Exit,
  { value, chat, ran }: { value: object; chat: boolean; ran: ReturnType<ReturnType<typeof createStreamRun>['judge']> },
): Ending {
  const succeeded: Ending = { kind: 'result', result: { outcome: 'succeeded', value } }
  if (exit.kind === 'not_started')
    return failed(`the program could not be started: ${exit.why}`, undefined, 'not_started')
  if ('fault' in outcome) {
    const { fault, wasThere } = outcome
    if (fault.code !== 'ended_early') return failed(fault.message, value, fault.code)
    const how = wasThere ? 'the program closed its output' : `the program ended with ${exitText(exit)}`
    return failed(`${how} before it was done`, value, 'ended_early')
  }
  if (chat || outcome.end === undefined) return succeeded
  const { fault } = meaningOf(outcome.end)
  if (fault !== undefined) return failed(`the agent did not finish: ${fault[1]}`, value, fault[0])
  if (ran.kind === 'succeeded') return succeeded
  return failed(ran.why, value, ran.kind === 'failed' ? ran.code : undefined)
}
