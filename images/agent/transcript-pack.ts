/**
 * A conversation as bytes: one line of JSON that names the files, then their contents one after the other. Pure. A link, a device or a mode has
 * no word in it, so nothing that is unpacked can be one.
 */
import {
  isTranscriptPath,
  lastOf,
  TRANSCRIPT_BYTES_MAX,
  TRANSCRIPT_FILES_MAX,
  TRANSCRIPT_HEAD_BYTES_MAX,
  TRANSCRIPT_TEXT_CHARS,
} from '../../hub/protocol/transcripts.ts'

export interface TranscriptFile {
  /** Below the home. */
  path: string
  /** When it was changed; by this a CLI finds its newest. */
  mtimeMs: number
  bytes: Buffer
}

export interface Transcript {
  /** Whose it is. */
  task: string
  /** The end of what was said. */
  text: string
  files: TranscriptFile[]
}

const VERSION = 1
const NEWLINE = 0x0a

export function packTranscript({ task, text, files }: Transcript): Buffer {
  const head = {
    version: VERSION,
    task,
    text: lastOf(text),
    files: files.map(({ path, mtimeMs, bytes }) => ({ path, mtimeMs, size: bytes.length })),
  }
  return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), ...files.map(({ bytes }) => bytes)])
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/** The head, if it has its form and is this task's. Throws what is wrong with it. */
function headOf(bytes: Buffer, task: string): { head: Record<string, unknown>; listed: unknown[]; end: number } {
  const end = bytes.subarray(0, TRANSCRIPT_HEAD_BYTES_MAX).indexOf(NEWLINE)
  if (end === -1) throw new Error('it has no list of its files')
  let head: unknown
  try {
    head = JSON.parse(bytes.toString('utf8', 0, end))
  } catch {
    throw new Error('the list of its files cannot be read')
  }
  if (!isRecord(head) || head.version !== VERSION || !Array.isArray(head.files))
    throw new Error('the list of its files has another form')
  if (head.task !== task) throw new Error('it is of another task')
  if (head.files.length > TRANSCRIPT_FILES_MAX) throw new Error(`it holds more than ${TRANSCRIPT_FILES_MAX} files`)
  return { head, listed: head.files, end }
}

/** What was kept of this task. Throws what is wrong with it: then no part of it is used. */
export function readTranscript(bytes: Buffer, task: string): Transcript {
  const { head, listed, end } = headOf(bytes, task)
  const { text } = head
  if (typeof text !== 'string' || !text.isWellFormed() || [...text].length > TRANSCRIPT_TEXT_CHARS)
    throw new Error('the end of its text has another form')
  const files: TranscriptFile[] = []
  const seen = new Set<string>()
  let at = end + 1
  for (const entry of listed) {
    const { path, size, mtimeMs } = isRecord(entry) ? entry : {}
    if (typeof path !== 'string' || !isTranscriptPath(path))
      throw new Error(`it holds a file that is no part of a conversation: ${JSON.stringify(path)?.slice(0, 200)}`)
    if (seen.has(path)) throw new Error(`it holds ${JSON.stringify(path)} twice`)
    if (!isCount(size) || !isCount(mtimeMs)) throw new Error(`it has no size and time of ${JSON.stringify(path)}`)
    if (at + size > bytes.length) throw new Error('it is cut')
    seen.add(path)
    files.push({ path, mtimeMs, bytes: bytes.subarray(at, at + size) })
    at += size
  }
  if (at !== bytes.length) throw new Error('it is longer than its files')
  if (at - end - 1 > TRANSCRIPT_BYTES_MAX) throw new Error(`its files are larger than ${TRANSCRIPT_BYTES_MAX} bytes`)
  return { task, text, files }
}
