/**
 * The analysis of a part of a tree, file by file and chunk by chunk, in bounded memory. Pure: bytes in, findings out.
 *
 * 1. A line is a newline byte, exactly as `wc -l` counts, in every file. Binary files (a NUL in the first 8 000 bytes, as git has it)
 *    have their own row and are counted the same way, but not searched.
 * 2. Of each line the first 16 KiB are searched; longer ones are counted.
 * 3. No secret leaves whole: not as a finding, and not inside the text of a note.
 */
import type { Findings, LanguageRow } from './finding.ts'
import { languageOf } from './languages.ts'
import { findSecrets } from './secrets.ts'

export interface FileFacts {
  path: string
  mode: number
  size: number
}

export interface FileAnalysis {
  push(chunk: Uint8Array): void
  /** To be called once after the last chunk. */
  end(): void
}

export interface Analysis {
  file(facts: FileFacts): FileAnalysis
  findings(): Findings
}

const LINE_CHARS_MAX = 16 * 1024
const ROWS_MAX = 2_000
const LARGEST = 10
/** The hub takes at most 4 096 keys in one message. */
const CHUNK_ROWS_MAX = 500
const HEAD_BYTES = 8_000
/** How much is decoded at once: small, so that the lines of a large chunk are not all in memory together. */
const SLICE_BYTES = 64 * 1024
const NOTE = /\b(TODO|FIXME)\b(.{0,200})/
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it removes, from text that will reach a terminal
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g

/** Why a mode is risky, or undefined. `head` decides whether an executable file is a program. */
export function judgeMode(mode: number, head: Uint8Array): string | undefined {
  if ((mode & 0o4000) !== 0) return 'setuid: runs with its owner’s rights'
  if ((mode & 0o2000) !== 0) return 'setgid: runs with its group’s rights'
  if ((mode & 0o002) !== 0) return 'anyone may write to it'
  const isProgram = Buffer.from(head.subarray(0, 4)).toString('latin1')
  if ((mode & 0o111) !== 0 && !isProgram.startsWith('#!') && isProgram !== '\x7fELF') {
    return 'executable, but neither a script nor a program'
  }
  return undefined
}

export function createAnalysis(): Analysis {
  const found: Findings = {
    totals: { files: 0, bytes: 0, lines: 0, binaryFiles: 0, longLines: 0, notes: 0, secrets: 0, modes: 0 },
    languages: [],
    notes: [],
    secrets: [],
    modes: [],
    largest: [],
  }
  const languages = new Map<string, LanguageRow>()

  function add<Kind extends 'notes' | 'secrets' | 'modes'>(kind: Kind, row: Findings[Kind][number]): void {
    found.totals[kind] += 1
    if (found[kind].length < ROWS_MAX) (found[kind] as (typeof row)[]).push(row)
  }

  function searchLine(path: string, line: number, whole: string): void {
    const text = whole.length > LINE_CHARS_MAX ? whole.slice(0, LINE_CHARS_MAX) : whole
    if (text.length < whole.length) found.totals.longLines += 1
    const suspects = findSecrets(text)
    for (const { rule, masked } of suspects) add('secrets', { path, line, rule, masked })
    if (!text.includes('TODO') && !text.includes('FIXME')) return
    const shown = suspects.reduce((sum, { value, masked }) => sum.replaceAll(value, masked), text)
    const note = NOTE.exec(shown)
    if (note === null) return
    add('notes', {
      path,
      line,
      kind: note[1] ?? '',
      text: `${note[1]}${note[2]}`.replace(UNSAFE, ' ').trim().slice(0, 160),
    })
  }

  function count(path: string, language: string, bytes: number, lines: number): void {
    const row = languages.get(language) ?? { language, files: 0, bytes: 0, lines: 0 }
    languages.set(language, { language, files: row.files + 1, bytes: row.bytes + bytes, lines: row.lines + lines })
    found.totals.files += 1
    found.totals.bytes += bytes
    found.totals.lines += lines
    found.largest.push({ path, bytes, lines })
    found.largest.sort((a, b) => b.bytes - a.bytes || (a.path < b.path ? -1 : 1))
    found.largest.length = Math.min(found.largest.length, LARGEST)
  }

  return {
    file({ path, mode }) {
      const decoder = new TextDecoder()
      let head = Buffer.alloc(0)
      let carry = ''
      let bytes = 0
      let lines = 0
      let isBinary: boolean | undefined
      // Kept until the head is complete: a NUL may come in its second chunk.
      let waiting: Uint8Array[] = []

      function search(chunk: Uint8Array): void {
        const parts = decoder.decode(chunk, { stream: true }).split('\n')
        // Of an unfinished line only what will be searched is kept.
        const rest = parts.pop() ?? ''
        for (const part of parts) {
          lines += 1
          searchLine(path, lines, carry + part)
          carry = ''
        }
        if (carry.length <= LINE_CHARS_MAX) carry += rest.slice(0, LINE_CHARS_MAX + 1)
      }
      function settleHead(): void {
        isBinary = head.includes(0)
        for (const chunk of waiting) take(chunk)
        waiting = []
      }
      function take(chunk: Uint8Array): void {
        if (!isBinary)
          for (let at = 0; at < chunk.length; at += SLICE_BYTES) search(chunk.subarray(at, at + SLICE_BYTES))
        else for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) lines += 1
      }
      return {
        push(chunk) {
          bytes += chunk.length
          if (isBinary !== undefined) {
            take(chunk)
            return
          }
          head = Buffer.concat([head, chunk.subarray(0, HEAD_BYTES - head.length)])
          waiting.push(chunk)
          if (head.length >= HEAD_BYTES) settleHead()
        },
        end() {
          if (isBinary === undefined) settleHead()
          if (carry !== '') searchLine(path, lines + 1, carry)
          if (isBinary) found.totals.binaryFiles += 1
          count(path, isBinary ? 'Binary' : languageOf(path, head.toString('latin1')), bytes, lines)
          const why = judgeMode(mode, head)
          if (why !== undefined) add('modes', { path, mode: mode.toString(8).padStart(4, '0'), why })
        },
      }
    },
    findings: () => ({ ...found, languages: [...languages.values()].sort((a, b) => b.lines - a.lines) }),
  }
}

/** The findings as message bodies' rows: each chunk's JSON stays under `bytesMax`, so that its message passes the hub. */
export function chunkFindings(findings: Findings, bytesMax = 48 * 1024): { kind: keyof Findings; items: unknown[] }[] {
  const chunks: { kind: keyof Findings; items: unknown[] }[] = []
  for (const kind of ['languages', 'notes', 'secrets', 'modes', 'largest'] as const) {
    let items: unknown[] = []
    let bytes = 0
    for (const row of findings[kind]) {
      const rowBytes = Buffer.byteLength(JSON.stringify(row)) + 1
      if (items.length === CHUNK_ROWS_MAX || (items.length > 0 && bytes + rowBytes > bytesMax)) {
        chunks.push({ kind, items })
        items = []
        bytes = 0
      }
      items.push(row)
      bytes += rowBytes
    }
    if (items.length > 0) chunks.push({ kind, items })
  }
  return [...chunks, { kind: 'totals', items: [findings.totals] }]
}
