/** `hub artifact ...` and `hub events`: what tasks left, and what happens now. */
import { createHash, randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import type { HubEvent } from '../../protocol/events.ts'
import type { ArtifactView } from '../answers.ts'
import { EXIT, Problem, toProblem, usage } from '../problem.ts'
import { type Context, given, type Options, pageOf, type Run, showList, wholeOption } from './context.ts'
import { shortDigest, shortId, wholeId } from './ids.ts'
import { clean, cleanLines, columns, jsonText, type Paint, sizeText } from './text.ts'

const artifactTable = (artifacts: readonly ArtifactView[], paint: Paint): string =>
  columns(
    ['SHA-256', 'SIZE', 'TASK', 'NAME'],
    artifacts.map((each) => [shortDigest(each.sha256), sizeText(each.size), shortId(each.task ?? ''), each.name]),
    paint,
  )

/** What was looked for, so that "none" is not taken for more than it says. */
const emptyText = ({ task, quarantined }: Options): string =>
  `no artifacts${quarantined === true ? ' are withheld' : ''}${task === undefined ? '' : ` of task ${task}`}`

export const artifactList: Run = async (context, _, options) => {
  const quarantined = options.quarantined === true ? { quarantined: 'true' } : {}
  const request = given({ ...pageOf(options), task: options.task, ...quarantined })
  const answer = (await context.hub.call('artifact.list', request)) as {
    artifacts: ArtifactView[]
    next?: string | null
  }
  const table = (rows: readonly ArtifactView[]) => artifactTable(rows, context.terminal.paint)
  showList(context, answer.artifacts, { next: answer.next, empty: emptyText(options), table })
  return EXIT.done
}

/** Copies the bytes through `write` and checks their digest at the end. @throws Problem where they are not what was asked for */
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
    // Whoever read it wanted no more: what is not whole is judged by nobody.
    if ((await write(part)) === false) return bytes
  }
  if (hash.digest('hex') === sha256) return bytes
  throw new Problem(
    'internal',
    'fault',
    `what came is not ${sha256}: its digest differs`,
    'do not use it; see `hub doctor`',
  )
}

/** A file appears whole or not at all; on a terminal the bytes are shown escaped, into a pipe they go as they are. */
export const artifactGet: Run = async (context, [named = ''], options) => {
  const { terminal } = context
  if (context.json) throw usage('an artifact is bytes; --json has no meaning here')
  const sha256 = await wholeId(context.hub.call, 'artifact', named)
  const out = options.out as string | undefined
  const quarantined = options.quarantined === true
  if (out !== undefined) {
    const draft = `${out}.${randomUUID().slice(0, 8)}.part`
    try {
      let bytes = 0
      {
        await using file = await open(draft, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
          throw usage(`--out: ${out} cannot be written (${error.code})`, 'name a file in a folder of yours')
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

/** One event in one line: time, type, subject, data. */
export const eventLine = (event: HubEvent): string =>
  clean(
    `${event.time} ${event.sequence} ${event.type.replace(/^hub\.|\.v1$/g, '')} ${event.subject} ${JSON.stringify(event.data)}`,
  )

/** Without `--follow` the feed counts as read once it has been still this long. */
const STILL_MS = 500
const THERE_MS = 5_000
const AGAIN_MS = 1_000

/** Prints what the hub still remembers, oldest first; with `--follow` goes on until Ctrl-C, also over a restart of the hub. */
export const events: Run = async ({ hub, json, terminal }, _, options) => {
  const follow = options.follow === true
  let since = wholeOption('--since', options.since, 0, Number.MAX_SAFE_INTEGER) ?? 0
  const found: HubEvent[] = []
  const ending = new AbortController()
  let still: NodeJS.Timeout | undefined
  const rest = () => {
    clearTimeout(still)
    if (!follow) still = setTimeout(() => ending.abort(), STILL_MS)
  }
  const from = () => given({ task: options.task, since: since === 0 ? undefined : since })
  const lost = () => terminal.note('events in between are gone: the hub keeps the last 4096 of its present run')
  // One that was never there is said; one that goes away is waited for, and both are said (fault C38).
  if (follow) await hub.call('health.show', {}, { deadlineMs: THERE_MS })
  for (let isAway = false; ; ) {
    rest()
    try {
      for await (const event of hub.events(from(), ending.signal, lost)) {
        rest()
        if (isAway) terminal.note('the hub is there again; what follows is of its new run')
        isAway = false
        since = event.sequence
        if (!json) terminal.out(eventLine(event))
        else if (follow) terminal.out(jsonText(event).replaceAll(/\n\s*/g, ''))
        else found.push(event)
      }
    } catch (error) {
      const problem = toProblem(error)
      if (!ending.signal.aborted && (!follow || problem.kind !== 'unavailable')) throw problem
    } finally {
      clearTimeout(still)
    }
    if (!follow) break
    // The hub has ended the feed, as in a restart. Numbers go on rising over it, and the hub says what of it is gone.
    if (!isAway) terminal.note('the hub has ended; waiting for it (Ctrl-C ends this)')
    isAway = true
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
  }
  if (json && !follow) terminal.json(found)
  return EXIT.done
}
