/**
 * `hub agent try` runs a copy of an agent, with its own card, image and grant, named `NAME--dev`. The copy is removed afterwards.
 * It is granted what NAME is granted, or nothing if NAME has no grant: trying never widens what the agent may do.
 */
import { readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { parseDocument } from 'yaml'
import { DEFAULT_LIMITS, TRIAL_SUFFIX } from '../../../protocol/agent.ts'
import { nameShape } from '../../../protocol/ids.ts'
import { toProblem, usage } from '../../problem.ts'
import type { Context } from '../context.ts'
import { removeImage } from '../engine.ts'
import { pathsOf } from '../home.ts'
import { writeWhole } from '../home-files.ts'
import { clean } from '../text.ts'
import { dataFileOf, reloadPolicy, replacePolicy } from './allow.ts'
import { placeCard, reloadCards } from './build.ts'
import {
  type AgentFolder,
  cardFileOf,
  countingCard,
  findFolder,
  openFolder,
  type ReadCard,
  readCard,
} from './folder.ts'
import { type Entry, readPolicy, withEntry } from './grants.ts'
import { buildImage } from './image-process.ts'

/** The agent to try: from its folder, or if there is none, from its card in the home. */
export type Subject = AgentFolder | (ReadCard & { folder: undefined })

export function openSubject(home: string, named: string): Subject {
  if (findFolder(named) !== undefined) return openFolder(named)
  const known = nameShape.safeParse(named).success ? countingCard(home, named) : undefined
  if (known === undefined)
    throw usage(`${named} is neither an agent's folder nor an agent of this home`, '`hub agent new NAME`')
  return { ...readCard(known), folder: undefined }
}

export interface DevCopy {
  readonly name: string
  readonly dev: string
  /** Builds the folder as it is now, until the signal, and has the hub read card and grant. @throws Problem, BuildStopped; `remove` then clears what is left */
  place(stop: AbortSignal): Promise<void>
  /** Removes card, schemas, grant and image, even if the hub does not answer. */
  remove(): Promise<void>
}

/** The card under the copy's name, with its schemas in their own folder. It is never restarted, so that the first crash is seen. */
export function devCard(text: string, facts: { dev: string; image: string }): string {
  const document = parseDocument(text, { strict: true })
  document.set('name', facts.dev)
  document.set('image', facts.image)
  document.set('restarts', 0)
  document.set('repeatable', false)
  for (const direction of ['sends', 'receives']) {
    const types = (document.toJS() as { messages?: Record<string, Record<string, string | null>> }).messages?.[
      direction
    ]
    for (const [type, schema] of Object.entries(types ?? {})) {
      if (schema !== null) document.setIn(['messages', direction, type], `${facts.dev}/${schema}`)
    }
  }
  return String(document)
}

/** Pure: what the copy may do. */
export function devEntry(entry: Entry | undefined, ttlMs: number): Entry {
  const bare = {
    capabilities: [],
    ttlMs,
    message: [],
    delegate: [],
    topics: [],
    secrets: [],
    broadcast: false,
  }
  return { ...(entry ?? bare), submit: true, suspended: false }
}

export function createDevCopy(context: Context, open: () => Subject): DevCopy {
  const { home, terminal } = context
  const first = open()
  const { name } = first.card
  const dev = `${name}${TRIAL_SUFFIX}`
  const file = dataFileOf(home)
  const schemas = path.join(home, 'agents', dev)
  /** The rules' data as it was, and as it is with the copy in it. */
  let policy: { before: Buffer; after: string } | undefined

  async function grant(subject: Subject): Promise<void> {
    const before = readFileSync(file)
    const read = readPolicy(before, file)
    const entry = Object.hasOwn(read.agents, name) ? read.agents[name] : undefined
    if (entry === undefined)
      terminal.note(
        `${name} has no grant, so it may do nothing beyond its task; to grant what its card asks for: \`hub agent allow ${name}\``,
      )
    const own = devEntry(entry, subject.card.limits.ttl ?? DEFAULT_LIMITS.ttlMs)
    // If a killed command left its copy behind, the state to return to is the one without it.
    const clean = Object.hasOwn(read.agents, dev) ? Buffer.from(withEntry(read, dev, undefined)) : before
    const after = withEntry(read, dev, own)
    policy = { before: clean, after }
    if (!before.equals(Buffer.from(after))) {
      await replacePolicy(context, { before, after, reason: `hub agent try ${name}`, history: false })
    }
  }

  function takeOut(): void {
    rmSync(cardFileOf(home, dev), { force: true })
    rmSync(schemas, { recursive: true, force: true })
    const now = readFileSync(file)
    if (policy !== undefined && now.equals(Buffer.from(policy.after))) writeWhole(file, policy.before)
    else {
      // Somebody else has changed the file: removes only our entry.
      const read = readPolicy(now, file)
      if (Object.hasOwn(read.agents, dev)) writeWhole(file, withEntry(read, dev, undefined))
    }
  }

  /** Clears crashes and halts of earlier trials. A hub that does not know the copy refuses this, which does no harm. */
  const forget = () => context.hub.call('agent.reset', { name: dev }).catch(() => undefined)

  let isBuilt = false
  /** Removes only the image of this trial. */
  async function removeBuilt(): Promise<void> {
    if (!isBuilt) return
    const why = await removeImage(pathsOf(home), `hub/${dev}`).catch((error: unknown) => toProblem(error).message)
    if (why !== undefined) terminal.note(`could not remove its image hub/${dev}: ${clean(why)}`)
  }

  return {
    name,
    dev,
    async place(stop) {
      const subject = open()
      const image = subject.folder === undefined ? subject.card.image : `hub/${dev}`
      const agent = { ...subject, folder: subject.folder ?? path.dirname(subject.file) }
      if (subject.folder !== undefined) {
        // Also one that failed may have left it: what was loaded may not start.
        isBuilt = true
        await buildImage(context, agent, image, { stop })
      }
      placeCard(home, agent, { name: dev, text: devCard(subject.text, { dev, image }), schemas: dev })
      await grant(subject)
      await reloadCards(context, dev)
      await forget()
    },
    async remove() {
      // While its card is still there: then its crashes do not count against the next trial, and its alerts end.
      await forget()
      takeOut()
      await removeBuilt()
      try {
        await reloadPolicy(context, `hub agent try ${name}: its copy is gone`)
        await context.hub.call('agent.reload')
      } catch (error) {
        terminal.note(`${dev} is removed from the files, but the hub did not read them: ${toProblem(error).message}`)
      }
    },
  }
}
