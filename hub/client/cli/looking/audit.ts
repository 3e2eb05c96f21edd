import { didYouMean } from '../../../base/nearest.ts'
import { OPERATIONS, operationOf } from '../../../protocol/operations.ts'
import type { Answered, AuditProgress, AuditRecord, AuditVerdict } from '../../answers.ts'
import type { Request } from '../../connection.ts'
import { EXIT, usage } from '../../problem.ts'
import { given, pageOf, type Run, showList, spanOption, typed, wholeOption } from '../context.ts'
import { withShortIds } from '../ids.ts'
import { type Cell, clean, columns, countOf, facts, jsonText, type Paint, stampText } from '../text.ts'

const recordTable = (records: readonly AuditRecord[], paint: Paint): string =>
  columns(
    ['SEQ', 'AT', 'WHO', 'ACTION', 'RESOURCE', 'OUTCOME', 'REASON'],
    records.map((each) => [
      String(each.seq),
      stampText(each.atMs),
      each.principal,
      each.action,
      withShortIds(each.resource),
      { text: each.outcome, style: each.outcome === 'ok' ? 'green' : 'red' },
      withShortIds(each.reason ?? ''),
    ]),
    paint,
  )

/** Actions in records that are not operations. */
const OTHER_ACTIONS = [
  'gate.refused',
  'audit.tried',
  'hub.update_undone',
  'keys.renewed',
  'hub.restored',
  'hub.moved',
  'hub.copied',
]

/** The action as records name it. An operation works too: `task.submit` becomes `task.submitted`. @throws Problem usage */
function actionOf(text: string): string {
  const operation = operationOf(text)
  if (operation !== undefined) return operation.audit
  const known = [...Object.values(OPERATIONS).map(({ audit }) => audit), ...OTHER_ACTIONS]
  if (known.includes(text)) return text
  const meant = didYouMean(text, [...known, ...Object.keys(OPERATIONS)])
  throw usage(
    `--action: no record has the action ${text}${meant}`,
    '`hub audit list` shows actions, for example task.submitted',
  )
}
const OUTCOMES = ['ok', 'refused', 'failed']

/** An instant, epoch ms: a span back from now, or a date with or without a time, in UTC where it names no zone. @throws Problem usage */
function whenOption(name: string, value: unknown, nowMs: number): number | undefined {
  if (value === undefined) return undefined
  const text = String(value)
  if (/^\d+(ms|s|m|h|d)$/.test(text)) return nowMs - (spanOption(name, text) ?? 0)
  const isZoned = /(Z|[+-]\d\d:\d\d)$/.test(text) || !text.includes('T')
  const atMs = /^\d{4}-\d\d-\d\d(T\d\d:\d\d|$)/.test(text) ? Date.parse(isZoned ? text : `${text}Z`) : Number.NaN
  if (!(atMs >= 0))
    throw usage(
      `${name}: ${JSON.stringify(text)} is neither a span, such as 2h, nor an instant`,
      'write 2h, 2026-11-30 or 2026-11-30T08:00Z',
    )
  return atMs
}

type RecordPage = Answered<'audit.list'>
/** The hub's own default. */
const LIMIT = 25
const wanted = ({ limit }: Request<'audit.list'>): number => (typeof limit === 'number' ? limit : LIMIT)
const backTo = ({ next, searchedToMs }: RecordPage): string =>
  `record ${next}${searchedToMs ? ` of ${stampText(searchedToMs)}` : ''}`

export const auditList: Run = async (context, _, options) => {
  const { hub, terminal } = context
  if (options.outcome !== undefined && !OUTCOMES.includes(String(options.outcome)))
    throw usage(`--outcome must be one of ${OUTCOMES.join(', ')}`)
  if (options.tree === true && options.task === undefined)
    throw usage('--tree: of which task?', '`hub audit list --task TASK --tree`')
  const action = typeof options.action === 'string' ? actionOf(options.action) : undefined
  const nowMs = Date.now()
  const request: Request<'audit.list'> = given({
    ...{ ...pageOf(options), action, outcome: typed(options.outcome) },
    ...{
      task: typed(options.task),
      tree: options.tree === true ? 'true' : undefined,
      session: typed(options.session),
      agent: typed(options.agent),
    },
    decision: typed(options.decision),
    fromMs: whenOption('--since', options.since, nowMs),
    untilMs: whenOption('--until', options.until, nowMs),
  })
  const records: AuditRecord[] = []
  let answer: RecordPage
  // The hub searches only so far back in one request, so a rare record takes several.
  for (
    let more: Request<'audit.list'> = {};
    ;
    more = { cursor: answer.next, limit: wanted(request) - records.length }
  ) {
    answer = await hub.call('audit.list', { ...request, ...more })
    records.push(...answer.records)
    if (answer.next === null || records.length >= wanted(request)) break
    terminal.live(`searched back to ${backTo(answer)} ...`)
  }
  terminal.live('')
  const table = (rows: readonly AuditRecord[]) => recordTable(rows, terminal.paint)
  showList(context, records, { next: answer.next, empty: 'no records', table })
  return EXIT.done
}

type Shown = Answered<'audit.show'>

function decisionRows({ decision, decisionNote, record }: Shown): [string, Cell][] {
  if (record.decisionId === null) return [['decision', 'none: no rule was asked']]
  if (decision === null) return [['decision', `${record.decisionId}: ${decisionNote ?? 'not kept'}`]]
  const { effect, code, rule, reason } = decision
  return [
    ['decision', decision.id],
    ['answer', [effect, code, reason].filter(Boolean).join(': ')],
    ['rule', rule ?? 'none'],
    ['rules', `revision ${decision.revision}, bundle ${decision.bundleVersion}`],
    ['narrowed to', jsonText(decision.narrow ?? {}).replaceAll(/\n\s*/g, ' ')],
    ['input', JSON.stringify(decision.input)],
    ...(decision.erased.length === 0 ? [] : [['left out', decision.erased.join(', ')] as [string, Cell]]),
  ]
}

function signedCell({ signed }: Shown): Cell {
  if (signed === null) return { text: 'not yet: the next head is signed within two seconds', style: 'yellow' }
  if (signed.fault !== null) return { text: `BROKEN: ${signed.fault}`, style: 'red' }
  return { text: `head ${signed.head} of record ${signed.size}, ${stampText(signed.wallMs)}`, style: 'green' }
}

/** One record in full. Exit 1 if it is not bound to the head that was signed over it. */
export const auditShow: Run = async ({ hub, json, terminal }, [text]) => {
  const seq = wholeOption('the number of the record', text, 1, Number.MAX_SAFE_INTEGER) ?? 0
  const shown = await hub.call('audit.show', { seq })
  const { record, before, after, searchedFrom, searchedTo, signed } = shown
  if (json) terminal.json(shown)
  else {
    const rows: [string, Cell][] = [
      ['record', String(record.seq)],
      ['at', stampText(record.atMs)],
      ['who', record.principal],
      ['action', record.action],
      ['resource', record.resource],
      ['outcome', { text: record.outcome, style: record.outcome === 'ok' ? 'green' : 'red' }],
      ['reason', record.reason],
      ['effect', record.effect],
      ['payload', record.payloadHash ?? 'none'],
      ['hash', record.hash],
      ['signed', signedCell(shown)],
      ...decisionRows(shown),
    ]
    terminal.out(
      facts(
        rows.filter(([, cell]) => cell !== ''),
        terminal.paint,
      ),
    )
    const near = [...before, record, ...after]
    if (near.length > 1) terminal.out(`\nwith the same ids:\n${recordTable(near, terminal.paint)}`)
    terminal.note(
      `neighbours were looked for from record ${searchedFrom} to ${searchedTo}; \`hub audit list --task\` or \`--session\` looks further`,
    )
  }
  return signed?.fault ? EXIT.fault : EXIT.done
}
const ANSWER_MS = 1000

/** Exit 0 only for a whole chain that the watchdog confirms; 4 if it could not be asked. */
export const auditVerify: Run = async ({ hub, json, terminal }, _, { key, head }) => {
  if (key !== undefined || head !== undefined) throw usage('--key and --head go with --file')
  let verdict: AuditVerdict | AuditProgress
  // However long the log is, each answer comes within seconds and says how far the check is.
  for (;;) {
    verdict = await hub.call('audit.verify', { waitMs: ANSWER_MS }, { deadlineMs: 60_000 })
    if (!('running' in verdict)) break
    const { size, of } = verdict.running
    terminal.live(`verified ${size} of ${of} records ...`)
  }
  terminal.live('')
  if (json) terminal.json(verdict)
  else if (verdict.ok) {
    const size = `${countOf(verdict.size, 'record')}, ${countOf(verdict.checkpoints, 'signed checkpoint')}`
    terminal.out(`${terminal.paint('green', 'whole')}: ${size}\nhead ${clean(verdict.head)}`)
    const { witness } = verdict
    if (witness?.asked)
      terminal.out(
        witness.size === null ? 'the watchdog has not seen this log yet' : 'the watchdog has seen the same log',
      )
    else if (witness !== null) {
      terminal.note(`the watchdog could not be asked (${clean(witness.reason ?? '')})`)
      terminal.note(
        'only the watchdog can show whether records were cut off, rolled back or signed again: run `hub up`, then verify again',
      )
    }
  } else {
    const bad = verdict.firstBad
    const why =
      bad === null
        ? `${verdict.witness?.reason ?? 'see --json'}: the log is whole, but it is not the log that the watchdog saw`
        : `first at record ${bad.seq}: ${bad.reason}`
    terminal.out(`${terminal.paint('red', 'BROKEN')}: ${clean(why)}`)
    if (bad === null) terminal.out(`head ${clean(verdict.head)}`)
    terminal.note('next: stop with `hub shutdown`, keep hub.db as it is, and compare with a head kept elsewhere')
    if (bad === null)
      terminal.note('if you put the database back yourself (undo-update): `hub resume --accept-head HEAD`')
  }
  if (!verdict.ok) return EXIT.fault
  return verdict.witness?.asked === false ? EXIT.unreachable : EXIT.done
}
