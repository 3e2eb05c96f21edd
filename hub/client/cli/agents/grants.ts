/** What a card asks for and what policy/data.json grants, side by side; and the text of that file. Pure. */

import { parseStrictJson } from '../../../base/strict-json.ts'
import { type AgentCard, DEFAULT_LIMITS } from '../../../protocol/agent.ts'
import { DATA_CLASSES, takesClass } from '../../../protocol/data-class.ts'
import { isHeld } from '../../../protocol/egress/grants.ts'
import { relaxOf } from '../../../protocol/relax.ts'
import { spanText } from '../../../protocol/spans.ts'
import { usage } from '../../problem.ts'
import { sizeText } from '../text.ts'

export type Entry = Readonly<Record<string, unknown>>
export interface PolicyFile {
  /** Every top-level key; only `agents` is looked into. */
  whole: Readonly<Record<string, unknown>>
  agents: Readonly<Record<string, Entry>>
}
export interface GrantRow {
  right: string
  wish: string
  grant: string
  /** What would be written; empty if nothing would. */
  change: string
}
export interface GrantPlan {
  rows: GrantRow[]
  entry: Entry
  changed: boolean
  /** What stays as it is but should be mentioned. */
  notes: string[]
}

/** Limits of a card that are counted in bytes. */
const SIZES: ReadonlySet<string> = new Set(['memory', 'tmp', 'workspace'])

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** @throws Problem usage if the file does not have the form of policies/data.json */
export function readPolicy(bytes: Uint8Array, file: string): PolicyFile {
  let whole: unknown
  try {
    whole = parseStrictJson(bytes)
  } catch (error) {
    throw usage(`${file}: ${(error as Error).message}`, 'fix the file')
  }
  if (!isObject(whole) || !isObject(whole.agents) || !Object.values(whole.agents).every(isObject)) {
    throw usage(`${file}: "agents" must be an object of objects`, 'fix the file')
  }
  return { whole, agents: whole.agents as Record<string, Entry> }
}

const LISTS = ['capabilities', 'message', 'delegate', 'topics', 'secrets', 'egress', 'relax'] as const
/** Whether one list holds what an entry of the other says: of egress, `forge` holds `forge:read` too. */
const holds = (right: string, list: readonly string[], entry: string): boolean =>
  right === 'egress' ? isHeld(entry, list) : list.includes(entry)
/** Relaxations are an exception: the usual agent has no line of them. */
const hasLine = (right: string, ...sides: (readonly string[])[]): boolean =>
  right !== 'relax' || sides.some((side) => side.length > 0)
const textsOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((each) => typeof each === 'string') : []
const listText = (list: readonly string[]): string => (list.length === 0 ? '-' : list.join(', '))

/** Limits of a card beside its time, which hub.yaml decides about. */
function limitRows({ limits: { ttl: _, ...others } }: AgentCard): GrantRow[] {
  return Object.entries(others).map(([right, wish]) => ({
    right,
    wish: SIZES.has(right) ? sizeText(Number(wish)) : String(wish),
    grant: 'by hub.yaml',
    change: '',
  }))
}

/** An exception, like relaxations: the usual agent has no line of it. */
function keepsRow(entry: Entry | undefined): GrantRow {
  const keeps = entry?.transcripts === true
  const wish = 'its conversations are kept, unmasked'
  return { right: 'transcripts', wish, grant: String(keeps), change: keeps ? '' : 'true' }
}

/**
 * What `hub agent allow` would write: everything the card asks for that is not granted yet, and nothing else. Extra grants stay, because
 * a session gets only what card and grant both contain. `submit: false` and `suspended: true` stay too: somebody wrote them on purpose.
 */
export function planGrant(card: AgentCard, entry: Entry | undefined): GrantPlan {
  const rows: GrantRow[] = []
  const notes: string[] = []
  const wishes = { capabilities: card.capabilities, ...card.may, relax: relaxOf(card) }
  const lists: Record<string, string[]> = {}
  for (const right of LISTS) {
    const granted = textsOf(entry?.[right])
    const missing = wishes[right].filter((each) => !holds(right, granted, each))
    const beyond = granted.filter(
      (each) => !wishes[right].some((wish) => holds(right, [wish], each) || holds(right, [each], wish)),
    )
    lists[right] = [...granted, ...new Set(missing)]
    if (beyond.length > 0)
      notes.push(`${right}: ${beyond.join(', ')} is granted but the card does not ask for it; it has no effect`)
    const change = missing.length === 0 ? '' : `+ ${missing.join(', ')}`
    if (hasLine(right, wishes[right], granted))
      rows.push({ right, wish: listText(wishes[right]), grant: listText(granted), change })
  }
  const wishMs = card.limits.ttl ?? DEFAULT_LIMITS.ttlMs
  const grantMs = typeof entry?.ttlMs === 'number' ? entry.ttlMs : 0
  const ttlMs = Math.max(wishMs, grantMs)
  rows.push({
    right: 'ttlMs',
    wish: card.limits.ttl === undefined ? `${spanText(wishMs)} (the default)` : spanText(wishMs),
    grant: grantMs === 0 ? '-' : spanText(grantMs),
    change: ttlMs > grantMs ? spanText(ttlMs) : '',
  })
  rows.push(...limitRows(card))
  if (card.shell) rows.push({ right: 'shell', wish: 'in its image', grant: 'recorded and shown', change: '' })
  if (card.transcripts === true) rows.push(keepsRow(entry))
  else if (entry?.transcripts === true)
    notes.push('transcripts is true but the card does not ask for it; it has no effect')
  const granted = entry?.sensitivity
  const sensitivity = takesClass(
    DATA_CLASSES.find((each) => each === granted),
    card.sensitivity,
  )
    ? granted
    : card.sensitivity
  if (card.sensitivity !== undefined)
    rows.push({
      right: 'sensitivity',
      wish: card.sensitivity,
      grant: typeof granted === 'string' ? granted : '-',
      change: sensitivity === granted ? '' : card.sensitivity,
    })
  const submit = entry === undefined ? card.mode !== 'service' : entry.submit === true
  rows.push({
    right: 'submit',
    wish: '-',
    grant: entry === undefined ? '-' : String(submit),
    change: entry === undefined && submit ? 'true' : '',
  })
  const isService = card.mode === 'service'
  const service = entry?.service === true
  if (isService)
    rows.push({ right: 'service', wish: 'always runs', grant: String(service), change: service ? '' : 'true' })
  if (entry !== undefined && !submit && !isService) notes.push('submit is false: only other agents may give it tasks')
  if (entry?.suspended === true) notes.push('suspended is true: it gets no tasks')
  const { capabilities, relax = [], ...rest } = lists
  const always = isService ? { service: true } : {}
  const next = {
    ...(entry ?? {}),
    submit,
    ...always,
    capabilities,
    ttlMs,
    ...rest,
    ...(relax.length === 0 ? {} : { relax }),
    ...(card.transcripts === true ? { transcripts: true } : {}),
    broadcast: entry?.broadcast === true,
    ...(typeof sensitivity === 'string' ? { sensitivity } : {}),
  }
  const changed = rows.some(({ change }) => change !== '')
  return { rows, entry: changed ? next : (entry ?? next), changed, notes }
}

/** The file with one agent's entry set, or taken out; the others and their order stay. */
export function withEntry({ whole, agents }: PolicyFile, name: string, entry: Entry | undefined): string {
  const { [name]: _, ...others } = agents
  const next = entry === undefined ? others : { ...agents, [name]: entry }
  return policyText({ ...whole, agents: next })
}

const WIDTH = 120

/** JSON as people write it: two spaces, a list on one line if it fits. */
export function policyText(value: unknown): string {
  return `${write(value, '', 0)}\n`
}

function write(value: unknown, indent: string, before: number): string {
  const inner = `${indent}  `
  if (Array.isArray(value)) {
    const flat = `[${value.map((each) => JSON.stringify(each)).join(', ')}]`
    if (value.every((each) => !isObject(each)) && indent.length + before + flat.length < WIDTH) return flat
    return `[\n${value.map((each) => inner + write(each, inner, 0)).join(',\n')}\n${indent}]`
  }
  if (!isObject(value)) return JSON.stringify(value)
  const lines = Object.entries(value).map(([key, each]) => {
    const name = `${JSON.stringify(key)}: `
    return inner + name + write(each, inner, name.length)
  })
  return lines.length === 0 ? '{}' : `{\n${lines.join(',\n')}\n${indent}}`
}
