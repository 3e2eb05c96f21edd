/**
 * A model agent: it gives the task to a model, does what the model asks for, and goes on until the model is done. The model is reached
 * through the hub alone (HUB_EGRESS): no key is in here, and the hub counts what each call costs. What it may spend, whom it may ask and
 * which model it takes stand in its card and in the rules. Copy this folder to begin an agent of your own.
 */
import { connect, type TaskFacts } from '../../hub/client/agent.ts'
import { type Said, SHAPES, type Talk } from './shapes.ts'
import { type Skill, skillsOf } from './tools.ts'

const SYSTEM = `You work alone and unattended on one task. Use the tools to read the input and to keep results. Nobody reads what you say before
you are done. When the task is done, say what you did and what came of it, in a few sentences. If it cannot be done, say why.`

const TRIES = 4
const RETRY_MS = 2000
const RETRY_MS_MAX = 120_000

const settings = process.env
const hub = await connect()
/** What the hub said last of the money that is left; the model reads it with what its tools answer. */
let warning = ''
hub.onBudgetLow(({ of, spentUsd, limitUsd }) => {
  warning = `\n[${spentUsd / 1e6} of ${limitUsd / 1e6} USD (limit: ${of}) are spent. A call that does not fit is refused: finish in time.]`
})
const pause = (ms: number, signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => resolve(clearTimeout(timer)), { once: true })
  })

/** One call of the model. What is busy (429, 5xx) is tried again; anything else ends the task with the reason that the hub or the model gave. */
async function call({ path, headers, request }: Talk, signal: AbortSignal): Promise<Record<string, unknown>> {
  const { HUB_EGRESS, ASSISTANT_UPSTREAM } = settings
  if (HUB_EGRESS === undefined)
    throw new Error('this session reaches no model: declare an upstream in hub.yaml, then `hub agent allow assistant`')
  const body = JSON.stringify(request())
  for (let tries = 1; ; tries += 1) {
    const answer = await fetch(`${HUB_EGRESS}/up/${ASSISTANT_UPSTREAM}${path}`, {
      ...{ method: 'POST', body, signal },
      headers: { 'content-type': 'application/json', ...headers },
    })
    const text = await answer.text()
    if (answer.ok) return JSON.parse(text) as Record<string, unknown>
    if (tries === TRIES || (answer.status !== 429 && answer.status < 500))
      throw new Error(`the model was not reached (${answer.status}): ${text.slice(0, 1000)}`)
    const asked = Number(answer.headers.get('retry-after') ?? 0) * 1000
    if (asked > RETRY_MS_MAX) throw new Error(`the model has no room for ${asked / 1000} s (${answer.status})`)
    await pause(asked > 0 ? asked : RETRY_MS * 2 ** (tries - 1), signal)
  }
}

/** Does what the model asks for. A tool that fails, or that the hub refuses, tells the model why. */
const answerAll = ({ calls }: Said, skills: readonly Skill[]) =>
  Promise.all(
    calls.map(async ({ id, name, input }) => {
      try {
        const found = skills.find((skill) => skill.name === name)
        if (found === undefined) throw new Error(`there is no tool ${name}`)
        return { id, text: await found.run(input as Record<string, string>), isError: false }
      } catch (thrown) {
        return { id, text: `failed: ${(thrown as Error).message}`, isError: true }
      }
    }),
  )

async function work(task: TaskFacts, signal: AbortSignal) {
  const asked = task.params.task
  if (typeof asked !== 'string' || asked === '') throw new Error('params.task is what to do, in words')
  const shape = SHAPES[settings.ASSISTANT_SHAPE ?? '']
  if (shape === undefined) throw new Error('env.ASSISTANT_SHAPE in the card must be messages or responses')
  const tools = skillsOf(hub, task)
  const talk = shape({
    ...{ system: SYSTEM, task: asked, tools },
    model: settings.ASSISTANT_MODEL ?? '',
    maxOutput: Number(settings.ASSISTANT_MAX_OUTPUT),
  })
  const most = Number(settings.ASSISTANT_TURNS)
  for (let turn = 1; turn <= most; turn += 1) {
    hub.progress({ text: `turn ${turn}`, done: turn - 1, total: most })
    const said = talk.heard(await call(talk, signal))
    hub.partial({ turns: turn, text: said.text.slice(0, 2000) })
    if (said.isCut) throw new Error('the answer ended at ASSISTANT_MAX_OUTPUT; raise it in the card')
    if (said.calls.length === 0) {
      await hub.artifact.put('answer.md', `${said.text}\n`)
      return { turns: turn, text: said.text.slice(0, 2000) }
    }
    const answers = await answerAll(said, tools)
    talk.told(answers.map((each, n) => (n > 0 ? each : { ...each, text: each.text + warning })))
    warning = ''
  }
  throw new Error(`not done after ${most} turns; ASSISTANT_TURNS in the card says how many it may take`)
}

hub.onTask(work)
