/** Rules before they rule: what they would change (`hub policy diff`), what they would have answered (`simulate`), their tests, and why (`explain`). */
import { readFileSync } from 'node:fs'
import type { Answered } from '../../answers.ts'
import { EXIT, Problem, usage } from '../../problem.ts'
import type { Alone } from '../command.ts'
import { type Run, spanOption, wholeOption } from '../context.ts'
import { type Cell, clean, cleanLines, columns, countOf, facts, type Paint, stampText } from '../text.ts'
import { askProgram, program } from './judge.ts'

type Explained = Answered<'policy.explain'>
type Stored = Answered<'decision.list'>['decisions'][number]
type Result = Stored['result']

/** Asks the folder `policy/` in a process of its own. @throws Problem policy_unavailable if its rules would be refused */
async function tool<Answer extends object>(home: string, verb: string, text = ''): Promise<Answer> {
  const answer = await askProgram<Answer | { fault: string }>(
    [program('hub/policy-tool.ts'), verb, '--home', home],
    text,
  )
  if ('fault' in answer) throw new Problem('policy_unavailable', 'refused', clean(answer.fault), '')
  return answer
}

export const policyDiff: Run = async ({ home, hub, json, terminal }) => {
  const inForce = await hub.call('policy.show')
  const { lines } = await tool<{ lines: string[] }>(home, 'diff', JSON.stringify(inForce))
  if (json) terminal.json({ lines })
  else terminal.out(lines.length === 0 ? 'policy/ is as it is in force' : cleanLines(lines.join('\n')))
  return EXIT.done
}

interface Simulated {
  replayed: number
  notKept: number
  same: number
  otherwise: number
  changed: { id: string; atMs: number; input: Record<string, unknown>; was: Result; now: Result }[]
}

const SINCE_MS = 86_400_000
const MOST = 20_000
const ALL = 1_000_000
const PAGE = 100

/** What was asked, in a few words. */
function askedText(input: Record<string, unknown>): string {
  const { operation, principal, resource } = input as {
    operation?: unknown
    principal?: { kind?: unknown; id?: unknown; agent?: unknown }
    resource?: { agent?: unknown; to?: { agent?: unknown; topic?: unknown }; name?: unknown; topic?: unknown }
  }
  const to = resource?.to?.agent ?? resource?.to?.topic ?? resource?.agent ?? resource?.topic ?? resource?.name
  const who = principal?.agent ?? principal?.id ?? principal?.kind
  return clean([who, operation, to].filter((each) => typeof each === 'string').join(' '))
}

const resultText = ({ effect, reason, narrow }: Result): string =>
  clean(
    effect === 'allow' && narrow !== undefined
      ? `allow ${JSON.stringify(narrow)}`
      : effect === 'allow'
        ? 'allow'
        : `${effect}: ${reason}`,
  )

export const policySimulate: Run = async ({ home, hub, json, terminal }, _words, options) => {
  const sinceMs = Date.now() - (spanOption('--since', options.since) ?? SINCE_MS)
  const most = wholeOption('--most', options.most, 1, ALL) ?? MOST
  const lines: string[] = []
  /** Whether the hub has older ones within the span. */
  let isOn = true
  for (let cursor: string | undefined; isOn && lines.length <= most; ) {
    const { decisions, next } = await hub.call('decision.list', { limit: PAGE, ...(cursor && { cursor }) })
    const wanted = decisions.filter(({ atMs }) => atMs >= sinceMs)
    lines.push(...wanted.map((each) => JSON.stringify(each)))
    cursor = next ?? undefined
    isOn = cursor !== undefined && wanted.length === decisions.length
  }
  const simulated = await tool<Simulated>(home, 'simulate', lines.slice(0, most).join('\n'))
  if (json) {
    terminal.json(simulated)
    return EXIT.done
  }
  const { replayed, notKept, same, otherwise, changed } = simulated
  const rows = changed.map(({ atMs, input, was, now }) => [
    stampText(atMs),
    askedText(input),
    resultText(was),
    resultText(now),
  ])
  if (rows.length > 0) terminal.out(columns(['AT', 'ASKED', 'WAS', 'WOULD BE'], rows, terminal.paint))
  const left =
    notKept === 0 ? '' : `; ${countOf(notKept, 'more was', 'more were')} too long to be kept, and not asked again`
  terminal.out(
    `${countOf(replayed, 'question')} asked again: ${otherwise} would be answered otherwise, ${same} the same${left}`,
  )
  if (changed.length < otherwise) terminal.note(`the table shows the first ${changed.length} of them`)
  if (lines.length > most || isOn)
    terminal.note(
      most === ALL
        ? 'older questions were left out'
        : `older questions were left out; for more of them: --most ${Math.min(ALL, most * 10)}`,
    )
  return EXIT.done
}

export const policyTest: Alone = async ({ home, json, terminal }) => {
  const tested = await tool<{ ok: boolean; samples: number; tests: number; said: string }>(home, 'test')
  if (json) terminal.out(JSON.stringify(tested))
  else {
    if (tested.said !== '') terminal.out(tested.said.split('\n').map(clean).join('\n'))
    terminal.out(
      `${countOf(tested.tests, 'test')}, ${countOf(tested.samples, 'sample')} of your own: ${tested.ok ? 'all pass' : 'not all pass'}`,
    )
  }
  return tested.ok ? EXIT.done : EXIT.refused
}

/** A question from the options: as JSON, or of the operator about an agent. @throws Problem usage */
function questionOf(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  if (typeof options.input === 'string') {
    try {
      const given: unknown = JSON.parse(readFileSync(options.input === '-' ? 0 : options.input, 'utf8'))
      if (typeof given === 'object' && given !== null && !Array.isArray(given)) return given as Record<string, unknown>
    } catch (error) {
      throw usage(`--input: ${(error as Error).message}`, 'give a file with the question as JSON, or - for stdin')
    }
    throw usage('--input must be one JSON object', 'for example {"operation", "principal", "resource", "mode"}')
  }
  if (typeof options.operation !== 'string')
    throw usage(
      'name a decision, or make a question up',
      '`hub policy explain ID`, `--input FILE`, or `--operation task.submit --agent NAME`',
    )
  const agent = typeof options.agent === 'string' ? options.agent : null
  return {
    operation: options.operation,
    principal: { kind: 'operator', id: 'operator' },
    resource: { agent, needs: [], origin: { by: 'people', parent: null }, inputs: 'none' },
    mode: 'normal',
  }
}

const effectCell = (effect: Result['effect']): Cell => ({ text: effect, style: effect === 'allow' ? 'green' : 'red' })

function explainedText(explained: Explained, paint: Paint): string {
  const { effect, reason, rule, code, narrow, shipped, home, rows, changes, recorded } = explained
  const lines: [string, string][] = [
    ['answer', `${effect}${code === undefined ? '' : ` (${code})`}`],
    ['reason', clean(reason)],
    ['rule', clean(rule)],
    ['narrowed to', narrow === undefined ? '' : JSON.stringify(narrow)],
    ['shipped rules', resultText(shipped)],
    ['your rules', home === null ? 'none in force, or never asked about this' : clean(JSON.stringify(home))],
    ['was', recorded === undefined ? '' : `${resultText(recorded.result)} (${stampText(recorded.atMs)})`],
    ...Object.entries(rows).map(([name, row]): [string, string] => [`agents.${name}`, clean(JSON.stringify(row))]),
  ]
  const told = facts(
    lines.filter(([, value]) => value !== ''),
    paint,
  )
  if (changes.length === 0)
    return `${told}\nno change of its rows and its card that was tried would give another answer`
  const table = columns(
    ['WHAT WOULD CHANGE IT', 'ANSWER'],
    changes.map((each) => [clean(each.change), effectCell(each.effect)]),
    paint,
  )
  return `${told}\n${table}`
}

export const policyExplain: Run = async ({ hub, json, terminal }, [decision], options) => {
  const asked = decision === undefined ? { input: questionOf(options) } : { decision }
  const explained = await hub.call('policy.explain', asked)
  if (json) terminal.json(explained)
  else terminal.out(explainedText(explained, terminal.paint))
  return EXIT.done
}
