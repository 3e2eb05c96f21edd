/** Writes a task's folder into a directory of ours, for programs that read files (docs/protocol.md 10). */
import { mkdir, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Folder } from '../../hub/client/agent.ts'

/**
 * Writes every file and returns the input's path: the file itself if there is exactly one, else `dir`. `dir` must be empty and ours.
 * Paths were checked with the manifest (T69): relative, plain, no file below a file; so nothing is followed and nothing replaced.
 * Throws `conflict` if the bytes do not match the manifest, or the file system's own error (`ENOSPC`).
 */
export async function unpackInputs(folder: Pick<Folder, 'manifest' | 'files'>, dir: string): Promise<string> {
  const { files } = await folder.manifest()
  for await (const { entry, chunks } of folder.files()) {
    const path = join(dir, entry.path)
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await using file = await open(path, 'wx', 0o600 | (entry.mode & 0o177))
    for await (const chunk of chunks) await file.writeFile(chunk)
  }
  const [only, ...rest] = files
  return only !== undefined && rest.length === 0 ? join(dir, only.path) : dir
}
