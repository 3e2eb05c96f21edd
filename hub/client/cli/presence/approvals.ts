/** `hub approval list`, `hub approve`, `hub reject`: questions of agents that wait for a person. */
import type { ApprovalView } from '../../answers.ts'
import { EXIT } from '../../problem.ts'
import { type Run, showList } from '../context.ts'
import { shortId } from '../ids.ts'
import { clean, columns, inOneLine, instantText, type Paint } from '../text.ts'

/** The question and the command that answers it, in lines (fault C1). */
export function questionLines({ id, agent, question }: Pick<ApprovalView, 'id' | 'agent' | 'question'>): string[] {
  const short = clean(shortId(id))
  const asks = `${agent ?? 'an agent'} asks: ${question}`
  // Further lines are indented, so that none can pass for a line of the hub.
  const lines = asks.split(/\r\n|[\n\r]/).map((line, at) => clean(at === 0 ? line : `  ${line}`))
  return [...lines, `answer it: \`hub approve ${short}\` or \`hub reject ${short}\`, with --text to say more`]
}

const table = (rows: readonly ApprovalView[], nowMs: number, paint: Paint): string =>
  columns(
    ['ID', 'STATE', 'AGENT', 'ASKED', 'QUESTION', 'ANSWER'],
    rows.map(({ id, state, agent, askedAtMs, question, answer }) => [
      shortId(id),
      { text: state, style: state === 'asked' ? 'yellow' : 'dim' },
      agent ?? '',
      instantText(askedAtMs, nowMs),
      inOneLine(question),
      inOneLine(answer),
    ]),
    paint,
  )

export const approvalList: Run = async (context, _, options) => {
  const { approvals } = await context.hub.call('approval.list', { all: String(options.all === true) })
  const show = (rows: readonly ApprovalView[]) => table(rows, Date.now(), context.terminal.paint)
  showList(context, approvals, { empty: 'no question waits for an answer', table: show })
  return EXIT.done
}

const answer =
  (approve: boolean): Run =>
  async ({ hub, json, terminal }, [id = ''], options) => {
    const text = typeof options.text === 'string' ? options.text : ''
    const { approval } = await hub.call('approval.answer', { id, approve, text })
    if (json) terminal.json(approval)
    else terminal.out(clean(`${approval.state}; agent ${approval.agent} has been told`))
    return EXIT.done
  }
export const approve = answer(true)
export const reject = answer(false)
