/** `hub upstream list` and `hub upstream test`: what agents may reach outside, and whether it answers. */
import { dollarsText } from '../../../protocol/dollars.ts'
import type { Answered } from '../../answers.ts'
import { EXIT } from '../../problem.ts'
import type { Run } from '../context.ts'
import { type Cell, clean, columns, countOf, facts, type Paint, whenText } from '../text.ts'

type Upstream = Answered<'upstream.list'>['upstreams'][number]

const isModel = ({ kind }: Upstream): boolean => kind === 'anthropic' || kind === 'openai' || kind === 'google'

/** What keeps it from being used, the worst first, each with its mending. */
function problemsOf(upstream: Upstream, nowMs: number): string[] {
  const { key, reachedBy, models, quota, restsUntilMs, name } = upstream
  const without = models.flatMap(({ problem }) => problem ?? [])
  return [
    ...(key.problem === null ? [] : [`the secret ${key.name} ${key.problem}; ${key.mend}`]),
    ...(quota === null ? [] : [`its quota is used up (${quota.why}) until ${whenText(quota.untilMs, nowMs)}`]),
    ...(restsUntilMs === null ? [] : [`it broke off two answers and rests until ${whenText(restsUntilMs, nowMs)}`]),
    ...(reachedBy.some(({ has }) => has.length > 0)
      ? []
      : [`nobody may reach it: add ${name} to may.egress of a card, then \`hub agent allow AGENT\``]),
    ...without,
  ]
}

function keyCell({ key }: Upstream): Cell {
  if (key.from === 'none') return '-'
  if (key.from === 'program') return 'by a program'
  return key.problem === null ? `${key.name}: there` : { text: `${key.name}: not usable`, style: 'red' }
}

/** Each agent with what card and row both permit; what only one of them says is marked. */
const reachText = ({ reachedBy }: Upstream): string =>
  reachedBy
    .map(({ agent, card, row, has }) => {
      if (has.length > 0) return `${agent} (${has.join(', ')})`
      return row.length === 0
        ? `${agent} (asks, not granted)`
        : card.length === 0
          ? `${agent} (granted, does not ask)`
          : `${agent} (asks for another part)`
    })
    .join(', ') || '-'

function todayText(upstream: Upstream): string {
  const { spentUsd, input, output, calls } = upstream.today
  if (!isModel(upstream)) return '-'
  if (calls === 0) return 'nothing'
  const tokens = `${input} in, ${output} out, ${countOf(calls, 'call')}`
  return upstream.free ? tokens : `${dollarsText(spentUsd)} USD (${tokens})`
}

const table = (upstreams: readonly Upstream[], paint: Paint): string =>
  columns(
    ['UPSTREAM', 'KIND', 'ADDRESS', 'KEY', 'MAY REACH IT', 'MODELS', 'TODAY'],
    upstreams.map((upstream) => [
      ...[upstream.name, upstream.kind, upstream.local ? `${upstream.url} (local)` : upstream.url, keyCell(upstream)],
      ...[reachText(upstream), upstream.models.map(({ model }) => clean(model)).join(', ') || '-', todayText(upstream)],
    ]),
    paint,
  )

export const list: Run = async ({ hub, json, terminal }) => {
  const answer = await hub.call('upstream.list')
  const { upstreams } = answer
  if (json) terminal.json(answer)
  else if (upstreams.length === 0)
    terminal.out('no upstream is declared: agents reach nothing outside. `hub upstream add` declares one')
  else {
    terminal.out(table(upstreams, terminal.paint))
    for (const upstream of upstreams)
      for (const problem of problemsOf(upstream, Date.now())) terminal.out(clean(`${upstream.name}: ${problem}`))
  }
  return EXIT.done
}

const KEY_WORDS = {
  taken: 'taken',
  refused: 'refused',
  unknown: 'cannot be seen from this call',
  none: 'none is declared',
} as const

/** Ends as refused if it could not be used as it is. */
export const test: Run = async ({ hub, json, terminal }, [name = '']) => {
  const { tried } = await hub.call('upstream.test', { name }, { deadlineMs: 60_000 })
  const { ok, asked, address, tls, connectMs, status, answerMs, key, detail, mend } = tried
  if (json) terminal.json(tried)
  else {
    const rows: [string, Cell][] = [
      ['upstream', tried.name],
      ['address', address === null ? 'no connection' : `${address} (${connectMs} ms)`],
      ...(address === null ? [] : [['TLS', tls ?? 'none: http'] as [string, Cell]]),
      ...(asked === null ? [] : [['asked', clean(asked)] as [string, Cell]]),
      ...(status === null ? [] : [['answered', `${status} (${answerMs} ms)`] as [string, Cell]]),
      ['key', KEY_WORDS[key]],
      ['so', { text: clean(detail), style: ok ? 'green' : 'red' }],
      ...(mend === '' ? [] : [['to do', clean(mend)] as [string, Cell]]),
    ]
    terminal.out(facts(rows, terminal.paint))
  }
  return ok ? EXIT.done : EXIT.refused
}
