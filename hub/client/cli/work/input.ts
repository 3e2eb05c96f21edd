/** What `--input` sends: a folder, a file or stdin; or what it would send, for `--dry-run` (fault C19). */
import { realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import { Readable } from 'node:stream'
import { HubError } from '../../../base/errors.ts'
import type { FolderRef } from '../../../protocol/envelope.ts'
import { leftOutLines } from '../../left-out.ts'
import { type PackedFolder, packFile, packFolder, type SecretFile } from '../../pack.ts'
import { type Problem, toProblem, usage } from '../../problem.ts'
import type { Context } from '../context.ts'
import { createProgress, type Progress } from '../progress.ts'
import { clean, countOf, sizeText } from '../text.ts'
import { createSpool } from './spool.ts'

/** The most that one submission may carry. The hub's limits may be lower; it then says so. */
export const INPUT_LIMITS = { bytesMax: 256 * 1024 ** 2, filesMax: 100_000 }
const SHOWN = 3
const PACKING = 'packing the input'

interface Packing {
  spool: () => Promise<string>
  begins: () => void
  progress: Progress
  /** Whether files that a .gitignore excludes are listed too. */
  ignored: boolean
}

/** A file or folder is packed in place; only stdin must be stored first, in the home. */
async function packInput(input: string, { spool, begins, progress, ignored }: Packing): Promise<PackedFolder> {
  if (input === '-') return packFile(await spool(), INPUT_LIMITS.bytesMax)
  const found = await stat(input).catch((error: NodeJS.ErrnoException) => {
    throw usage(`--input: ${input} cannot be read (${error.code})`, 'name a file or a folder that exists')
  })
  if (found.isDirectory()) {
    begins()
    return packFolder(input, { ...INPUT_LIMITS, ignored, onFile: progress })
  }
  if (!found.isFile()) throw usage(`--input: ${input} is neither a file nor a folder`, 'name a file or a folder')
  if (found.size > INPUT_LIMITS.bytesMax) {
    throw usage(
      `--input: ${input} is ${sizeText(found.size)}; at most ${sizeText(INPUT_LIMITS.bytesMax)} can be sent`,
      'send less',
    )
  }
  // A link named on the command line is followed; links inside a folder are not.
  return packFile(await realpath(input), INPUT_LIMITS.bytesMax, path.basename(input))
}

const asUsage = (error: unknown): Problem =>
  error instanceof HubError ? usage(`--input: ${error.message}`, 'send less, or fix it') : toProblem(error)

/** Packs the input and passes it to `use`; afterwards removes the copy of stdin. */
async function withPacked<T>(
  context: Context,
  input: string,
  ignored: boolean,
  use: (packed: PackedFolder) => Promise<T>,
): Promise<T> {
  const { terminal, home, json } = context
  const spool = createSpool(home)
  const begins = () => (json ? undefined : terminal.live(PACKING))
  const progress = createProgress(context, PACKING)
  const take = () => spool.take(process.stdin, INPUT_LIMITS.bytesMax)
  try {
    const packed = await packInput(input, { spool: take, begins, progress, ignored }).catch((error: unknown) => {
      throw asUsage(error)
    })
    return await use(packed)
  } finally {
    terminal.live('')
    spool.remove()
  }
}

function named(files: readonly SecretFile[]): string {
  const shown = files.slice(0, SHOWN).map(({ path: each, why }) => `${each} (${why})`)
  return `${shown.join(', ')}${files.length > SHOWN ? ` and ${files.length - SHOWN} more` : ''}`
}

/**
 * Keeps secrets from being sent by mistake. A file that looks like one stops the submission if git does not track it. If git tracks it, it
 * is shared already: it is sent, with a note. @throws Problem usage
 */
function judgeSecrets({ terminal }: Context, secrets: readonly SecretFile[], permitted: boolean): void {
  const untracked = secrets.filter(({ tracked }) => !tracked)
  if (untracked.length > 0 && !permitted) {
    const look = untracked.length === 1 ? 'looks like a secret' : 'look like secrets'
    throw usage(
      `--input: ${named(untracked)} ${look}, and git does not track ${untracked.length === 1 ? 'it' : 'them'}; nothing was sent`,
      'name it in .gitignore or move it away; to send it anyway, add --with-secrets',
    )
  }
  if (secrets.length > 0) terminal.note(`input: ${named(secrets)}: sent, although it looks like a secret`)
}

/** Uploads what the hub does not have yet. */
export async function upload({ hub, json, terminal }: Context, packed: PackedFolder): Promise<FolderRef> {
  const { manifestBytes, manifestSha256, pack } = packed
  const blobs = [
    { sha256: pack.sha256, name: 'pack', size: pack.size, content: () => Readable.from(pack.content()) },
    {
      sha256: manifestSha256,
      name: 'manifest.json',
      size: manifestBytes.length,
      content: () => Readable.from([manifestBytes]),
    },
  ]
  for (const { content, ...blob } of blobs) {
    if (await hub.has(blob.sha256)) continue
    if (!json) terminal.live(`sending ${countOf(packed.manifest.files.length, 'file')}, ${sizeText(pack.size)}`)
    await hub.upload({ ...blob, content: content() })
  }
  return { manifest: manifestSha256, pack: pack.sha256 }
}

/** Packs the input, and uploads what the hub does not have yet. */
export const sendInput = (context: Context, input: string, withSecrets: boolean): Promise<FolderRef> =>
  withPacked(context, input, false, async (packed) => {
    const { terminal } = context
    judgeSecrets(context, packed.secrets, withSecrets)
    for (const line of leftOutLines(packed.left)) terminal.note(`input: ${line}`)
    return await upload(context, packed)
  })

/** Lists every file with its size, the sum, what looks like a secret, and what is left out and why. Works without the hub. */
export async function showInput(context: Context, input: string | undefined): Promise<void> {
  const { terminal, json } = context
  if (input === undefined)
    throw usage('--dry-run lists what --input would send, but --input is missing', 'add --input DIR')
  await withPacked(context, input, true, async ({ manifest, pack, left, secrets }) => {
    const files = manifest.files.map(({ path: name, size }) => ({ path: name, bytes: size }))
    terminal.live('')
    if (json) return terminal.json({ files, bytes: pack.size, leftOut: left, secrets })
    for (const file of files) terminal.out(`${sizeText(file.bytes).padStart(10)}  ${clean(file.path)}`)
    terminal.out(`${countOf(files.length, 'file')}, ${sizeText(pack.size)} would be sent; nothing was sent`)
    for (const line of leftOutLines(left)) terminal.out(clean(line))
    const refused = secrets.filter(({ tracked }) => !tracked)
    const kept = secrets.filter(({ tracked }) => tracked)
    if (refused.length > 0)
      terminal.out(clean(`looks like a secret, refused without --with-secrets: ${named(refused)}`))
    if (kept.length > 0) terminal.out(clean(`looks like a secret, sent because git tracks it: ${named(kept)}`))
  })
}
