/**
 * The conversation of a coding CLI over the starts of one task (docs/agents.md): put back before the CLI begins, kept while it works and when it
 * ends without a result.
 *
 * 1. Only files of the closed list of protocol/transcripts.ts are read and written, only regular ones, and no link is followed. What lies beside
 *    them is counted, and the count stands in the record.
 * 2. What cannot be used is named, and the CLI begins anew: nothing here prevents a start.
 * 3. A start that begins anew is told the end of what was said, in the place of `{earlier}`.
 */
import { constants } from 'node:fs'
import { lstat, mkdir, open, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { HubAgent } from '../../hub/client/agent.ts'
import {
  isTranscriptPath,
  lastOf,
  TRANSCRIPT_BYTES_MAX,
  TRANSCRIPT_FILES_MAX,
  TRANSCRIPT_FOLDERS,
  TRANSCRIPT_LEFT_OUT_MAX,
  TRANSCRIPT_TRIES,
} from '../../hub/protocol/transcripts.ts'
import { packTranscript, readTranscript, type TranscriptFile } from './transcript-pack.ts'

export interface Transcripts {
  /** The program and its arguments, and what stands for `{earlier}` in them. */
  begin(): { argv: readonly string[]; earlier: string; goesOn: boolean }
  /** The CLI could not go on with it: its files go, and `begin` answers the other way. */
  giveUp(): Promise<void>
  /** What the CLI said. `joins`: a piece of what comes before and after; an empty text ends it. */
  said(text: string, joins: boolean): void
  /** Keeps what has changed since it was last kept, one after the other. Never throws. */
  save(): Promise<void>
}

const TOLD =
  'An earlier start of this task ended before it was done. What it changed is not here. The end of what it said:'

/** The folders of one entry of the list that are there, below `at`; a link is none. */
async function foldersOf(home: string, [name, ...rest]: readonly string[], at = ''): Promise<string[]> {
  if (name === undefined) return [at]
  const names = name === '*' ? await readdir(join(home, at)).catch(() => []) : [name]
  const found: string[] = []
  for (const each of names) {
    const path = at === '' ? each : `${at}/${each}`
    const isFolder = (await lstat(join(home, path)).catch(() => undefined))?.isDirectory() === true
    if (isFolder) found.push(...(await foldersOf(home, rest, path)))
  }
  return found
}

interface Found {
  path: string
  size: number
  mtimeMs: number
}

/** Every file of a conversation, the newest first; and how much else lies in their folders. */
async function filesIn(home: string): Promise<{ found: Found[]; leftOut: number }> {
  const found: Found[] = []
  let leftOut = 0
  for (const folder of (await Promise.all(TRANSCRIPT_FOLDERS.map((each) => foldersOf(home, each)))).flat())
    for (const entry of await readdir(join(home, folder), { recursive: true, withFileTypes: true }).catch(() => [])) {
      const path = join(entry.parentPath, entry.name).slice(home.length + 1)
      if (entry.isDirectory()) continue
      if (!entry.isFile() || !isTranscriptPath(path)) {
        leftOut += 1
        continue
      }
      const stats = await lstat(join(home, path)).catch(() => undefined)
      if (stats?.isFile()) found.push({ path, size: stats.size, mtimeMs: Math.floor(stats.mtimeMs) })
    }
  found.sort((a, b) => b.mtimeMs - a.mtimeMs || (a.path < b.path ? -1 : 1))
  return { found, leftOut: Math.min(leftOut, TRANSCRIPT_LEFT_OUT_MAX) }
}

/** Its bytes up to the size that was seen: it may grow meanwhile. Undefined if it is gone, or something else by now. */
async function readFound(home: string, { path, size, mtimeMs }: Found): Promise<TranscriptFile | undefined> {
  try {
    await using file = await open(join(home, path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    if (!(await file.stat()).isFile()) return undefined
    const bytes = Buffer.alloc(size)
    let at = 0
    for (let read = 1; read > 0 && at < size; at += read) read = (await file.read(bytes, at, size - at, at)).bytesRead
    return { path, mtimeMs, bytes: bytes.subarray(0, at) }
  } catch {
    return undefined
  }
}

async function write(home: string, { path, mtimeMs, bytes }: TranscriptFile): Promise<void> {
  await mkdir(dirname(join(home, path)), { recursive: true, mode: 0o700 })
  await using file = await open(join(home, path), 'wx', 0o600)
  await file.writeFile(bytes)
  await file.utimes(mtimeMs / 1000, mtimeMs / 1000)
}

/** Fetches what is kept and puts it back below `home`. `hub.joined.transcript` is there. */
export async function openTranscripts(
  hub: Pick<HubAgent, 'joined' | 'log'> & { artifact: Pick<HubAgent['artifact'], 'transcript'> },
  home: string,
): Promise<Transcripts> {
  const { program, transcript: kept, task } = hub.joined
  let text = ''
  let isPiece = false
  let goesOn = false
  let mark = ''
  let saving: Promise<void> | undefined
  const log = (line: string, level: 'info' | 'warn' = 'info') => void hub.log(line, level).catch(() => undefined)

  async function removeAll(): Promise<void> {
    for (const folder of (await Promise.all(TRANSCRIPT_FOLDERS.map((each) => foldersOf(home, each)))).flat())
      await rm(join(home, folder), { recursive: true, force: true })
  }

  async function takeUp(): Promise<void> {
    if (kept === undefined || kept === null) return
    try {
      const found = readTranscript(await hub.artifact.transcript.get(), task.task)
      text = found.text
      const told = text === '' ? '' : ` It is told the last ${[...text].length} characters of what was said.`
      if (kept.as === 'text') {
        log(
          `${TRANSCRIPT_TRIES} starts that went on with the conversation have fallen, so this one begins anew.${told}`,
          'warn',
        )
        return
      }
      for (const file of found.files) await write(home, file)
      goesOn = found.files.length > 0
      if (goesOn)
        log(
          `goes on with the conversation of an earlier start: ${found.files.length} files, try ${kept.tries + 1} of ${TRANSCRIPT_TRIES}`,
        )
      else log(`no file of the conversation was kept, so this start begins anew.${told}`)
    } catch (thrown) {
      await removeAll().catch(() => undefined)
      log(
        `the conversation of an earlier start cannot be used, so this one begins anew: ${(thrown as Error).message}`,
        'warn',
      )
    }
  }
  await takeUp()

  async function saveNow(): Promise<void> {
    const { found: all, leftOut } = await filesIn(home)
    const taken: Found[] = []
    let bytes = 0
    // The newest is the one that a CLI goes on with. What does not fit stays behind, and what is older than that too.
    for (const each of all.slice(0, TRANSCRIPT_FILES_MAX)) {
      bytes += each.size
      if (bytes > TRANSCRIPT_BYTES_MAX) break
      taken.push(each)
    }
    const now = `${text}\0${taken.map(({ path, size, mtimeMs }) => `${path} ${size} ${mtimeMs}`).join('\0')}`
    if (now === mark || all.length === 0) return
    if (taken.length < all.length)
      log(
        `of the conversation ${all.length - taken.length} older files are not kept: all together are too large`,
        'warn',
      )
    const files: TranscriptFile[] = []
    for (const each of taken) {
      const file = await readFound(home, each)
      if (file !== undefined) files.push(file)
    }
    await hub.artifact.transcript.put(packTranscript({ task: task.task, text, files }), leftOut)
    mark = now
  }

  return {
    begin() {
      if (goesOn) return { argv: program.resume ?? program.run, earlier: '', goesOn }
      return { argv: program.run, earlier: text === '' ? '' : `\n\n${TOLD}\n${text}`, goesOn }
    },
    async giveUp() {
      goesOn = false
      await removeAll()
      log('the program could not go on with the conversation, and begins anew', 'warn')
    },
    said(piece, joins) {
      if (piece === '') {
        isPiece = false
        return
      }
      const between = text === '' || (joins && isPiece) ? '' : '\n'
      text = lastOf(`${text}${between}${piece}`.replaceAll('\0', ''))
      isPiece = joins
    },
    save() {
      saving = (saving ?? Promise.resolve()).then(saveNow).catch((thrown: Error) => {
        log(`the conversation could not be kept: ${thrown.message}`, 'warn')
      })
      return saving
    },
  }
}
