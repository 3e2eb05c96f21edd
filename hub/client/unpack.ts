/**
 * Writes artifacts by name below a directory, for `hub submit --out DIR`. Their names were chosen inside a container, so:
 *
 * 1. Only a path that `judgePath` accepts is written (T69). Any other is left out and named; the rest are still written (fault F17).
 * 2. No symbolic link below the directory is followed, in the middle of a path or at its end.
 * 3. A file appears whole and with the digest it was asked for, or not at all.
 */
import { createHash } from 'node:crypto'
import { lstat, mkdir, open, realpath, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { HubError } from '../base/errors.ts'
import { systemRandom } from '../base/random.ts'
import { judgePath } from '../protocol/paths.ts'

export interface NamedArtifact {
  name: string
  sha256: string
  size: number
}

/** The bytes of one artifact, in chunks. */
export type Fetch = (sha256: string) => AsyncIterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>>

/**
 * Returns the paths written, and what was left out with its reason. If a name is given twice, the last counts. Throws `conflict` if a link or
 * directory is in the way, or if the bytes do not match their digest.
 */
export async function unpackArtifacts(
  dir: string,
  artifacts: readonly NamedArtifact[],
  fetch: Fetch,
  /** Called with how many have been written, of how many. */
  onFile?: (done: number, of: number) => void,
): Promise<{ written: string[]; left: { name: string; why: string }[] }> {
  const byName = new Map(artifacts.map((artifact) => [artifact.name, artifact]))
  const left: { name: string; why: string }[] = []
  for (const name of [...byName.keys()]) {
    const fault = judgePath(name)
    if (fault === undefined) continue
    left.push({ name, why: `its name ${fault}` })
    byName.delete(name)
  }
  await mkdir(dir, { recursive: true })
  const root = await realpath(dir)
  for (const [at, artifact] of [...byName.values()].entries()) {
    onFile?.(at, byName.size)
    await writeOne(root, artifact, await fetch(artifact.sha256))
  }
  return { written: [...byName.keys()], left }
}

async function writeOne(root: string, { name, sha256, size }: NamedArtifact, chunks: AsyncIterable<Uint8Array>) {
  const target = join(root, name)
  await makeParents(root, name)
  if ((await kindOf(target)) === 'directory')
    throw new HubError('conflict', `${target} is a directory; choose another --out`)
  const draft = join(dirname(target), `.hub-${systemRandom.bytes(9).toString('hex')}`)
  try {
    const hash = createHash('sha256')
    let bytes = 0
    {
      await using file = await open(draft, 'wx', 0o600)
      for await (const chunk of chunks) {
        bytes += chunk.length
        if (bytes > size) break
        hash.update(chunk)
        await file.writeFile(chunk)
      }
    }
    if (bytes !== size || hash.digest('hex') !== sha256) {
      throw new HubError('conflict', `artifact ${name}: its bytes do not match its digest; fetch it again`)
    }
    // Replaces a file or a link; a link is never followed.
    await rename(draft, target)
  } finally {
    await rm(draft, { force: true })
  }
}

async function makeParents(root: string, name: string): Promise<void> {
  let at = root
  for (const part of name.split('/').slice(0, -1)) {
    at = join(at, part)
    await mkdir(at).catch((thrown: NodeJS.ErrnoException) => {
      if (thrown.code !== 'EEXIST') throw thrown
    })
    if ((await kindOf(at)) !== 'directory')
      throw new HubError('conflict', `${at} is not a directory; remove it, or choose another --out`)
  }
}

/** What is at a path; links are not followed. */
async function kindOf(path: string): Promise<'directory' | 'other' | 'nothing'> {
  const stat = await lstat(path).catch(() => undefined)
  if (stat === undefined) return 'nothing'
  return stat.isDirectory() ? 'directory' : 'other'
}
