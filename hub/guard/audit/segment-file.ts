/**
 * The file of a sealed month: gzip members in a row. The first holds the header, then one for each 250 records, the last one decisions and
 * seal. The database keeps where each begins, so that any record is found by one short read; `zcat` reads the whole.
 *
 * F1. Written beside its name, synced, judged, renamed, its folder synced: a file of that name is whole (a file named `.part` is
 *     removed).
 */
import { closeSync, createReadStream, existsSync, openSync, readSync, renameSync, rmSync, statSync } from 'node:fs'
import { mkdir, open, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { createGunzip, gunzipSync, gzip } from 'node:zlib'
import { diskProblem } from '../../base/disk-words.ts'
import { syncFolder } from '../../base/whole-file.ts'
import { linesOf } from '../../protocol/audit-export.ts'
import { createSegmentJudge, type SegmentVerdict } from '../../protocol/audit-segment.ts'

export const BLOCK_RECORDS = 250
/** Even a block of the longest lines stays far below this. */
const BLOCK_BYTES_MAX = 256 * 1024 ** 2
const OFFSET_BYTES = 8
const zip = promisify(gzip)

export const segmentPath = (home: string, name: string): string => join(home, 'audit', `${name}.jsonl.gz`)

/** Writes the file from its blocks; answers its length, where each block begins and what `judge` found. On any fault nothing of it is left. */
export async function writeSegment<Found>(
  path: string,
  blocks: AsyncIterable<readonly string[]>,
  /** Reads the draft back; throws if it may not have its name. */
  judge: (draft: string) => Promise<Found>,
): Promise<{ bytes: number; blocks: Buffer; found: Found }> {
  const draft = `${path}.part`
  const folder = dirname(path)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  rmSync(draft, { force: true })
  try {
    const offsets: number[] = []
    let bytes = 0
    {
      await using file = await open(draft, 'wx', 0o600)
      for await (const lines of blocks) {
        const packed = await zip(`${lines.join('\n')}\n`)
        offsets.push(bytes)
        await file.writeFile(packed)
        bytes += packed.length
      }
      await file.sync()
    }
    const found = await judge(draft)
    await rename(draft, path)
    // The folder may be new itself.
    for (const each of [folder, dirname(folder)]) syncFolder(each)
    const kept = Buffer.alloc(offsets.length * OFFSET_BYTES)
    for (const [at, offset] of offsets.entries()) kept.writeDoubleLE(offset, at * OFFSET_BYTES)
    return { bytes, blocks: kept, found }
  } catch (thrown) {
    rmSync(draft, { force: true })
    throw diskProblem(thrown, path)
  }
}

/** Reads the whole file back and judges it, with turns for other work. Throws what the file system or gzip throws. */
export async function judgeSegment(
  path: string,
  expected: { publicKey: string },
  turn: () => Promise<void>,
  onRecords: (size: number) => void = () => undefined,
): Promise<SegmentVerdict> {
  const judge = createSegmentJudge(expected)
  const source = createReadStream(path)
  const input = createGunzip()
  source.on('error', (error) => input.destroy(error))
  source.pipe(input).setEncoding('utf8')
  try {
    let taken = 0
    for await (const line of linesOf(input as AsyncIterable<string>)) {
      if (!judge.take(line)) break
      // A signature costs as much as some thirty hashes.
      taken += line.includes('"signature"') ? 30 : 1
      if (taken < 250) continue
      taken = 0
      onRecords(judge.size())
      await turn()
    }
  } finally {
    source.destroy()
    input.destroy()
  }
  return judge.end()
}

/** The lines of one gzip member. Not of the last one, the seal. */
function readMember(path: string, blocks: Buffer, at: number): string[] {
  const offset = (index: number) => blocks.readDoubleLE(index * OFFSET_BYTES)
  const [from, to] = [offset(at), offset(at + 1)]
  const packed = Buffer.alloc(to - from)
  const file = openSync(path, 'r')
  try {
    for (let read = 0; read < packed.length; ) {
      const more = readSync(file, packed, read, packed.length - read, from + read)
      if (more === 0) throw new Error(`${path} ends too early`)
      read += more
    }
  } finally {
    closeSync(file)
  }
  return gunzipSync(packed, { maxOutputLength: BLOCK_BYTES_MAX }).toString('utf8').trimEnd().split('\n')
}

/** The lines of the block this record is in: records, and behind each that was signed its checkpoint. */
export const readBlock = (path: string, first: number, blocks: Buffer, seq: number): string[] =>
  // The first member is the header.
  readMember(path, blocks, 1 + Math.floor((seq - first) / BLOCK_RECORDS))

/** The decision of this id, as the file keeps it; undefined if it is not among those last named in that month. They are in the order of their ids. */
export function readDecision(
  path: string,
  { first, last, blocks }: { first: number; last: number; blocks: Buffer },
  id: string,
): Record<string, unknown> | undefined {
  // Behind the header and the records, before the seal.
  let from = 1 + Math.ceil((last - first + 1) / BLOCK_RECORDS)
  let to = blocks.length / OFFSET_BYTES - 1
  while (from < to) {
    const middle = Math.floor((from + to) / 2)
    const found = readMember(path, blocks, middle).map(
      (line) => (JSON.parse(line) as { decision: Record<string, unknown> }).decision,
    )
    if (String(found.at(-1)?.decision_id) < id) from = middle + 1
    else if (String(found[0]?.decision_id) > id) to = middle
    else return found.find(({ decision_id }) => decision_id === id)
  }
  return undefined
}

/** Moves the file to a name beside it that nothing has yet, and answers that; on disk when it returns. */
export function keepAside(path: string, nowMs: number): string {
  let aside = `${path}.before-${nowMs}`
  for (let at = 1; existsSync(aside); at += 1) aside = `${path}.before-${nowMs + at}`
  renameSync(path, aside)
  syncFolder(dirname(path))
  return aside
}

/** Its length, or undefined if there is none. */
export const segmentBytes = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.size
