/**
 * What a program leaves in `/workspace/out`, as artifacts named by their path.
 *
 * 1. At the end all of it is stored, just before the result.
 * 2. While the program works, what has changed is kept every ten minutes, half a minute before the deadline, and when the program falls. It is marked as unfinished: the
 *    hub shows the mark, and what is stored at the end takes its place. So a session that is lost leaves what it had.
 * 3. Keeping never hinders the program: what cannot be kept is left for the next time.
 */
import type { Dirent } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { HubError } from '../../hub/base/errors.ts'
import type { HubAgent } from '../../hub/client/agent.ts'
import { judgeArtifactName } from '../../hub/protocol/paths.ts'
import type { Classes } from './classes.ts'

/** How often what has changed is kept. */
export const KEEP_EVERY_MS = 600_000
/** It is kept once more so long before the deadline: what a program does at its end may take all of its grace. */
export const KEEP_BEFORE_END_MS = 30_000
/** How many at once: a session has four connections, and its mail uses one. */
const AT_ONCE = 2
const NAMED_MAX = 20

/** What a directory entry is, in words; undefined for files and directories. */
const oddKind = (entry: Dirent): string | undefined => {
  if (entry.isFile() || entry.isDirectory()) return undefined
  return entry.isSymbolicLink() ? 'is a link' : entry.isSocket() ? 'is a socket' : 'is not a regular file'
}

/** These codes refuse one output only: the next may be stored. */
const ITS_OWN = new Set(['schema_invalid', 'too_large', 'limit_exceeded'])
const isOwnFault = (thrown: unknown): boolean =>
  thrown instanceof HubError ? ITS_OWN.has(thrown.code) : /^E[A-Z]+$/.test((thrown as NodeJS.ErrnoException).code ?? '')

interface Output {
  file: string
  name: string
}

/** Every regular file below `folder` that can be an artifact, and a text for each that cannot (fault C29). */
async function outputsIn(folder: string): Promise<{ files: Output[]; left: string[] }> {
  const left: string[] = []
  const files: Output[] = []
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name)
    const name = file.slice(folder.length + 1)
    const fault = oddKind(entry) ?? (entry.isFile() ? judgeArtifactName(name) : undefined)
    if (fault !== undefined) left.push(`${JSON.stringify(name.slice(0, 200))} ${fault}`)
    else if (entry.isFile()) files.push({ file, name })
  }
  return { files, left }
}

async function each(files: Output[], act: (output: Output) => Promise<void>): Promise<void> {
  const rest = [...files]
  const worker = async () => {
    for (let next = rest.shift(); next !== undefined; next = rest.shift()) await act(next)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

export interface Outputs {
  /**
   * Stores every regular file. Returns a text that names each file that cannot be an artifact: an odd name, a link, a socket, a file that cannot be
   * read. Throws if nothing more can be stored. Nothing is kept any more.
   */
  store(): Promise<string | undefined>
  /** Whether the file of this name was stored as it was at the end. */
  isStored(name: string): boolean
  /** Keeps what has changed since it was last kept. Never throws. */
  keep(): Promise<void>
}

export function createOutputs(
  folder: string,
  parts: { put: HubAgent['artifact']['put']; classOf: Classes['of'] },
): Outputs {
  const { put, classOf } = parts
  /** What was kept, by name: its size and when it was changed. */
  const kept = new Map<string, string>()
  const stored = new Set<string>()
  let keeping: Promise<void> | undefined
  let isOver = false

  async function keepOne({ file, name }: Output): Promise<void> {
    if (isOver) return
    const { size, mtimeMs } = await stat(file)
    const mark = `${size} ${mtimeMs}`
    if (kept.get(name) === mark) return
    await put(name, { file }, { dataClass: classOf(name), unfinished: true })
    kept.set(name, mark)
  }
  async function keepAll(): Promise<void> {
    const { files } = await outputsIn(folder)
    // A file that is written just now differs from its digest: the next time it is kept.
    await each(files, (output) => keepOne(output).catch(() => undefined))
  }

  return {
    async store() {
      isOver = true
      await keeping
      const { files, left } = await outputsIn(folder)
      await each(files, async ({ file, name }) => {
        try {
          await put(name, { file }, { dataClass: classOf(name) })
          stored.add(name)
        } catch (thrown) {
          if (!isOwnFault(thrown)) throw thrown
          const { code, message } = thrown as NodeJS.ErrnoException
          left.push(`${JSON.stringify(name.slice(0, 200))}: ${thrown instanceof HubError ? message : code}`)
        }
      })
      if (left.length === 0) return undefined
      const more = left.length > NAMED_MAX ? ` and ${left.length - NAMED_MAX} more` : ''
      return `not stored as outputs: ${left.slice(0, NAMED_MAX).join(', ')}${more}`
    },
    isStored: (name) => stored.has(name),
    async keep() {
      // One after the other: a slow one is not overtaken.
      if (keeping !== undefined || isOver) return keeping
      keeping = keepAll()
        .catch(() => undefined)
        .finally(() => {
          keeping = undefined
        })
      await keeping
    },
  }
}
