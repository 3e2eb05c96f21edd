/**
 * The driver `stub`: no program at all. It replays a script, so that whatever uses an agent can be tried without a model (docs/protocol.md 10).
 * Each step is a line as a program of `json-lines` prints it, or one of those below; each is over before the next begins. A `prompt` waits for the next
 * prompt; the steps after it, up to the next `prompt`, are its turn, and what is left of them is skipped once it is cancelled.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Permit, Turn } from '../../hub/client/agent.ts'
import { judgeArtifactName } from '../../hub/protocol/paths.ts'
import { expandArgv } from './argv.ts'
import { createConversation } from './conversation.ts'
import { type DriverOptions, type Ending, failed, keepLarge, resultEnding } from './ending.ts'
import { LINE_BYTES_MAX } from './lines.ts'
import { readVerb, VERB_NAMES } from './verbs.ts'

const STEPS_MAX = 1000
type Step = Record<string, unknown>

/** The steps of a script. Throws with what is wrong in it. */
function readScript(run: readonly string[]): Step[] {
  const [text, ...more] = run
  if (text === undefined || more.length > 0)
    throw new Error('run of the driver stub is one word, the script: ["{param:script}"]')
  const script: unknown = JSON.parse(text)
  if (!Array.isArray(script)) throw new Error('the script is a list of steps')
  if (script.length > STEPS_MAX) throw new Error(`the script has ${script.length} steps; it may have ${STEPS_MAX}`)
  return script.map((step: unknown, at) => {
    if (typeof step !== 'object' || step === null || Array.isArray(step))
      throw new Error(`step ${at + 1} of the script is not an object`)
    if (Buffer.byteLength(JSON.stringify(step)) > LINE_BYTES_MAX)
      throw new Error(`step ${at + 1} of the script is longer than ${LINE_BYTES_MAX} bytes`)
    return step as Step
  })
}

export async function driveStub(options: DriverOptions): Promise<Ending> {
  const { hub, workspace, log, classes, input, turns } = options
  const { task } = hub.joined
  const { argv } = expandArgv(options.argv, { input, params: task.params, spec: task.spec })
  const steps = readScript(argv)
  // What an agent would be told first.
  if (task.spec !== undefined) log.add(`its task says ${JSON.stringify(task.spec)}`)
  let fault: string | undefined
  let turn: Turn | undefined
  const conversation = createConversation({
    hub,
    verbs: VERB_NAMES,
    warn: (text) => log.add(text, 'warn'),
    async say(answer) {
      const { op, code, hint } = answer as { op: string; code?: string; hint?: string }
      if (op === 'error') fault ??= `${code}: ${hint}`
    },
    hand: () => {},
    keepLarge: (value) => keepLarge(workspace, value),
    classify: classes.set,
    turn: () => turn,
  })
  const own: Readonly<Record<string, (step: Step) => Promise<string | undefined>>> = {
    async wait({ ms }) {
      if (typeof ms !== 'number' || !(ms >= 0 && ms <= 86_400_000)) return 'ms: 0 to 86400000'
      await wait(ms, undefined, { signal: turn?.signal ?? hub.signal }).catch((thrown) => {
        if (turn?.signal.aborted !== true || hub.signal.aborted) throw thrown
      })
      return undefined
    },
    async prompt() {
      turn = await turns.next()
      return undefined
    },
    async write({ name, text }) {
      if (typeof name !== 'string' || typeof text !== 'string') return 'name and text are texts'
      const wrong = name.includes('/') ? 'names a folder' : judgeArtifactName(name)
      if (wrong !== undefined) return `name: it ${wrong}`
      await writeFile(join(workspace, 'out', name), text)
    },
    /** Over once it is answered; another answer than the script expects ends it. */
    async permit({ expect = 'allowed', ...asked }) {
      if (expect !== 'allowed' && expect !== 'denied') return 'expect: allowed or denied'
      const read = readVerb({ bytes: Buffer.from(JSON.stringify({ id: 1, ...asked })) })
      if ('error' in read) return read.error.message
      const { timeoutMs, ...permit } = read.fields as unknown as Permit & { timeoutMs?: number }
      const { allowed, reason } = await hub.permit(permit, { timeoutMs })
      const answer = allowed ? 'allowed' : 'denied'
      return answer === expect ? undefined : `${permit.tool} was ${answer}: ${reason}`
    },
    crash: async () => undefined,
  }
  /** A text of a turn may repeat its prompt. */
  const said = (step: Step): Step =>
    step.op === 'turn' && typeof step.text === 'string'
      ? { ...step, text: step.text.replaceAll('{prompt}', () => turn?.prompt ?? '') }
      : step
  for (const [at, step] of steps.entries()) {
    const { op } = step
    if (turn?.signal.aborted === true && op !== 'prompt') continue
    const act = typeof op === 'string' && Object.hasOwn(own, op) ? own[op] : undefined
    if (act === undefined)
      await conversation.take({ bytes: Buffer.from(JSON.stringify({ id: at + 1, ...said(step) })) })
    else fault = await act(step)
    if (op === 'crash') return { kind: 'crash', why: `step ${at + 1} of the script crashes` }
    // No further prompt comes: the session is to end.
    if (op === 'prompt' && turn === undefined) return { kind: 'result', result: { outcome: 'succeeded' } }
    if (fault !== undefined) return failed(`step ${at + 1} of the script: ${fault}`)
    if (conversation.result() !== undefined) break
  }
  return resultEnding(conversation) ?? failed('the script ended without a result', undefined, 'nothing_done')
}
