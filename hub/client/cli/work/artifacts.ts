/** `hub artifact ...`: what tasks made. */
import { createHash, randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import type { ArtifactView } from '../../answers.ts'
import { EXIT, Problem, usage } from '../../problem.ts'
import { type Context, given, type Options, pageOf, type Run, showList, typed } from '../context.ts'
import { shortDigest, shortId, wholeId } from '../ids.ts'
import { cleanLines, columns, type Paint, sizeText } from '../text.ts'

/** What no result has confirmed says so. */
const nameCell = ({ name, unfinished }: Pick<ArtifactView, 'name' | 'unfinished'>): string =>
  unfinished === true ? `${name} (unfinished)` : name

const artifactTable = (artifacts: readonly ArtifactView[], paint: Paint): string =>
  columns(
    ['SHA-256', 'SIZE', 'TASK', 'NAME'],
    artifacts.map((each) => [shortDigest(each.sha256), sizeText(each.size), shortId(each.task ?? ''), nameCell(each)]),
    paint,
  )

/** Says what was searched, so that "no artifacts" is not misread. */
const emptyText = ({ task, quarantined }: Options): string =>
  `no artifacts${quarantined === true ? ' are withheld' : ''}${task === undefined ? '' : ` of task ${task}`}`

export const artifactList: Run = async (context, _, options) => {
  const quarantined = options.quarantined === true ? { quarantined: 'true' } : {}
  const request = given({ ...pageOf(options), task: typed(options.task), ...quarantined })
  const answer = await context.hub.call('artifact.list', request)
  const table = (rows: readonly ArtifactView[]) => artifactTable(rows, context.terminal.paint)
  showList(context, answer.artifacts, { next: answer.next, empty: emptyText(options), table })
  return EXIT.done
}

/** Copies the bytes through `write` and checks their digest at the end. @throws Problem if it differs */
async function copyArtifact(
  { hub }: Context,
  sha256: string,
  quarantined: boolean,
  write: (part: Buffer) => Promise<unknown>,
): Promise<number> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const part of await hub.fetch(sha256, quarantined)) {
    hash.update(part)
    bytes += part.length
    // The reader closed the pipe, and a part has no digest to check.
    if ((await write(part)) === false) return bytes
  }
  if (hash.digest('hex') === sha256) return bytes
  throw new Problem(
    'internal',
    'fault',
    `the received bytes are not ${sha256}: their digest differs`,
    'do not use it; see `hub doctor`',
  )
}

/** A file appears whole or not at all; on a terminal the bytes are shown escaped, into a pipe they go as they are. */
export const artifactGet: Run = async (context, [named = ''], options) => {
  const { terminal } = context
  if (context.json) throw usage('an artifact is bytes; leave out --json')
  const sha256 = await wholeId(context.hub.call, 'artifact', named)
  const out = options.out as string | undefined
  const quarantined = options.quarantined === true
  if (out !== undefined) {
    const draft = `${out}.${randomUUID().slice(0, 8)}.part`
    try {
      let bytes = 0
      {
        await using file = await open(draft, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
          throw usage(`--out: ${out} cannot be written (${error.code})`, 'name a file in a folder that you can write')
        })
        bytes = await copyArtifact(context, sha256, quarantined, (part) => file.writeFile(part))
      }
      await rename(draft, out)
      terminal.note(`wrote ${out}, ${sizeText(bytes)}`)
    } finally {
      await rm(draft, { force: true })
    }
    return EXIT.done
  }
  if (process.stdout.isTTY) {
    const parts: Buffer[] = []
    await copyArtifact(context, sha256, quarantined, async (part) => void parts.push(part))
    terminal.out(cleanLines(Buffer.concat(parts).toString('utf8')))
    return EXIT.done
  }
  await copyArtifact(context, sha256, quarantined, terminal.bytes)
  return EXIT.done
}
