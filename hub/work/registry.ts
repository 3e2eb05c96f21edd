/**
 * Known agents: cards from the home's `agents/*.yaml`, images resolved to local ids, health kept in a table (S1-3, S1-11).
 * Files win over the table. A broken card is named with its line and left out; the other cards load.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve, sep } from 'node:path'
import type { ValidateFunction } from 'ajv'
import { Ajv } from 'ajv'
import { LineCounter, parseDocument } from 'yaml'
import { HubError } from '../base/errors.ts'
import { assertGrant, type Grant } from '../guard/grant.ts'
import { type AgentCard, agentCardShape, type SessionLimits } from '../protocol/agent.ts'
import type { Store } from '../store/database.ts'
import type { PinnedImages } from './pinned-images.ts'

export type AgentState = 'registered' | 'unhealthy' | 'halted' | 'suspended' | 'retired'

export interface Agent {
  card: AgentCard
  /** Local image id, or undefined while the image is missing. */
  imageId: string | undefined
  /** Its image's name means another image by now, and how that is taken; empty where it does not. */
  imageNote: string
  limits: SessionLimits
  state: AgentState
  reason: string
  crashes: number
}

export interface CardProblem {
  file: string
  line: number
  message: string
}

export interface Registry {
  find(name: string): Agent | undefined
  list(): Agent[]
  problems(): CardProblem[]
  /**
   * Reads the cards again and looks their images up, which is the only await. `takesNew`: the operator asked for it, so a name that means
   * another image by now is followed (pinned-images.ts).
   */
  read(takesNew?: boolean): Promise<{ agents: number; problems: CardProblem[] }>
  /** Throws `schema_invalid` unless this agent may `direction` messages of this type with this body. */
  checkBody(agent: string, direction: 'sends' | 'receives', type: string, body: unknown): void
  crashed(grant: Grant, name: string, giveUp: boolean, reason: string): void
  setState(grant: Grant, name: string, state: 'registered' | 'suspended', reason: string): void
}

interface Loaded {
  card: AgentCard
  limits: SessionLimits
  imageId: string | undefined
  imageProblem: string
  imageNote: string
  schemas: Map<string, ValidateFunction>
}

export function createRegistry(
  options: { folder: string; limitsOf: (card: AgentCard) => SessionLimits },
  parts: {
    store: Store
    images: PinnedImages
    /** Who is halted for having been recycled too often; see work/dispatch/breaker.ts. */
    breaker: { haltOf(name: string): { reason: string } | undefined; reset(grant: Grant, name: string): void }
  },
): Registry {
  const { store, images, breaker } = parts
  let agents = new Map<string, Loaded>()
  let problems: CardProblem[] = []

  const stateOf = (name: string) =>
    (store.prepare('select state, reason, crashes from agent where name = ?').get(name) as
      | { state: AgentState; reason: string; crashes: number }
      | undefined) ?? { state: 'registered' as const, reason: '', crashes: 0 }

  const view = (name: string, loaded: Loaded): Agent => {
    const kept = stateOf(name)
    const halt = kept.state === 'registered' ? breaker.haltOf(name) : undefined
    const row = halt === undefined ? kept : { ...kept, state: 'halted' as const, reason: halt.reason }
    return {
      card: loaded.card,
      imageId: loaded.imageId,
      imageNote: loaded.imageNote,
      limits: loaded.limits,
      ...row,
      reason: row.reason || loaded.imageProblem || loaded.imageNote,
    }
  }

  const save = (name: string, set: { state?: AgentState; reason?: string; crashes?: number }) => {
    const row = { ...stateOf(name), ...set }
    store
      .prepare(
        `insert into agent values (?, ?, ?, ?) on conflict (name) do update
           set state = excluded.state, reason = excluded.reason, crashes = excluded.crashes`,
      )
      .run(name, row.state, row.reason, row.crashes)
  }
  const known = (name: string) => {
    if (!agents.has(name)) throw new HubError('unknown_agent', `no agent is named ${name}`)
  }

  return {
    find(name) {
      const loaded = agents.get(name)
      return loaded === undefined ? undefined : view(name, loaded)
    },
    list: () =>
      [...agents].map(([name, loaded]) => view(name, loaded)).sort((a, b) => (a.card.name < b.card.name ? -1 : 1)),
    problems: () => problems,

    async read(takesNew = false) {
      const next = new Map<string, Loaded>()
      const found: CardProblem[] = []
      for (const file of cardFiles(options.folder)) {
        try {
          const { card, schemas } = readCard(join(options.folder, file))
          if (next.has(card.name)) throw problem(1, `another card already names ${card.name}`)
          const { id, problem: imageProblem, note } = await images.of(card.name, card.image, takesNew)
          next.set(card.name, {
            card,
            limits: options.limitsOf(card),
            imageId: id,
            imageProblem,
            imageNote: note,
            schemas,
          })
        } catch (thrown) {
          found.push({ file, line: thrown instanceof CardError ? thrown.line : 1, message: (thrown as Error).message })
        }
      }
      agents = next
      problems = found
      return { agents: next.size, problems: found }
    },

    checkBody(name, direction, type, body) {
      const loaded = agents.get(name)
      if (loaded === undefined || !Object.hasOwn(loaded.card.messages[direction], type)) {
        throw new HubError(
          'schema_invalid',
          `agent ${name} ${direction} no messages of type ${type}; its card lists those it does`,
        )
      }
      const validate = loaded.schemas.get(`${direction} ${type}`)
      if (validate === undefined || validate(body)) return
      const [first] = validate.errors ?? []
      throw new HubError(
        'schema_invalid',
        `body${first?.instancePath ?? ''} ${first?.message ?? 'does not fit'} (${type} as agent ${name} ${direction} it)`,
      )
    },

    crashed(grant, name, giveUp, reason) {
      assertGrant(grant, 'session.observe')
      save(name, { crashes: stateOf(name).crashes + 1, ...(giveUp ? { state: 'unhealthy', reason } : {}) })
    },
    setState(grant, name, state, reason) {
      assertGrant(grant, 'agent.reset', 'agent.suspend')
      known(name)
      save(name, { state, reason, ...(state === 'registered' ? { crashes: 0 } : {}) })
      if (grant.operation === 'agent.reset') breaker.reset(grant, name)
    },
  }
}

class CardError extends Error {
  readonly line: number
  constructor(line: number, message: string) {
    super(message)
    this.line = line
  }
}
const problem = (line: number, message: string) => new CardError(line, message)

function cardFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.yaml'))
      .sort()
  } catch {
    return []
  }
}

/** Strict YAML (unique keys, no aliases), then the card's shape; an error names the line it stands on. */
export function readCard(path: string): { card: AgentCard; schemas: Map<string, ValidateFunction> } {
  const text = readFileSync(path, 'utf8')
  if (text.length > 65_536) throw problem(1, 'a card is at most 64 KiB')
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, strict: true })
  const [error] = document.errors
  if (error !== undefined) throw problem(lines.linePos(error.pos[0]).line, error.message.split('\n')[0] ?? 'not YAML')
  const parsed = agentCardShape.safeParse(document.toJS({ maxAliasCount: 0 }))
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    const node = document.getIn(issue?.path ?? [], true) as { range?: [number, number, number] } | undefined
    const line = node?.range === undefined ? 1 : lines.linePos(node.range[0]).line
    throw problem(line, `${issue?.path.join('.') || 'card'}: ${issue?.message}`)
  }
  return { card: parsed.data, schemas: readSchemas(parsed.data, dirname(path)) }
}

function readSchemas(card: AgentCard, folder: string): Map<string, ValidateFunction> {
  const ajv = new Ajv({ strict: true, allErrors: false })
  const schemas = new Map<string, ValidateFunction>()
  for (const direction of ['sends', 'receives'] as const) {
    for (const [type, file] of Object.entries(card.messages[direction])) {
      if (file === null) continue
      const path = resolve(folder, file)
      if (!path.startsWith(resolve(folder) + sep))
        throw problem(1, `messages.${direction}.${type}: the schema lies outside the agents' folder`)
      try {
        schemas.set(`${direction} ${type}`, ajv.compile(JSON.parse(readFileSync(path, 'utf8')) as object))
      } catch (thrown) {
        throw problem(1, `messages.${direction}.${type}: ${(thrown as Error).message}`)
      }
    }
  }
  return schemas
}
