/**
 * Looks into an image of the engine without running any of it: by a container that is made and never started. Follows no link outside of it; the
 * engine resolves them within the image.
 */
import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { borrowContainer, type EngineCalls } from './loading.ts'
import { contentOf } from './untar.ts'

const DEADLINE_MS = 30_000
const COPY_MS = 300_000
/** Of Go's file modes, which the engine answers with. */
const [FOLDER, LINK] = [2 ** 31, 2 ** 27]

export interface Stat {
  kind: 'folder' | 'link' | 'file'
  bytes: number
  /** Of a link: the path it leads to, from the image's root. */
  target: string
}

export interface SourceFiles extends AsyncDisposable {
  /** What is at this path, not followed; undefined if nothing is. */
  stat(path: string): Promise<Stat | undefined>
  /** The text of a file, links followed; undefined where there is none. Throws above `bytesMax`. */
  read(path: string, bytesMax: number): Promise<string | undefined>
  /** Copies a file of the image to a file here, piece by piece. */
  copy(path: string, to: string): Promise<void>
}

/** Throws if the engine does not have the image any more. */
export async function openSource(calls: EngineCalls, imageId: string): Promise<SourceFiles> {
  const wanted = {
    ...{ Image: imageId, Entrypoint: ['-'], Cmd: [] },
    ...{ NetworkDisabled: true, HostConfig: { NetworkMode: 'none' } },
  }
  const { made, id, remove } = await borrowContainer(calls, wanted, DEADLINE_MS)
  if (made.status === 404) throw new Error(`the engine has no image ${imageId} any more; it was removed meanwhile`)
  if (id === undefined) throw new Error(`the engine lets nobody look into the image: ${made.text.slice(0, 300)}`)
  const at = (path: string) => `/containers/${id}/archive?path=${encodeURIComponent(path)}`

  async function stat(path: string): Promise<Stat | undefined> {
    const { status, headers, stream } = await calls.ask('HEAD', at(path), { deadlineMs: DEADLINE_MS })
    stream.resume()
    if (status === 404) return undefined
    if (status !== 200) throw new Error(`the engine does not say what ${path} of the image is (${status})`)
    const said = JSON.parse(Buffer.from(String(headers['x-docker-container-path-stat']), 'base64').toString()) as {
      mode: number
      size: number
      linkTarget: string
    }
    const has = (bit: number) => Math.floor(said.mode / bit) % 2 === 1
    const kind = has(FOLDER) ? 'folder' : has(LINK) ? 'link' : 'file'
    return { kind, bytes: said.size, target: said.linkTarget }
  }
  async function open(path: string): Promise<AsyncIterable<Buffer>> {
    const { status, stream } = await calls.ask('GET', at(path), { deadlineMs: COPY_MS })
    if (status !== 200) throw new Error(`the engine does not hand out ${path} of the image (${status})`)
    return contentOf(stream)
  }
  return {
    stat,
    async read(path, bytesMax) {
      const found = await stat(path)
      const real = found?.kind === 'link' ? found.target : path
      const file = real === path ? found : await stat(real)
      if (file === undefined || file.kind !== 'file') return undefined
      if (file.bytes > bytesMax) throw new Error(`${path} of the image has ${file.bytes} bytes; ${bytesMax} at most`)
      const pieces: Buffer[] = []
      for await (const piece of await open(real)) pieces.push(piece)
      return Buffer.concat(pieces).toString('utf8')
    },
    copy: async (path, to) => pipeline(await open(path), createWriteStream(to, { mode: 0o600 })),
    [Symbol.asyncDispose]: remove,
  }
}
