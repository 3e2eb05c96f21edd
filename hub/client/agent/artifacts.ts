/** Artifacts and folders as an agent reads and writes them: named by SHA-256, read whole or by range, never all in memory. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { HubError } from '../../base/errors.ts'
import type { DataClass } from '../../protocol/data-class.ts'
import type { FolderRef } from '../../protocol/envelope.ts'
import { checkManifest, type FolderEntry, type FolderManifest, MANIFEST_BYTES_MAX } from '../../protocol/folder.ts'
import { TRANSCRIPT_BYTES_MAX, TRANSCRIPT_HEAD_BYTES_MAX } from '../../protocol/transcripts.ts'
import type { ArtifactRow } from './contract.ts'
import type { Transport } from './transport.ts'

export interface Artifacts {
  /**
   * Stores bytes, a text, or a file (streamed) under a name of this task. The same content again is the same artifact. `unfinished` keeps it for
   * the case that this session is lost: it is marked, the next of its name takes its place, and a success takes it away.
   */
  put(
    name: string,
    content: Uint8Array | string | { file: string },
    options?: { dataClass?: DataClass | undefined; unfinished?: boolean },
  ): Promise<ArtifactRow>
  /** Bytes `start` up to, not including, `end`; all of it without them. Throws `too_large` above `bytesMax` (16 MiB). */
  get(sha256: string, range?: { start?: number; end?: number; bytesMax?: number }): Promise<Buffer>
  list(): Promise<ArtifactRow[]>
  /** The conversation of this task, where the card says `transcripts: true`. For the shim. */
  readonly transcript: Transcript
}

export interface Transcript {
  /** Keeps it for the next start of this task, in the place of what was kept before. `leftOut`: files beside it that are no conversation. */
  put(content: Buffer, leftOut?: number): Promise<void>
  /** What is kept for this start, whole. Throws `artifact_corrupt`, `unknown_artifact`. */
  get(): Promise<Buffer>
}

export interface FileContent {
  entry: FolderEntry
  /** To be read to its end before the next file is asked for; what is left is skipped. */
  chunks: AsyncIterable<Buffer>
}

export interface Folder {
  /** The files, checked (protocol/folder.ts); fetched once. */
  manifest(): Promise<FolderManifest>
  /** One file's bytes, or `start` up to `end` of them. Throws `too_large` above 16 MiB: read ranges, or `files`. */
  read(entry: FolderEntry, range?: { start?: number; end?: number }): Promise<Buffer>
  /**
   * Files `first` up to `end` in order, one after the other, in windows of a few MiB by range request.
   * Each file read to its end is checked against its digest: `conflict` if the pack does not hold what the manifest says.
   */
  files(first?: number, end?: number): AsyncGenerator<FileContent>
}

const GET_BYTES_MAX = 16 * 1024 ** 2
const WINDOW_BYTES = 4 * 1024 ** 2

const createTranscript = (transport: Transport): Transcript => ({
  async put(content, leftOut = 0) {
    const sha256 = createHash('sha256').update(content).digest('hex')
    await transport.call({
      method: 'PUT',
      path: `/v1/transcript/${sha256}${leftOut === 0 ? '' : `?leftOut=${leftOut}`}`,
      body: content,
      contentType: 'application/octet-stream',
      patient: true,
    })
  },
  get: () =>
    transport.call({
      method: 'GET',
      path: '/v1/transcript',
      answerBytesMax: TRANSCRIPT_BYTES_MAX + TRANSCRIPT_HEAD_BYTES_MAX,
    }),
})

export function createArtifacts(transport: Transport): Artifacts {
  return {
    async put(name, content, { dataClass, unfinished = false } = {}) {
      const source = typeof content === 'object' && 'file' in content ? await digestFile(content.file) : undefined
      const bytes = Buffer.from(source === undefined ? (content as Uint8Array) : '')
      const sha256 = source?.sha256 ?? createHash('sha256').update(bytes).digest('hex')
      const answer = await transport.call({
        method: 'PUT',
        path: `/v1/artifacts/${sha256}?name=${encodeURIComponent(name)}${dataClass === undefined ? '' : `&dataClass=${dataClass}`}${unfinished ? '&unfinished=true' : ''}`,
        body: source ?? bytes,
        contentType: 'application/octet-stream',
        patient: true,
      })
      return JSON.parse(answer.toString()) as ArtifactRow
    },
    async get(sha256, { start = 0, end, bytesMax = GET_BYTES_MAX } = {}) {
      if (end !== undefined && end <= start) return Buffer.alloc(0)
      return await transport.call({
        method: 'GET',
        path: `/v1/artifacts/${sha256}`,
        answerBytesMax: bytesMax,
        ...(start === 0 && end === undefined ? {} : { range: { start, last: (end ?? start + bytesMax) - 1 } }),
      })
    },
    async list() {
      const body = await transport.call({ method: 'GET', path: '/v1/artifacts' })
      return (JSON.parse(body.toString()) as { artifacts: ArtifactRow[] }).artifacts
    },
    transcript: createTranscript(transport),
  }
}

async function digestFile(file: string): Promise<{ file: string; size: number; sha256: string }> {
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    hash.update(chunk)
    size += chunk.length
  }
  return { file, size, sha256: hash.digest('hex') }
}

export function createFolder(artifacts: Pick<Artifacts, 'get'>, inputs: FolderRef, windowBytes = WINDOW_BYTES): Folder {
  let loading: Promise<FolderManifest> | undefined

  async function load(): Promise<FolderManifest> {
    const bytes = await artifacts.get(inputs.manifest, { bytesMax: MANIFEST_BYTES_MAX })
    return checkManifest(JSON.parse(bytes.toString()))
  }
  const manifest = () => {
    loading ??= load()
    return loading
  }

  async function* files(first = 0, end?: number): AsyncGenerator<FileContent> {
    const part = (await manifest()).files.slice(first, end)
    const last = part.at(-1)
    const partEnd = last === undefined ? 0 : last.offset + last.size
    let window: Buffer = Buffer.alloc(0)
    let windowStart = 0

    async function* chunksOf(entry: FolderEntry): AsyncGenerator<Buffer> {
      const hash = createHash('sha256')
      for (let at = entry.offset; at < entry.offset + entry.size; ) {
        if (at < windowStart || at >= windowStart + window.length) {
          windowStart = at
          window = await artifacts.get(inputs.pack, { start: at, end: Math.min(at + windowBytes, partEnd) })
          if (window.length === 0) throw new HubError('conflict', 'the pack is shorter than its manifest says')
        }
        const chunk = window.subarray(at - windowStart, entry.offset + entry.size - windowStart)
        hash.update(chunk)
        at += chunk.length
        yield chunk
      }
      if (hash.digest('hex') !== entry.sha256) {
        throw new HubError('conflict', `${entry.path}: the pack does not hold what its manifest says`)
      }
    }
    for (const entry of part) yield { entry, chunks: chunksOf(entry) }
  }

  return {
    manifest,
    read: ({ offset, size }, { start = 0, end = size } = {}) =>
      artifacts.get(inputs.pack, { start: offset + start, end: offset + Math.min(end, size) }),
    files,
  }
}
