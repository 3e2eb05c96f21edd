/** `hub approval list`, `hub approval show`, `hub approve`, `hub reject`: what waits for a person, by agents and by the rules. */
import { SILENCE } from '../../../protocol/approval.ts'
import { askedWords, tierWords } from '../../../protocol/asked-words.ts'
import { spanText } from '../../../protocol/spans.ts'
import type { ApprovalView } from '../../answers.ts'
import { EXIT, Problem } from '../../problem.ts'
import { type Context, type Run, showList } from '../context.ts'
import { shortDigest, shortId } from '../ids.ts'
import { type Cell, clean, cleanLines, columns, facts, inOneLine, instantText, type Paint, whenText } from '../text.ts'

/** What waits and the command that answers it, in lines (fault C1). `agent`: who asks. */
export function questionLines({ id, agent, question }: Pick<ApprovalView, 'id' | 'agent' | 'question'>): string[] {
  const short = clean(shortId(id))
  const asks = `${agent ?? 'an agent'} asks: ${question}`
  // Further lines are indented, so that none can pass for a line of the hub.
  const lines = asks.split(/\r\n|[\n\r]/).map((line, at) => clean(at === 0 ? line : `  ${line}`))
  return [...lines, `answer it: \`hub approve ${short}\` or \`hub reject ${short}\`, with --text to say more`]
}

/** The same of a row of the list. */
export function approvalLines(approval: ApprovalView): string[] {
  const { who, what } = askedWords(approval)
  return questionLines({ id: approval.id, agent: who, question: what })
}

const stateText = ({ state, ending }: ApprovalView): string =>
  typeof ending === 'string' ? `${state}: ${ending.replace('_', ' ')}` : state

const table = (rows: readonly ApprovalView[], nowMs: number, paint: Paint): string =>
  columns(
    ['ID', 'STATE', 'WHO', 'ASKED', 'WAITS', 'WHAT', 'ANSWER'],
    rows.map((row) => {
      const { id, state, askedAtMs, leftMs, answer, onTimeout } = row
      const { who, what } = askedWords(row)
      return [
        shortId(id),
        { text: stateText(row), style: state === 'asked' ? 'yellow' : 'dim' },
        who,
        instantText(askedAtMs, nowMs),
        typeof leftMs === 'number'
          ? onTimeout === 'defer'
            ? `reminder in ${spanText(leftMs)}`
            : spanText(leftMs)
          : '',
        inOneLine(what),
        inOneLine(answer),
      ]
    }),
    paint,
  )

export const approvalList: Run = async (context, _, options) => {
  const { approvals } = await context.hub.call('approval.list', { all: String(options.all === true) })
  const show = (rows: readonly ApprovalView[]) => table(rows, Date.now(), context.terminal.paint)
  showList(context, approvals, { empty: 'nothing waits for your answer', table: show })
  return EXIT.done
}

const shortened = (value: unknown): string =>
  /^(sha256:)?[0-9a-f]{64}$/.test(String(value)) ? shortDigest(String(value).replace('sha256:', '')) : String(value)

function approvalText(approval: ApprovalView, nowMs: number, paint: Paint): string {
  const {
    id,
    task,
    session,
    operation,
    resource,
    answer,
    answeredBy,
    leftMs,
    about,
    act,
    tier,
    rule,
    revision,
    usedAtMs,
  } = approval
  const { who, what } = askedWords(approval)
  const rows: [string, Cell][] = [
    ['id', id],
    ['state', stateText(approval)],
    ['asked', `${whenText(approval.askedAtMs, nowMs)} by ${approval.principal}`],
  ]
  if (leftMs !== null)
    rows.push([
      'waits',
      approval.onTimeout === 'defer'
        ? `it goes on waiting; the next reminder comes after ${spanText(leftMs)} in which the hub may start work, 30 at most`
        : `${spanText(leftMs)} more, while the hub may start work; ${SILENCE[approval.onTimeout]}`,
    ])
  if (answeredBy !== null) rows.push(['answer', `${answer === '' ? 'without a word' : answer}, by ${answeredBy}`])
  if (usedAtMs !== null) rows.push(['used', whenText(usedAtMs, nowMs)])
  rows.push(['can do', `${tier}: ${tierWords(approval)}`])
  if (operation !== null) rows.push(['exactly', `${operation} on ${resource}`])
  if (task !== null) rows.push(['task', task])
  if (session !== null) rows.push(['session', session])
  if (rule !== null) rows.push(['rule', `${rule}, of ${revision}`])
  for (const [part, value] of Object.entries(about?.parts ?? {}))
    if (value !== null && part !== 'rules') rows.push([part, shortened(value)])
  if (act !== null) rows.push(['act', act])
  const text = `${clean(who)} asks:\n${cleanLines(what)}\n\n${facts(rows, paint)}`
  return about === null || approval.kind === 'budget' || JSON.stringify(about.facts) === '{}'
    ? text
    : `${text}\n\nwhat it is about:\n${cleanLines(JSON.stringify(about.facts, null, 2))}`
}
export const approvalShow: Run = async ({ hub, json, terminal }, [id = '']) => {
  const { approval } = await hub.call('approval.show', { id })
  if (json) terminal.json(approval)
  else terminal.out(approvalText(approval, Date.now(), terminal.paint))
  return EXIT.done
}

/** The one that waits, if no id was typed. @throws Problem `conflict` if none or more than one does; it lists them */
async function theOnly({ hub, json, terminal }: Pick<Context, 'hub' | 'json' | 'terminal'>): Promise<string> {
  const { approvals } = await hub.call('approval.list')
  const [only, ...others] = approvals
  const see = '`hub approval list` shows what waits'
  if (only === undefined) throw new Problem('conflict', 'refused', 'nothing waits for an answer', see)
  if (others.length === 0) return only.id
  if (!json)
    for (const one of approvals) {
      const { who, what } = askedWords(one)
      terminal.note(clean(`${shortId(one.id)}  ${who}: ${inOneLine(what)}`))
    }
  throw new Problem(
    'conflict',
    'refused',
    `${approvals.length} wait for an answer`,
    'name one: `hub approve ID` or `hub reject ID`',
    { waiting: approvals.map((one) => one.id) },
  )
}

const answer =
  (approve: boolean): Run =>
  async (context, [typed], options) => {
    const { hub, json, terminal } = context
    const id = typed ?? (await theOnly(context))
    const text = typeof options.text === 'string' ? options.text : ''
    const { approval } = await hub.call('approval.answer', { id, approve, text })
    if (json) terminal.json(approval)
    else terminal.out(clean(`${approval.state}; ${whatFollows(approval)}`))
    return EXIT.done
  }

/** What comes of an answer, and what whoever asked has to do. */
function whatFollows({ kind, state, agent, operation, principal, task }: ApprovalView): string {
  if (kind === 'budget')
    return state === 'approved'
      ? `the task may spend that much more: hub budget show --task ${shortId(task ?? '')}`
      : 'the limit stays, and what does not fit below it is refused'
  if (typeof operation !== 'string') return `agent ${agent} has been told`
  if (operation === 'task.dispatch') return state === 'approved' ? 'the task may start' : 'the task has ended'
  const follows = state === 'approved' ? 'may do exactly this once' : 'is refused'
  if (principal.startsWith('agent:')) return `${principal} hears of it, and ${follows}`
  if (state === 'approved' && principal === 'operator') return 'run the same command once more: it is then done, once'
  return `${principal} ${follows}${state === 'approved' ? ', and has to try again' : ''}`
}
export const approve = answer(true)
export const reject = answer(false)
