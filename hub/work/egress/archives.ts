/**
 * Archives of registries that were fetched once, for all agents that may read that upstream (docs/egress.md 1). Owns the folder `cache/archives` of the home.
 *
 * K1. Only a whole archive with the digest that a page of its own upstream named is kept. Nothing that was cut, differs, or held a secret ever is.
 * K2. Each read checks the digest of the whole file before a byte of it goes on; a file that differs is deleted, and the upstream is asked.
 * K3. An archive belongs to one upstream as it is declared: its name, its addresses and its secret. Under another key nothing of it is found.
 * K4. The name of a file says what it is and its digest, so the folder is its own index. What was not used for longest goes first.
 * K5. It is never in the way: on a full disk, a slow one, or one that fails, the agent gets what the upstream sends.
 * K6. What is still coming in counts: all of it together may have a quarter of the whole beside what is kept, and what goes beyond that is not kept.
 * K7. The folder may be a link to a larger disk. So nothing in it is touched whose name was not given here, and no link in it is followed.
 */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, lstat, mkdir, open, readdir, rename, rm, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import type { Upstream } from '../../protocol/egress/upstreams.ts'
import type { Digest, NamedArchive } from './wire/archive-digests.ts'
import type { JudgedHead } from './wire/judged.ts'

const NAMED_MAX = 40_000
const PIECE_BYTES = 256 * 1024
/** Of a download whose disk is slower than its line: more than this is not held back for it. */
const WAITING_BYTES_MAX = 4 * 1024 ** 2
/** One archive may have this part of the whole cache. */
const PART_OF_ALL = 4
/** Nothing that was put in the place of an archive is followed or waited for. */
const AS_A_FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
/** One that is still coming in. */
const HALF_MADE = /^\d+-\d+\.part$/
const FILE = /^([0-9a-f]{32})-(sha512|sha256)-([0-9a-f]{64}|[0-9a-f]{128})$/

export interface FoundArchive {
  bytes: number
  /** Hands out each piece; the next comes when the promise of `take` has settled. */
  read(take: (piece: Buffer) => Promise<void> | undefined): Promise<void>
  /** It must not be given out again. */
  drop(): Promise<void>
  close(): Promise<void>
}

export type KeptHow = 'kept' | 'differs' | 'not kept'

/** Takes a download in beside its way to the agent. */
export interface ArchiveKeeper {
  /** Copies what it needs. */
  take(piece: Buffer): void
  /** `isWhole`: it came to its end, and no secret was in it. Called exactly once. */
  end(isWhole: boolean): Promise<KeptHow>
}

export interface Archives {
  /** A page of this upstream names these. */
  named(upstream: Upstream, archives: readonly NamedArchive[]): void
  /** The archive that this request asks for, checked. Never throws. `signal`: nobody waits for it any more. */
  find(upstream: Upstream, head: JudgedHead, signal: AbortSignal): Promise<FoundArchive | undefined>
  /** Undefined where it will not be kept. */
  keeper(upstream: Upstream, head: JudgedHead): Promise<ArchiveKeeper | undefined>
  view(): { archives: number; bytes: number; bytesMax: number; found: number; kept: number }
}

interface Kept {
  file: string
  digest: Digest
  bytes: number
  usedMs: number
}

const isSame = (one: Digest, other: Digest) => one.algorithm === other.algorithm && one.hex === other.hex

export function createArchives(parts: {
  folder: string
  /** Of all archives together; 0 keeps none. Asked each time, because it may change. */
  bytesMax: () => number
  /** Whether the home's disk has room. */
  hasRoom: () => boolean
  nowMs: () => number
}): Archives {
  const { folder, bytesMax, hasRoom, nowMs } = parts
  const named = new Map<string, Digest>()
  const kept = new Map<string, Kept>()
  const counts = { found: 0, kept: 0 }
  let bytes = 0
  let parting = 0
  let partBytes = 0
  let loading: Promise<void> | undefined

  const keyOf = ({ name, url, files, secret }: Upstream, { host, path }: Pick<NamedArchive, 'host' | 'path'>): string =>
    createHash('sha256')
      .update(JSON.stringify([name, url, files ?? null, secret ?? null, host, path]))
      .digest('hex')
      .slice(0, 32)

  /** What is there, once; half-made files of a process that ended go. */
  const loaded = (): Promise<void> => (loading ??= load())
  async function load(): Promise<void> {
    for (const file of await readdir(folder).catch((): string[] => [])) {
      const [, key, algorithm, hex] = FILE.exec(file) ?? []
      if (key === undefined && !HALF_MADE.test(file)) continue
      const found = key === undefined ? undefined : await lstat(join(folder, file)).catch(() => undefined)
      if (key === undefined || hex === undefined || found?.isFile() !== true || kept.has(key))
        await rm(join(folder, file), { recursive: true, force: true }).catch(() => undefined)
      else put(key, { file, digest: { algorithm, hex } as Digest, bytes: found.size, usedMs: found.mtimeMs })
    }
  }

  /** Two downloads of one archive may end at once: the file of the later one stands, and it counts once. */
  function put(key: string, archive: Kept): void {
    bytes += archive.bytes - (kept.get(key)?.bytes ?? 0)
    kept.set(key, archive)
  }

  async function drop(key: string): Promise<void> {
    const archive = kept.get(key)
    if (archive === undefined) return
    kept.delete(key)
    bytes -= archive.bytes
    await rm(join(folder, archive.file), { force: true }).catch(() => undefined)
  }

  /** Makes room for so many more. */
  async function makeRoom(more: number): Promise<void> {
    if (bytes + more <= bytesMax()) return
    for (const [key] of [...kept].sort(([, one], [, other]) => one.usedMs - other.usedMs)) {
      if (bytes + more <= bytesMax()) return
      await drop(key)
    }
  }

  async function find(key: string, signal: AbortSignal): Promise<FoundArchive | undefined> {
    const archive = kept.get(key)
    if (archive === undefined) return undefined
    const wanted = named.get(key)
    if (wanted !== undefined && !isSame(wanted, archive.digest)) {
      await drop(key)
      return undefined
    }
    const path = join(folder, archive.file)
    const file = await open(path, AS_A_FILE).catch(() => undefined)
    const isIt = file !== undefined && (await holds(file, archive, signal))
    if (file === undefined || !isIt) {
      await file?.close()
      if (!signal.aborted) await drop(key)
      return undefined
    }
    archive.usedMs = nowMs()
    counts.found += 1
    void utimes(path, archive.usedMs / 1000, archive.usedMs / 1000).catch(() => undefined)
    return {
      bytes: archive.bytes,
      read: (take) => readPieces(file, take),
      drop: () => drop(key),
      close: () => file.close().catch(() => undefined),
    }
  }

  async function keeper(key: string): Promise<ArchiveKeeper | undefined> {
    const digest = named.get(key)
    const partsMax = () => Math.floor(bytesMax() / PART_OF_ALL)
    if (digest === undefined || partsMax() === 0 || !hasRoom()) return undefined
    await loaded()
    await mkdir(folder, { recursive: true, mode: 0o700 })
    parting += 1
    const part = join(folder, `${process.pid}-${parting}.part`)
    const file = await open(part, 'wx', 0o600)
    const grows = (more: number): boolean => {
      if (partBytes + more > partsMax() || !hasRoom()) return false
      partBytes += more
      return true
    }
    return keepIn(file, { digest, grows }, async (size, grown) => {
      partBytes -= grown
      if (size === undefined || !hasRoom()) {
        await rm(part, { force: true })
        return false
      }
      const name = `${key}-${digest.algorithm}-${digest.hex}`
      await drop(key)
      await makeRoom(size)
      await rename(part, join(folder, name))
      put(key, { file: name, digest, bytes: size, usedMs: nowMs() })
      counts.kept += 1
      return true
    })
  }

  return {
    named(upstream, archives) {
      if (bytesMax() === 0) return
      for (const archive of archives) {
        const key = keyOf(upstream, archive)
        named.delete(key)
        named.set(key, archive.digest)
      }
      for (const key of named.keys()) {
        if (named.size <= NAMED_MAX) break
        named.delete(key)
      }
    },
    async find(upstream, head, signal) {
      try {
        await loaded()
        await makeRoom(0)
        return await find(keyOf(upstream, head), signal)
      } catch {
        return undefined
      }
    },
    async keeper(upstream, head) {
      return keeper(keyOf(upstream, head)).catch(() => undefined)
    },
    view: () => ({ archives: kept.size, bytes, bytesMax: bytesMax(), ...counts }),
  }
}

async function readPieces(file: FileHandle, take: (piece: Buffer) => Promise<void> | undefined): Promise<void> {
  for (let at = 0; ; ) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(PIECE_BYTES), 0, PIECE_BYTES, at)
    if (bytesRead === 0) return
    at += bytesRead
    await take(buffer.subarray(0, bytesRead))
  }
}

/** Whether the file is what its name says. One that cannot be read is not, and nobody looks on after the signal. */
async function holds(file: FileHandle, { digest, bytes }: Kept, signal: AbortSignal): Promise<boolean> {
  const hash = createHash(digest.algorithm)
  let found = 0
  try {
    await readPieces(file, (piece) => {
      signal.throwIfAborted()
      found += piece.length
      hash.update(piece)
      return undefined
    })
  } catch {
    return false
  }
  return found === bytes && hash.digest('hex') === digest.hex
}

/**
 * `grows` answers whether there is room for so many more bytes. `done` gets the size of what may stay, or undefined for what must go, and how many
 * bytes were given room; answers whether it stayed.
 */
function keepIn(
  file: FileHandle,
  { digest, grows }: { digest: Digest; grows: (more: number) => boolean },
  done: (size: number | undefined, grown: number) => Promise<boolean>,
): ArchiveKeeper {
  const hash = createHash(digest.algorithm)
  let [size, waiting] = [0, 0]
  let isGivenUp = false
  let writing: Promise<void> = Promise.resolve()
  return {
    take(piece) {
      if (isGivenUp) return
      if (waiting + piece.length > WAITING_BYTES_MAX || !grows(piece.length)) {
        isGivenUp = true
        return
      }
      size += piece.length
      waiting += piece.length
      hash.update(piece)
      // The memory of the piece is given back once it was sent.
      const copy = Buffer.from(piece)
      writing = writing.then(async () => {
        if (!isGivenUp) await file.appendFile(copy)
        waiting -= copy.length
      })
      writing.catch(() => {
        isGivenUp = true
      })
    },
    async end(isWhole) {
      try {
        await writing
      } catch {
        isGivenUp = true
      }
      await file.close().catch(() => undefined)
      const isIt = isWhole && !isGivenUp && hash.digest('hex') === digest.hex
      const isKept = await done(isIt ? size : undefined, size).catch(() => false)
      if (isKept) return 'kept'
      return isWhole && !isGivenUp && !isIt ? 'differs' : 'not kept'
    },
  }
}
