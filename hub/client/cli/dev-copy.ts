/**
 * The copy under which `hub agent try` runs an agent: a card, an image and a grant of its own, named `NAME--dev`, gone afterwards.
 * It is granted what NAME is granted, and without a grant nothing at all: trying never widens what the agent may do.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { parseDocument } from 'yaml'
import { DEFAULT_LIMITS, TRIAL_SUFFIX } from '../../protocol/agent.ts'
import { nameShape } from '../../protocol/names.ts'
import { toProblem, usage } from '../problem.ts'
import { dataFileOf, reloadPolicy, replacePolicy } from './agent-allow.ts'
import { buildImage, placeCard, reloadCards } from './agent-build.ts'
import { type AgentFolder, cardFileOf, findFolder, openFolder, type ReadCard, readCard } from './agent-folder.ts'
import type { Context } from './context.ts'
import { removeImage } from './engine.ts'
import { type Entry, readPolicy, withEntry } from './grants.ts'
import { pathsOf } from './home.ts'
import { writeWhole } from './home-files.ts'
import { clean } from './text.ts'

/** An agent as it is to be tried: from its folder, or, without one, from its card in the home. */
export type Subject = AgentFolder | (ReadCard & { folder: undefined })

export function openSubject(home: string, named: string): Subject {
  if (findFolder(named) !== undefined) return openFolder(named)
  const known = nameShape.safeParse(named).success && existsSync(cardFileOf(home, named))
  if (!known) throw usage(`${named} is neither an agent's folder nor an agent of this home`, '`hub agent new NAME`')
  return { ...readCard(cardFileOf(home, named)), folder: undefined }
}

export interface DevCopy {
  readonly name: string
  readonly dev: string
  /** Builds what is in the folder now, and has the hub read card and grant. @throws Problem; what is left of it then goes with `remove` */
  place(): Promise<void>
  /** Takes card, schemas, grant and image away again, whatever the hub says to it. */
  remove(): Promise<void>
}

/** The card under the copy's name, its schemas in a folder of their own. It runs once: whoever tries looks on, and sees the first crash. */
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
      terminal.note(`${name} has no grant, so it is tried with none: \`hub agent allow ${name}\``)
    const own = devEntry(entry, subject.card.limits.ttl ?? DEFAULT_LIMITS.ttlMs)
    // A copy left behind by a command that was killed is no former state.
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
      // Somebody else wrote to it meanwhile: only our entry goes.
      const read = readPolicy(now, file)
      if (Object.hasOwn(read.agents, dev)) writeWhole(file, withEntry(read, dev, undefined))
    }
  }

  /** Crashes and halts of earlier trials. A hub that does not know the copy has nothing to forget. */
  const forget = () => context.hub.call('agent.reset', { name: dev }).catch(() => undefined)

  let isBuilt = false
  /** The image of the trial, and nothing that any other card names. */
  async function removeBuilt(): Promise<void> {
    if (!isBuilt) return
    const why = await removeImage(pathsOf(home), `hub/${dev}`).catch((error: unknown) => toProblem(error).message)
    if (why !== undefined) terminal.note(`its image hub/${dev} is still there: ${clean(why)}`)
  }

  return {
    name,
    dev,
    async place() {
      const subject = open()
      const image = subject.folder === undefined ? subject.card.image : `hub/${dev}`
      const agent = { ...subject, folder: subject.folder ?? path.dirname(subject.file) }
      if (subject.folder !== undefined) {
        terminal.live(`assembling ${image}`)
        await buildImage(context, agent, image)
        isBuilt = true
        terminal.live('')
      }
      placeCard(home, agent, { name: dev, text: devCard(subject.text, { dev, image }), schemas: dev })
      await grant(subject)
      await reloadCards(context, dev)
      await forget()
    },
    async remove() {
      // While its card is still there: nothing of what it did stands against the next trial, and its alerts end.
      await forget()
      takeOut()
      await removeBuilt()
      try {
        await reloadPolicy(context, `hub agent try ${name}: its copy is gone`)
        await context.hub.call('agent.reload')
      } catch (error) {
        terminal.note(`${dev} is out of the files, but the hub did not read them: ${toProblem(error).message}`)
      }
    },
  }
}
