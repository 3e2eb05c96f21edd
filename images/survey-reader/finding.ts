/** What a reader reports and a lead joins: types only. */

export interface LanguageRow {
  language: string
  files: number
  bytes: number
  /** Newline bytes, as `wc -l` counts them. */
  lines: number
}
export interface NoteRow {
  path: string
  line: number
  kind: string
  text: string
}
export interface SecretRow {
  path: string
  line: number
  rule: string
  /** The first characters and the length; never the whole. */
  masked: string
}
export interface ModeRow {
  path: string
  mode: string
  why: string
}
export interface LargeRow {
  path: string
  bytes: number
  lines: number
}
export interface TotalsRow {
  files: number
  bytes: number
  lines: number
  binaryFiles: number
  /** Lines of which only the beginning was searched. */
  longLines: number
  /** Everything found, also what passed the limit of rows to report. */
  notes: number
  secrets: number
  modes: number
}

export interface Findings {
  totals: TotalsRow
  languages: LanguageRow[]
  notes: NoteRow[]
  secrets: SecretRow[]
  modes: ModeRow[]
  largest: LargeRow[]
}
export type FindingKind = keyof Findings

/** The body of one `survey.finding`: some rows of one kind. */
export interface FindingBody {
  part: number
  kind: FindingKind
  items: unknown[]
}

/** What a reader returns; the lead compares it with what arrived. */
export interface ReaderResult {
  part: number
  messages: number
  /** The answer to the message a reader may not send. */
  refusal?: { to: string; type: string; code: string; detail: string }
}
