/** `hub audit export` writes the whole log to a file; `hub audit verify --file` checks such a file without a hub (docs/safety.md 8). */
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, readFileSync } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createGunzip } from 'node:zlib'
import {
  createExportJudge,
  type ExportVerdict,
  eventLines,
  headerLine,
  linesOf,
} from '../../../protocol/audit-export.ts'
import { createSegmentJudge } from '../../../protocol/audit-segment.ts'
import type { Answered } from '../../answers.ts'
import { EXIT, usage } from '../../problem.ts'
import type { Alone } from '../command.ts'
import type { Context, Run } from '../context.ts'
import { clean, countOf } from '../text.ts'

const PAGE_MS = 60_000
const LINES_PER_NOTE = 20_000

/** The lines of an export, page by page; all pages are of the log as it was at the first. */
async function* exportLines({ hub }: Context): AsyncGenerator<string> {
  let upTo: number | undefined
  for (let after: number | null = 0; after !== null; ) {
    const request = { after, ...(upTo === undefined ? {} : { upTo }) }
    const page: Answered<'audit.export'> = await hub.call('audit.export', request, { deadlineMs: PAGE_MS })
    if (upTo === undefined) yield headerLine(page)
    upTo = page.size
    yield* eventLines(page.instance, page.records, page.checkpoints)
    after = page.next
  }
}

const keyName = (publicKey: string): string => createHash('sha256').update(publicKey).digest('hex').slice(0, 16)

/** Undefined if the reader closed the pipe. */
async function writeLines(
  context: Context,
  write: (line: string) => Promise<boolean>,
): Promise<ExportVerdict | undefined> {
  // Checks each line as it is written, so that a broken log is reported now and not when somebody needs the file.
  const judge = createExportJudge({})
  let lines = 0
  for await (const line of exportLines(context)) {
    judge.take(line)
    if (!(await write(`${line}\n`))) return undefined
    lines += 1
    if (lines % LINES_PER_NOTE === 0) context.terminal.live(`exported ${lines} lines ...`)
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
        throw usage(`--out: ${out} cannot be written (${error.code})`, 'name a file in a folder that you can write')
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
  if (context.json) throw usage('an export is always JSON lines; leave out --json')
  const out = options.out as string | undefined
  // It hashes every record; the hub and its agents get the processor first.
  os.setPriority(os.constants.priority.PRIORITY_LOW)
  const verdict = out === undefined ? await writeLines(context, terminal.bytes) : await writeFileWhole(context, out)
  if (verdict === undefined) return EXIT.done
  const { size, checkpoints, head, fault } = verdict
  terminal.note(`${countOf(size, 'record')}, ${countOf(checkpoints, 'signed checkpoint')}, head ${clean(head)}`)
  terminal.note('keep the head elsewhere; check the file with `hub audit verify --file FILE --head HEAD`')
  if (fault !== undefined) terminal.note(`the log is BROKEN: ${clean(fault.reason)}; see \`hub audit verify\``)
  return fault === undefined ? EXIT.done : EXIT.fault
}

/** The key to check an export with: the named one, else that of the home; undefined: the one in the export. */
function expectedKey(home: string, named: unknown): string | undefined {
  try {
    return readFileSync(typeof named === 'string' ? named : path.join(home, 'keys', 'checkpoint.pub'), 'utf8')
  } catch (error) {
    if (named === undefined) return undefined
    throw usage(`--key: ${String(named)} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

/** Checks a sealed month (`audit/2026-11.jsonl.gz` of a home, or a copy kept aside). It begins where the month before ends. */
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
    fault: wrongHead ? { line: 0, reason: `the file does not end with the head ${head}` } : fault,
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
export const auditVerifyFile: Alone = async ({ home, json, terminal }, _args, options) => {
  const file = String(options.file)
  const head = options.head as string | undefined
  if (head !== undefined && !/^[0-9a-f]{16,64}$/.test(head))
    throw usage('--head must be 16 to 64 hex characters of a head, as `hub status` shows it')
  const publicKey = expectedKey(home, options.key)
  const found = await (/\.gz(\.before-\d+)?$/.test(file) ? verifyMonth : verifyExport)(file, head, publicKey).catch(
    (error: NodeJS.ErrnoException) => {
      throw usage(`--file: ${file} cannot be read (${error.code})`)
    },
  )
  const { fault, ...verdict } = found
  const keyKnown = publicKey !== undefined
  if (json) terminal.json({ ok: fault === undefined, ...verdict, keyKnown, fault: fault ?? null })
  else if (fault !== undefined)
    terminal.out(`${terminal.paint('red', 'BROKEN')}: line ${fault.line}: ${clean(fault.reason)}`)
  else {
    const { size, checkpoints } = verdict
    terminal.out(
      `${terminal.paint('green', 'whole')}: ${countOf(size, 'record')}, ${countOf(checkpoints, 'signed checkpoint')}`,
    )
    terminal.out(`head ${clean(verdict.head)}\nhub ${clean(verdict.instance)}, key ${keyName(verdict.publicKey)}`)
    if (!keyKnown)
      terminal.note('the key was taken from the file itself: give --key, or compare it with a copy kept elsewhere')
    if (head === undefined)
      terminal.note('only a head that you kept elsewhere shows whether the end was cut off: give it with --head')
  }
  return fault === undefined ? EXIT.done : EXIT.fault
}
