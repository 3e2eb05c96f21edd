/** The artifacts of the fake hub: named bytes in memory, and a folder of inputs made from a table of files. */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { HubError } from '../../base/errors.ts'
import type { FolderRef } from '../../protocol/envelope.ts'
import { comparePaths, judgePath } from '../../protocol/folder.ts'
import type { Artifacts } from './artifacts.ts'
import type { ArtifactRow } from './contract.ts'

export type Content = Uint8Array | string

export interface FakeArtifacts {
  readonly artifacts: Artifacts
  /** What was put, by name. */
  contents(): ReadonlyMap<string, Buffer>
  /** Stores the files as manifest and pack, as `hub submit --input` does. */
  folder(files: Readonly<Record<string, Content>>): FolderRef
}

const GET_BYTES_MAX = 16 * 1024 ** 2
const sha256 = (bytes: Content) => createHash('sha256').update(bytes).digest('hex')

/** `onPut` hears each name before it is stored; a throw refuses it. */
export function createFakeArtifacts(onPut: (name: string) => void): FakeArtifacts {
  const blobs = new Map<string, Buffer>()
  const rows = new Map<string, ArtifactRow>()

  const store = (content: Content) => {
    const bytes = Buffer.from(content)
    const digest = sha256(bytes)
    blobs.set(digest, bytes)
    return { sha256: digest, size: bytes.length }
  }
  return {
    artifacts: {
      async put(name, content) {
        const fault = judgePath(name)
        if (fault !== undefined) throw new HubError('schema_invalid', `name: ${JSON.stringify(name)} ${fault}`)
        const bytes = typeof content === 'object' && 'file' in content ? await readFile(content.file) : content
        onPut(name)
        const row = { name, ...store(bytes) }
        rows.set(name, row)
        return row
      },
      async get(digest, { start = 0, end, bytesMax = GET_BYTES_MAX } = {}) {
        const bytes = blobs.get(digest)?.subarray(start, end)
        if (bytes === undefined) throw new HubError('unknown_artifact')
        if (bytes.length > bytesMax) throw new HubError('too_large', `the answer is over ${bytesMax} bytes`)
        return Buffer.from(bytes)
      },
      list: async () => [...rows.values()],
    },
    contents: () => new Map([...rows].map(([name, row]) => [name, blobs.get(row.sha256) ?? Buffer.alloc(0)])),
    folder(inputs) {
      const files: { path: string; mode: number; size: number; offset: number; sha256: string }[] = []
      const contents: Buffer[] = []
      let offset = 0
      for (const [path, content] of Object.entries(inputs).sort(([a], [b]) => comparePaths(a, b))) {
        const bytes = Buffer.from(content)
        files.push({ path, mode: 0o644, size: bytes.length, offset, sha256: sha256(bytes) })
        contents.push(bytes)
        offset += bytes.length
      }
      return {
        manifest: store(JSON.stringify({ version: 1, files })).sha256,
        pack: store(Buffer.concat(contents)).sha256,
      }
    },
  }
}
