/**
 * Files that an agent asks its client for, inside the workspace only (S4-39).
 *
 * F1. A path leads nowhere else: it is resolved first, and then each step is opened from the folder before it and follows no link. What is exchanged
 *     between the two is not followed either.
 * F2. Whatever is not there, outside or inside, gives one and the same error: nobody learns what exists outside.
 * F3. Only plain files of text are read and written, up to a size.
 */
import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, realpath } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join, normalize, relative, sep } from 'node:path'
import { RPC } from './wire.ts'

/** An answer to the agent that says no. */
export class Refusal extends Error {
  readonly code: number
  readonly data: object | undefined
  constructor(code: number, message: string, data?: object) {
    super(message)
    this.code = code
    this.data = data
  }
}

/** What a file may have to be read at all, and how much of it goes into one answer or comes in one request. */
const FILE_BYTES_MAX = 8 * 1024 ** 2
export const TEXT_BYTES_MAX = 2 * 1024 ** 2
const INVALID = -32_602
const FAULT = -32_603
/** A pipe must not hold up the shim. */
const PLAIN = constants.O_NOFOLLOW | constants.O_NONBLOCK
const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

const notThere = (path: string) => new Refusal(RPC.missing, `Resource not found: ${path}`, { uri: path })
const codeOf = (thrown: unknown): string => (thrown as NodeJS.ErrnoException).code ?? ''
const isWithin = (root: string, path: string): boolean => {
  const way = relative(root, path)
  return way === '' || !(way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way))
}

export interface Files {
  /** A part of a text by lines, counted from 1. */
  read(request: { path: string; line?: number | null | undefined; limit?: number | null | undefined }): Promise<string>
  /** Makes the file, and the folders above it, where they are missing. */
  write(request: { path: string; content: string }): Promise<void>
  /** The real path of a folder inside. */
  folder(path: string): Promise<string>
}

export function createFiles(workspace: string): Files {
  const realRoot = realpath(workspace)

  /** Where the path leads, as far as it exists. Throws `notThere` for any other place than the workspace. */
  async function resolve(path: string): Promise<string> {
    if (!isAbsolute(path) || path.includes('\0')) throw new Refusal(INVALID, 'path: it must be absolute')
    const wanted = normalize(path)
    const root = await realRoot
    // Before anything is looked at: how long an answer takes must tell nothing either.
    if (!isWithin(workspace, wanted) && !isWithin(root, wanted)) throw notThere(path)
    const rest: string[] = []
    for (let at = wanted; ; at = dirname(at)) {
      const real = await realpath(at).catch(() => undefined)
      if (real !== undefined && !isWithin(root, real)) throw notThere(path)
      if (real !== undefined) return join(real, ...rest)
      // The root is there, so this ends.
      if (!isWithin(root, dirname(at)) && !isWithin(workspace, dirname(at))) throw notThere(path)
      rest.unshift(basename(at))
    }
  }

  /** Opens it step by step from the root. `makes`: folders that are missing are made. */
  async function openAt(path: string, flags: number, makes: boolean): Promise<FileHandle> {
    const real = await resolve(path)
    const root = await realRoot
    const steps = relative(root, real)
      .split(sep)
      .filter((step) => step !== '')
    const name = steps.pop()
    if (name === undefined) throw notThere(path)
    let folder = await open(root, FOLDER)
    const below = (step: string) => `/proc/self/fd/${folder.fd}/${step}`
    try {
      for (const step of steps) {
        if (makes)
          await mkdir(below(step)).catch((thrown) => {
            if (codeOf(thrown) !== 'EEXIST') throw thrown
          })
        const next = await open(below(step), FOLDER)
        await folder.close()
        folder = next
      }
      return await open(below(name), flags | PLAIN, 0o644)
    } catch (thrown) {
      if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG'].includes(codeOf(thrown))) throw notThere(path)
      throw new Refusal(FAULT, `${path}: ${codeOf(thrown)}`)
    } finally {
      await folder.close()
    }
  }

  return {
    async read({ path, line, limit }) {
      await using file = await openAt(path, constants.O_RDONLY, false)
      const stat = await file.stat()
      if (!stat.isFile()) throw new Refusal(FAULT, `${path}: it is no plain file`)
      if (stat.size > FILE_BYTES_MAX)
        throw new Refusal(RPC.limit, `${path}: it has ${stat.size} bytes, and at most ${FILE_BYTES_MAX} are read`)
      // It may grow meanwhile: no more is read than was judged.
      const whole = Buffer.alloc(stat.size)
      const bytes = whole.subarray(0, (await file.read(whole, 0, stat.size, 0)).bytesRead)
      if (bytes.includes(0)) throw new Refusal(FAULT, `${path}: it is no text`)
      const text = bytes.toString()
      const from = Math.max(0, (line ?? 1) - 1)
      const part =
        line === undefined && limit === undefined
          ? text
          : text
              .split(/(?<=\n)/)
              .slice(from, limit === undefined || limit === null ? undefined : from + limit)
              .join('')
      if (Buffer.byteLength(part) > TEXT_BYTES_MAX)
        throw new Refusal(RPC.limit, `${path}: that are more than ${TEXT_BYTES_MAX} bytes; ask for fewer lines`)
      return part
    },
    async write({ path, content }) {
      if (Buffer.byteLength(content) > TEXT_BYTES_MAX)
        throw new Refusal(RPC.limit, `content: at most ${TEXT_BYTES_MAX} bytes are written`)
      await using file = await openAt(path, constants.O_WRONLY | constants.O_CREAT, true)
      if (!(await file.stat()).isFile()) throw new Refusal(FAULT, `${path}: it is no plain file`)
      await file.truncate()
      await file.writeFile(content)
    },
    async folder(path) {
      const real = await resolve(path)
      const handle = await open(real, FOLDER).catch(() => {
        throw notThere(path)
      })
      await handle.close()
      return real
    },
  }
}
