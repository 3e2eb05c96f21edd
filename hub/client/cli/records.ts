/** `hub audit`, `hub policy`, `hub doctor`: what was decided, by which rules, and what is not in order. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { didYouMean } from '../../base/nearest.ts'
import { OPERATIONS, operationOf } from '../../protocol/operations.ts'
import type { AuditProgress, AuditRecord, AuditVerdict, CheckView } from '../answers.ts'
import { EXIT, Problem, toProblem, usage } from '../problem.ts'
import { given, pageOf, type Run, showList } from './context.ts'
import { keepInHistory } from './home-files.ts'
import { withShortIds } from './ids.ts'
import { judge } from './judge.ts'
import { hubArgv } from './processes.ts'
import { clean, columns, facts, type Paint, stampText } from './text.ts'

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

/** What records are called beside the operations. */
const OTHER_ACTIONS = [
  'gate.refused',
  'audit.tried',
  'hub.update_undone',
  'keys.renewed',
  'hub.restored',
  'hub.moved',
  'hub.copied',
]

/** The word of the records for an action, which may be given as its operation too: `task.submit` is `task.submitted`. @throws Problem usage */
function actionOf(text: string): string {
  const operation = operationOf(text)
  if (operation !== undefined) return operation.audit
  const known = [...Object.values(OPERATIONS).map(({ audit }) => audit), ...OTHER_ACTIONS]
  if (known.includes(text)) return text
  const meant = didYouMean(text, [...known, ...Object.keys(OPERATIONS)])
  throw usage(
    `--action: no record is called ${text}${meant}`,
    '`hub audit list` shows what they are called, as task.submitted',
  )
}
const OUTCOMES = ['ok', 'refused', 'failed']

export const auditList: Run = async (context, _, options) => {
  const { hub, terminal } = context
  const { outcome } = options as { outcome?: string }
  if (outcome !== undefined && !OUTCOMES.includes(outcome))
    throw usage(`--outcome: ${outcome} is none of ${OUTCOMES.join(', ')}`)
  const action = typeof options.action === 'string' ? actionOf(options.action) : undefined
  const request = given({ ...pageOf(options), action, outcome })
  const records: AuditRecord[] = []
  let answer: RecordPage
  // One look back is bounded: a seldom record is found by going on from where it ended.
  for (
    let more: Record<string, unknown> = {};
    ;
    more = { cursor: answer.next, limit: wanted(request) - records.length }
  ) {
    answer = (await hub.call('audit.list', { ...request, ...more })) as RecordPage
    records.push(...answer.records)
    if (answer.next === null || records.length >= wanted(request)) break
    terminal.live(`searched back to ${backTo(answer)} ...`)
  }
  terminal.live('')
  const table = (rows: readonly AuditRecord[]) => recordTable(rows, terminal.paint)
  showList(context, records, { next: answer.next, empty: 'no records', table })
  return EXIT.done
}
interface RecordPage {
  records: AuditRecord[]
  next: string | null
  searchedToMs?: number | null
}
/** As the hub takes it where none is named. */
const LIMIT = 25
const wanted = ({ limit }: Record<string, unknown>): number => (typeof limit === 'number' ? limit : LIMIT)
const backTo = ({ next, searchedToMs }: RecordPage): string =>
  `record ${next}${searchedToMs ? ` of ${stampText(searchedToMs)}` : ''}`

const ANSWER_MS = 1000

/** Exit 0 only for a whole chain that the watchdog agrees to; 4 where it could not be asked. */
export const auditVerify: Run = async ({ hub, json, terminal }, _, { key, head }) => {
  if (key !== undefined || head !== undefined) throw usage('--key and --head go with --file')
  let verdict: AuditVerdict | AuditProgress
  // However long the log: each answer comes within seconds and says how far it is.
  for (;;) {
    verdict = (await hub.call('audit.verify', { waitMs: ANSWER_MS }, { deadlineMs: 60_000 })) as typeof verdict
    if (!('running' in verdict)) break
    const { size, of } = verdict.running
    terminal.live(`verified ${size} of ${of} records ...`)
  }
  terminal.live('')
  if (json) terminal.json(verdict)
  else if (verdict.ok) {
    const size = `${verdict.size} records, ${verdict.checkpoints} signed checkpoints`
    terminal.out(`${terminal.paint('green', 'whole')}: ${size}\nhead ${clean(verdict.head)}`)
    const { witness } = verdict
    if (witness?.asked)
      terminal.out(
        witness.size === null ? 'the watchdog has seen none of it yet' : 'the watchdog has seen the same log',
      )
    else if (witness !== null) {
      terminal.note(`the watchdog could not be asked (${clean(witness.reason ?? '')})`)
      terminal.note('what was cut off, rolled back or signed anew shows only beside it: hub up, then again')
    }
  } else {
    const bad = verdict.firstBad
    const why =
      bad === null
        ? `${verdict.witness?.reason ?? 'see --json'}: the log is whole by itself, but not the one that was witnessed`
        : `first at record ${bad.seq}: ${bad.reason}`
    terminal.out(`${terminal.paint('red', 'BROKEN')}: ${clean(why)}`)
    if (bad === null) terminal.out(`head ${clean(verdict.head)}`)
    terminal.note('next: stop with `hub shutdown`, keep hub.db as it is, and compare with a head kept elsewhere')
    if (bad === null)
      terminal.note('where you put the database back yourself (undo-update): `hub resume --accept-head HEAD`')
  }
  if (!verdict.ok) return EXIT.fault
  return verdict.witness?.asked === false ? EXIT.unreachable : EXIT.done
}

export const policyStatus: Run = async ({ hub, json, terminal }) => {
  const answer = (await hub.call('policy.status')) as Record<string, unknown>
  if (json) terminal.json(answer)
  else terminal.out(facts(Object.entries(answer).map(policyRow), terminal.paint))
  return EXIT.done
}
const policyRow = ([name, value]: [string, unknown]): readonly [string, string] =>
  name === 'loadedAtMs' && typeof value === 'number'
    ? ['loaded', stampText(value)]
    : [name, Array.isArray(value) ? value.join(', ') : typeof value === 'string' ? value : JSON.stringify(value)]

/** What is whole is kept in the file's history before it is in force; what is not is refused by the hub, which records it and raises an alert. */
async function keepData(home: string): Promise<boolean> {
  const file = path.join(home, 'policy', 'data.json')
  try {
    const { faults } = await judge('policy', home, readFileSync(file))
    return faults.length === 0 && keepInHistory(path.dirname(file), ['data.json'], 'hub policy reload')
  } catch {
    return false
  }
}

/** Reads policy/data.json again, and says what that changed. */
export const policyReload: Run = async ({ hub, home, json, terminal }) => {
  const committed = await keepData(home)
  const answer = (await hub.call('policy.reload')) as Record<string, unknown>
  if (json) terminal.json({ ...answer, committed })
  else {
    const { changed, warnings, ...rest } = answer
    for (const warning of Array.isArray(warnings) ? warnings : []) terminal.note(clean(`note: ${warning}`))
    const lines = typeof changed === 'string' && changed !== '' ? changed.split('; ').map(clean) : ['nothing changed']
    terminal.out(`${['reloaded', ...lines].join('\n')}\n${facts(Object.entries(rest).map(policyRow), terminal.paint)}`)
  }
  return EXIT.done
}

/** A hub that is there answers this at once; the doctor's own checks may take longer. */
const THERE_MS = 5_000

/** The table of a process of its own, which does without the hub (assembly/doctor-alone.ts). */
function checksAlone(home: string): Promise<CheckView[]> {
  return new Promise((resolve, reject) => {
    const options = { timeout: 60_000, maxBuffer: 4 * 1024 ** 2 }
    execFile(process.execPath, hubArgv(home, 'doctor'), options, (error, stdout, stderr) => {
      try {
        resolve((JSON.parse(stdout) as { checks: CheckView[] }).checks)
      } catch {
        const why = stderr.trim().split('\n').at(-1) || error?.message || 'it said nothing'
        const text = `the hub does not answer, and its doctor could not look without it: ${why}`
        reject(new Problem('unreachable', 'unavailable', text, 'hub up; what it says is in logs/hub.log'))
      }
    })
  })
}

/** Exit 1 if any check is red; amber (unknown) ones do not count. With the hub dead its table is made without it. */
export const doctor: Run = async ({ hub, home, json, terminal }) => {
  const isThere = await hub.call('health.show', {}, { deadlineMs: THERE_MS }).then(
    () => true,
    (thrown) => {
      // Whatever it answers, it is there; a socket that somebody else could have put there is not looked past.
      if (toProblem(thrown).code === 'not_private') throw thrown
      return toProblem(thrown).code !== 'unreachable'
    },
  )
  const { checks } = isThere
    ? ((await hub.call('doctor.run', {}, { deadlineMs: 60_000 })) as { checks: CheckView[] })
    : { checks: await checksAlone(home) }
  if (json) terminal.json(checks)
  else terminal.out(doctorText(checks, terminal.paint))
  return checks.some(({ ok }) => ok === false) ? EXIT.fault : EXIT.done
}

/** Each check in one line, what mends it under it. */
export function doctorText(checks: readonly CheckView[], paint: Paint): string {
  const width = Math.max(0, ...checks.map(({ name }) => name.length))
  return checks
    .map(({ name, ok, detail, mend }) => {
      const mark = ok === true ? paint('green', 'ok  ') : ok === false ? paint('red', 'FAIL') : paint('yellow', '?   ')
      const line = `${mark}  ${clean(name).padEnd(width)}  ${clean(detail)}`
      return mend && ok !== true ? `${line}\n      ${clean(mend)}` : line
    })
    .join('\n')
}
