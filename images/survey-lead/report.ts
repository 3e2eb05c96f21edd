/** Joins what the readers reported into one report, as JSON and as text. Pure; what comes from files was cleaned by the readers. */
import type { FolderEntry } from '../../hub/protocol/folder.ts'
import type { Findings, LanguageRow, ReaderResult, TotalsRow } from '../survey-reader/finding.ts'

export interface PartReport {
  part: number
  session: string
  files: number
  bytes: number
  /** Why this part is missing or incomplete; absent when all of it arrived. */
  fault?: string
  findings: Findings
}

export interface Report extends Findings {
  version: 1
  /** Identical contents under several names, most copies first. */
  repeated: { sha256: string; copies: number; bytes: number; paths: string[] }[]
  readers: { part: number; session: string; files: number; bytes: number; fault?: string }[]
  /** Messages the hub refused, as the readers saw it. */
  refusals: NonNullable<ReaderResult['refusal']>[]
}

const LISTED = 10
const SHOWN = 40

export const emptyFindings = (): Findings => ({
  totals: { files: 0, bytes: 0, lines: 0, binaryFiles: 0, longLines: 0, notes: 0, secrets: 0, modes: 0 },
  languages: [],
  notes: [],
  secrets: [],
  modes: [],
  largest: [],
})

/** Findings of several parts as one; counts are summed, rows keep the order of the parts. */
export function joinReport(
  files: readonly FolderEntry[],
  parts: readonly PartReport[],
  refusals: Report['refusals'],
): Report {
  const all = parts.map(({ findings }) => findings)
  const totals = emptyFindings().totals
  for (const key of Object.keys(totals) as (keyof TotalsRow)[]) {
    totals[key] = all.reduce((sum, each) => sum + each.totals[key], 0)
  }
  return {
    version: 1,
    totals,
    languages: joinLanguages(all.flatMap(({ languages }) => languages)),
    notes: all.flatMap(({ notes }) => notes),
    secrets: all.flatMap(({ secrets }) => secrets),
    modes: all.flatMap(({ modes }) => modes),
    largest: all
      .flatMap(({ largest }) => largest)
      .sort((a, b) => b.bytes - a.bytes || (a.path < b.path ? -1 : 1))
      .slice(0, LISTED),
    repeated: findRepeated(files),
    readers: parts.map(({ findings: _, ...rest }) => rest),
    refusals,
  }
}

function joinLanguages(rows: readonly LanguageRow[]): LanguageRow[] {
  const joined = new Map<string, LanguageRow>()
  for (const row of rows) {
    const sum = joined.get(row.language) ?? { language: row.language, files: 0, bytes: 0, lines: 0 }
    const { files, bytes, lines } = row
    joined.set(row.language, { ...sum, files: sum.files + files, bytes: sum.bytes + bytes, lines: sum.lines + lines })
  }
  return [...joined.values()].sort((a, b) => b.lines - a.lines || (a.language < b.language ? -1 : 1))
}

/** Files with the same content; empty files say nothing and are left out. */
function findRepeated(files: readonly FolderEntry[]): Report['repeated'] {
  const bySha = new Map<string, FolderEntry[]>()
  for (const file of files) {
    if (file.size > 0) bySha.set(file.sha256, [...(bySha.get(file.sha256) ?? []), file])
  }
  return [...bySha.entries()]
    .filter(([, same]) => same.length > 1)
    .map(([sha256, same]) => ({
      sha256,
      copies: same.length,
      bytes: same[0]?.size ?? 0,
      paths: same.slice(0, LISTED).map(({ path }) => path),
    }))
    .sort((a, b) => b.copies - a.copies || b.bytes - a.bytes || (a.sha256 < b.sha256 ? -1 : 1))
    .slice(0, LISTED)
}

/** A path or text as code in a table: what would break out of it is replaced. */
const code = (text: string) => `\`${text.replaceAll('`', "'").replaceAll('|', '¦')}\``
const table = (head: string[], rows: (string | number)[][]) =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')

function section(title: string, total: number, head: string[], rows: (string | number)[][]): string {
  const listed = total > rows.length ? `\n\n${total - rows.length} more are not listed here; report.json has more.` : ''
  return rows.length === 0 ? `## ${title}\n\nNone.` : `## ${title} (${total})\n\n${table(head, rows)}${listed}`
}

/** The report as markdown, for people. */
export function reportText(report: Report): string {
  const { totals, readers, refusals } = report
  const faults = readers.filter(({ fault }) => fault !== undefined)
  const place = ({ path, line }: { path: string; line: number }) => code(`${path}:${line}`)
  return `${[
    '# Survey',
    `${totals.files} files, ${totals.lines} lines, ${totals.bytes} bytes, read by ${readers.length} readers in separate containers.`,
    `${totals.secrets} strings look like secrets, ${totals.notes} notes to do, ${totals.modes} risky file modes.`,
    ...faults.map(({ part, fault }) => `**Incomplete**: part ${part}: ${fault}.`),
    `Lines are newline bytes, as \`wc -l\` counts them, in every file. ${totals.binaryFiles} binary files (a NUL in the first 8000 bytes) have their own row and are not searched.`,
    `## Languages\n\n${table(
      ['Language', 'Files', 'Lines', 'Bytes'],
      report.languages.map((row) => [row.language, row.files, row.lines, row.bytes]),
    )}`,
    section(
      'Strings that look like secrets',
      totals.secrets,
      ['Place', 'Looks like', 'Value'],
      report.secrets.slice(0, SHOWN).map((row) => [place(row), row.rule, code(row.masked)]),
    ),
    section(
      'Notes to do',
      totals.notes,
      ['Place', 'Text'],
      report.notes.slice(0, SHOWN).map((row) => [place(row), code(row.text)]),
    ),
    section(
      'Risky file modes',
      totals.modes,
      ['File', 'Mode', 'Why'],
      report.modes.slice(0, SHOWN).map((row) => [code(row.path), row.mode, row.why]),
    ),
    section(
      'Largest files',
      report.largest.length,
      ['File', 'Bytes', 'Lines'],
      report.largest.map((row) => [code(row.path), row.bytes, row.lines]),
    ),
    section(
      'Most repeated files',
      report.repeated.length,
      ['Copies', 'Bytes each', 'Files'],
      report.repeated.map((row) => [row.copies, row.bytes, row.paths.map(code).join(' ')]),
    ),
    `## How it was made\n\n${table(
      ['Reader', 'Session', 'Files', 'Bytes'],
      readers.map((row) => [row.part, row.session || 'none', row.files, row.bytes]),
    )}`,
    ...refusals.map(
      ({ to, type, code: why }) =>
        `A reader tried to send ${type} to ${to}; the hub answered ${why}, and the audit log has the reason.`,
    ),
  ].join('\n\n')}\n`
}
