/** Cuts the folder into parts, delegates each to a reader, collects what the readers report, and joins it into the report. */
import { connect, type Message } from '../../hub/client/agent.ts'
import { type FolderPart, planParts } from '../../hub/protocol/folder.ts'
import type { FindingBody, Findings, ReaderResult, TotalsRow } from '../survey-reader/finding.ts'
import { emptyFindings, joinReport, type PartReport, reportText } from './report.ts'

const READER = 'survey-reader'
const [READERS_MIN, READERS_MAX, READERS_DEFAULT] = [2, 4, 3]

/** What one reader session reported about its part. A reader that was started again is another session, and begins from the start. */
interface Heard {
  session: string
  messages: number
  findings: Findings
}

const hub = await connect()
const heard = new Map<number, Heard>()

function heardOf(part: unknown, { from }: Message): Heard {
  if (from.agent !== READER || typeof part !== 'number') throw new Error('only readers report here')
  const known = heard.get(part)
  if (known?.session === from.session) return known
  const fresh = { session: from.session, messages: 0, findings: emptyFindings() }
  heard.set(part, fresh)
  return fresh
}

hub.onMessage('survey.finding', (body, message) => {
  const { part, kind, items } = body as unknown as FindingBody
  const entry = heardOf(part, message)
  if (!Object.hasOwn(entry.findings, kind) || !Array.isArray(items)) throw new Error('a finding is {part, kind, items}')
  if (kind === 'totals') entry.findings.totals = items[0] as TotalsRow
  else (entry.findings[kind] as unknown[]).push(...items)
  entry.messages += 1
  return { ok: true }
})

hub.onMessage('survey.progress', ({ part, done, total }, message) => {
  heardOf(part, message)
  hub.progress({ text: `reader ${part}: ${done} of ${total} files` })
})

function readersOf(asked: unknown): number {
  const count = asked === undefined ? READERS_DEFAULT : Number(asked)
  if (Number.isInteger(count) && count >= READERS_MIN && count <= READERS_MAX) return count
  throw new Error(`params.readers must be a whole number from ${READERS_MIN} to ${READERS_MAX}`)
}

hub.onTask(async ({ inputs, params }) => {
  if (inputs === null) throw new Error('a survey needs a folder: hub submit survey-lead --input DIR')
  const readers = readersOf(params.readers)
  const { files } = await hub.folder(inputs).manifest()
  if (files.length === 0) throw new Error('the folder holds no files')
  const plan = planParts(files, readers)
  hub.progress({ text: `${files.length} files in ${plan.length} parts`, done: 0, total: plan.length })
  const refusals: NonNullable<ReaderResult['refusal']>[] = []
  let done = 0

  async function readPart({ first, end, bytes }: FolderPart, index: number): Promise<PartReport> {
    const part = index + 1
    let fault: string | undefined
    let result: Partial<ReaderResult> = {}
    try {
      const child = await hub.delegate({ agent: READER, inputs, params: { part, first, end } })
      result = (child.value ?? {}) as Partial<ReaderResult>
      if (child.outcome !== 'succeeded') fault = `${child.outcome}: ${child.error ?? 'no reason was given'}`
    } catch (thrown) {
      fault = (thrown as Error).message
    }
    const entry = heard.get(part)
    const findings = entry?.findings ?? emptyFindings()
    if (fault === undefined && (entry?.messages !== result.messages || findings.totals.files !== end - first)) {
      const arrived = `${entry?.messages ?? 0} of ${result.messages} messages arrived`
      fault = `${arrived}, reporting ${findings.totals.files} of ${end - first} files`
    }
    if (result.refusal !== undefined) refusals.push(result.refusal)
    done += 1
    hub.progress({ text: `reader ${part}: ${fault ?? 'done'}`, done, total: plan.length })
    return {
      part,
      session: entry?.session ?? '',
      files: end - first,
      bytes,
      findings,
      ...(fault === undefined ? {} : { fault }),
    }
  }

  const report = joinReport(files, await Promise.all(plan.map(readPart)), refusals)
  await hub.artifact.put('report.json', `${JSON.stringify(report, null, 2)}\n`)
  await hub.artifact.put('report.md', reportText(report))
  const faults = report.readers.filter(({ fault }) => fault !== undefined)
  if (faults.length > 0) throw new Error(`${faults.length} of ${plan.length} parts are incomplete; report.md says why`)
  return { ...report.totals, readers: plan.length }
})
