/** `hub audit export` and `hub audit verify --file`: the whole log out of the hub, and judged where no hub is (safety.md section 8). */
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, readFileSync } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createGunzip } from 'node:zlib'
import type { AuditRecord } from '../../protocol/audit-chain.ts'
import { createExportJudge, type ExportVerdict, headerLine, linesOf, recordLine } from '../../protocol/audit-export.ts'
import { createSegmentJudge } from '../../protocol/audit-segment.ts'
import { EXIT, usage } from '../problem.ts'
import type { Context, Options, Run } from './context.ts'
import type { Terminal } from './terminal.ts'
import { clean } from './text.ts'

interface ExportPage {
  instance: string
  publicKey: string
  size: number
  head: string
  records: AuditRecord[]
  /** Each as it was signed: canonical text. */
  checkpoints: string[]
  next: number | null
}
const PAGE_MS = 60_000
const LINES_A_WORD = 20_000

/** The lines of an export, page by page; all pages are of the log as it was at the first. */
async function* exportLines({ hub }: Context): AsyncGenerator<string> {
  let upTo: number | undefined
  for (let after: number | null = 0; after !== null; ) {
    const request = { after, ...(upTo === undefined ? {} : { upTo }) }
    const page = (await hub.call('audit.export', request, { deadlineMs: PAGE_MS })) as ExportPage
    if (upTo === undefined) yield headerLine(page)
    upTo = page.size
    const signed = page.checkpoints.map((text) => ({ text, size: (JSON.parse(text) as { size: number }).size }))
    for (const record of page.records) {
      yield recordLine(record)
      while (signed[0] !== undefined && signed[0].size <= record.seq) yield signed.shift()?.text ?? ''
    }
    after = page.next
  }
}

const keyName = (publicKey: string): string => createHash('sha256').update(publicKey).digest('hex').slice(0, 16)

/** Undefined where whoever reads it wanted no more. */
async function writeLines(
  context: Context,
  write: (line: string) => Promise<boolean>,
): Promise<ExportVerdict | undefined> {
  // What is written is judged on the way, so that a broken log is said at once and not when somebody needs the file.
  const judge = createExportJudge({})
  let lines = 0
  for await (const line of exportLines(context)) {
    judge.take(line)
    if (!(await write(`${line}\n`))) return undefined
    lines += 1
    if (lines % LINES_A_WORD === 0) context.terminal.live(`exported ${lines} lines ...`)
  }
  context.terminal.live('')
  return judge.end()
}

async function writeFileWhole(context: Context, out: string): Promise<ExportVerdict | undefined> {
  const draft = `${out}.${randomUUID().slice(0, 8)}.part`
  try {
    let verdict: ExportVerdict | undefined
    {
      await using file: FileHandle = await open(draft, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
        throw usage(`--out: ${out} cannot be written (${error.code})`, 'name a file in a folder of yours')
      })
      verdict = await writeLines(context, async (line) => {
        await file.writeFile(line)
        return true
      })
      await file.sync()
    }
    await rename(draft, out)
    return verdict
  } finally {
    await rm(draft, { force: true })
  }
}

export const auditExport: Run = async (context, _, options) => {
  const { terminal } = context
  if (context.json) throw usage('an export is JSON lines as it is; --json has no meaning here')
  const out = options.out as string | undefined
  // It hashes every record on the way: the hub and its agents come first.
  os.setPriority(os.constants.priority.PRIORITY_LOW)
  const verdict = out === undefined ? await writeLines(context, terminal.bytes) : await writeFileWhole(context, out)
  if (verdict === undefined) return EXIT.done
  const { size, checkpoints, head, fault } = verdict
  terminal.note(`${size} records, ${checkpoints} signed checkpoints, head ${clean(head)}`)
  terminal.note('keep the head elsewhere; the file is judged by `hub audit verify --file FILE --head HEAD`')
  if (fault !== undefined) terminal.note(`it is BROKEN: ${clean(fault.reason)}; see \`hub audit verify\``)
  return fault === undefined ? EXIT.done : EXIT.fault
}

/** The key by which an export is judged: named, else of the home if there is one, else none but its own. */
function expectedKey(home: string, named: unknown): string | undefined {
  try {
    return readFileSync(typeof named === 'string' ? named : path.join(home, 'keys', 'checkpoint.pub'), 'utf8')
  } catch (error) {
    if (named === undefined) return undefined
    throw usage(`--key: ${String(named)} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

/** A sealed month (`audit/2026-11.jsonl.gz` of a home, or one that was kept aside) is known by its name; it begins where the month before ends. */
async function verifyMonth(file: string, head: string | undefined, publicKey: string | undefined) {
  const judge = createSegmentJudge(publicKey === undefined ? {} : { publicKey })
  const source = createReadStream(file)
  const input = createGunzip()
  source.on('error', (error) => input.destroy(error))
  try {
    for await (const line of linesOf(source.pipe(input).setEncoding('utf8') as AsyncIterable<string>))
      if (!judge.take(line)) break
  } finally {
    source.destroy()
    input.destroy()
  }
  const { fault, header, size, head: last, checkpoints } = judge.end()
  const records = header === undefined ? 0 : size - header.first + 1
  const wrongHead = fault === undefined && head !== undefined && !last.startsWith(head)
  return {
    ...{ size: records, head: last, checkpoints, instance: header?.instance ?? '', publicKey: header?.publicKey ?? '' },
    fault: wrongHead ? { line: 0, reason: `the head ${head} is not the one it ends with` } : fault,
  }
}

async function verifyExport(file: string, head: string | undefined, publicKey: string | undefined) {
  const judge = createExportJudge({ ...(publicKey === undefined ? {} : { publicKey }), ...(head && { head }) })
  const input = createReadStream(file, 'utf8')
  try {
    for await (const line of linesOf(input)) if (!judge.take(line)) break
  } finally {
    input.destroy()
  }
  return judge.end()
}

/** Exit 0 only for a whole file. */
export async function auditVerifyFile(home: string, options: Options, terminal: Terminal): Promise<number> {
  const file = String(options.file)
  const head = options.head as string | undefined
  if (head !== undefined && !/^[0-9a-f]{16,64}$/.test(head))
    throw usage('--head: 16 to 64 hex characters of a head of the log are needed, as `hub status` shows them')
  const publicKey = expectedKey(home, options.key)
  const found = await (/\.gz(\.before-\d+)?$/.test(file) ? verifyMonth : verifyExport)(file, head, publicKey).catch(
    (error: NodeJS.ErrnoException) => {
      throw usage(`--file: ${file} cannot be read (${error.code})`)
    },
  )
  const { fault, ...verdict } = found
  const keyKnown = publicKey !== undefined
  if (options.json === true) terminal.json({ ok: fault === undefined, ...verdict, keyKnown, fault: fault ?? null })
  else if (fault !== undefined)
    terminal.out(`${terminal.paint('red', 'BROKEN')}: line ${fault.line}: ${clean(fault.reason)}`)
  else {
    const { size, checkpoints } = verdict
    terminal.out(`${terminal.paint('green', 'whole')}: ${size} records, ${checkpoints} signed checkpoints`)
    terminal.out(`head ${clean(verdict.head)}\nhub ${clean(verdict.instance)}, key ${keyName(verdict.publicKey)}`)
    if (!keyKnown) terminal.note('the key is the one in the file: give --key, or compare it with one kept elsewhere')
    if (head === undefined) terminal.note('what was cut off its end shows only beside a head kept elsewhere: --head')
  }
  return fault === undefined ? EXIT.done : EXIT.fault
}
