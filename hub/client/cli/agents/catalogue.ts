/** `hub agent ...`: the catalogue of cards, and what is wrong in it. */
import { statSync } from 'node:fs'
import path from 'node:path'
import { PLACE_WORDS } from '../../../base/card-places.ts'
import { RELAXED } from '../../../protocol/relax.ts'
import { spanText } from '../../../protocol/spans.ts'
import { DEFAULT_PERMISSIONS, PERMISSION_WORDS } from '../../../protocol/tools.ts'
import type { AgentListing, AgentView } from '../../answers.ts'
import { EXIT } from '../../problem.ts'
import { type Context, type Run, showList } from '../context.ts'
import { type Cell, clean, columns, countOf, facts, type Paint, type Style, sizeText, spanWords } from '../text.ts'
import { named } from './names.ts'

const STYLES: Readonly<Record<AgentView['state'], Style>> = {
  registered: 'green',
  unhealthy: 'red',
  halted: 'red',
  suspended: 'yellow',
}
const stateCell = (agent: Pick<AgentView, 'state'>): Cell => ({
  text: agent.state,
  style: STYLES[agent.state] ?? 'bold',
})

/** With what its card asks for beyond the usual container. */
function driverWords({ driver, shell, relax = [] }: AgentView): string {
  const more = [...(shell ? ['shell'] : []), ...relax]
  return more.length === 0 ? driver : `${driver} (${more.join(', ')})`
}

const agentTable = (agents: readonly AgentView[], paint: Paint): string =>
  columns(
    ['AGENT', 'STATE', 'DRIVER', 'SESSIONS', 'RESTARTS', 'IMAGE', 'CAPABILITIES', 'WHAT'],
    agents.map((each) => [
      each.name,
      stateCell(each),
      driverWords(each),
      String(each.sessions),
      // A service has no task that could be done twice.
      each.repeatable === false && each.mode !== 'service' ? 'no' : String(each.restarts),
      each.imageId === null ? 'missing' : (each.provenance ?? 'unknown'),
      each.capabilities.join(','),
      each.reason || each.description,
    ]),
    paint,
  )

/** Broken cards go to stderr, so that a list on stdout stays a list. */
function sayProblems({ terminal }: Context, listing: Partial<AgentListing>): number {
  const problems = listing.problems ?? []
  for (const { file, line, column, message } of problems) {
    const place = line ? ` line ${line}${column ? `, column ${column}` : ''}` : ''
    terminal.note(clean(`not loaded: ${file}${place}: ${message}`))
  }
  for (const { agent, card, by } of listing.shadowed ?? [])
    terminal.note(clean(`not used: ${card}: ${by} names ${agent} too, and comes first`))
  return problems.length
}

/** Names the agents whose cards set no time to live, so that the default applies (S1-48). */
function sayDefaults({ terminal }: Context, agents: readonly AgentView[]): void {
  const byDefault = agents.filter(({ ttlIsDefault }) => ttlIsDefault === true)
  const [first] = byDefault
  if (first?.limits === undefined) return
  const names = byDefault.map(({ name }) => name).join(', ')
  terminal.note(
    clean(`these cards set no limits.ttl, so a session lives ${spanText(first.limits.ttlMs)} (the default): ${names}`),
  )
}

export const list: Run = async (context, _, options) => {
  const listing = await context.hub.call('agent.list')
  sayProblems(context, listing)
  const empty = "no agents: put a card into the home's agents/ and run `hub agent reload`"
  showList(context, listing.agents, { empty, table: (rows) => agentTable(rows, context.terminal.paint) })
  if (!context.json) sayOrigins(context, listing.agents)
  if (options.probe === true) await sayProposals(context)
  return EXIT.done
}

/** What each CLI is called as a program, by the word of its recipe; the others are called by that word. */
const PROGRAMS: Readonly<Record<string, string>> = { 'claude-code': 'claude' }

interface Proposal {
  lang: string
  path: string
}

/**
 * Which coding CLIs with a recipe are in these folders, written as in PATH (S4-35). What is found is only proposed: no file on PATH becomes an agent,
 * and none of them is run, not even for its version. The first of each program counts.
 */
export const probe = (langs: readonly string[], folders: string): Proposal[] =>
  langs.flatMap((lang): Proposal[] => {
    const places = folders
      .split(path.delimiter)
      .filter((folder) => path.isAbsolute(folder))
      .map((folder) => path.join(folder, PROGRAMS[lang] ?? lang))
    const found = places.find(isProgram)
    return found === undefined ? [] : [{ lang, path: found }]
  })

function isProgram(file: string): boolean {
  const found = statSync(file, { throwIfNoEntry: false })
  return found?.isFile() === true && (found.mode & 0o111) !== 0
}

/** On stderr, also with `--json`: a list stays a list. */
async function sayProposals({ terminal }: Context): Promise<void> {
  const { RECIPES } = await import('./recipes.ts')
  const found = probe(Object.keys(RECIPES), process.env.PATH ?? '')
  if (found.length === 0) terminal.note('no coding CLI that is known here is on PATH')
  for (const { lang, path } of found)
    terminal.note(clean(`${path} is here; \`hub agent new NAME --lang ${lang}\` makes an agent of that CLI`))
}

const LIMIT_WORDS: Readonly<Record<string, (value: number) => string>> = {
  ttlMs: (ms) => `lives ${spanWords(ms)}`,
  memoryBytes: (bytes) => `${sizeText(bytes)} memory`,
  cpus: (count) => countOf(count, 'CPU'),
  pids: (count) => countOf(count, 'process', 'processes'),
  tmpBytes: (bytes) => `${sizeText(bytes)} /tmp`,
  workspaceBytes: (bytes) => `${sizeText(bytes)} workspace`,
  openFiles: (count) => `${count} open files`,
}

function afterCrash({ mode, repeatable, restarts }: AgentView): string {
  if (mode === 'service') return 'started again'
  if (restarts === 0) return 'not tried again'
  const times = `tried again ${countOf(restarts, 'time')}`
  return repeatable === false ? `${times} until it has its task; then never, because it is not repeatable` : times
}

const ORIGIN = {
  built: 'built here',
  signed: 'its signature was checked',
  unknown:
    'unknown: its image was not built here, and no program for signatures passed it (`hub agent build`, or images.signature in hub.yaml)',
  below:
    'unknown: it was built here on another image, which was not, and no program for signatures passed that one (images.signature in hub.yaml)',
} as const

const originOf = ({ provenance, from }: AgentView): string => ORIGIN[provenance ?? (from ? 'below' : 'unknown')]

/** Says why the column IMAGE says `unknown` (S1-56) or `missing`. */
function sayOrigins({ terminal }: Context, agents: readonly AgentView[]): void {
  const missing = agents.filter(({ imageId }) => imageId === null)
  for (const isShipped of [true, false]) {
    const of = missing.filter(({ place }) => (place === 'package') === isShipped).map(({ name }) => name)
    const mend = isShipped ? 'node scripts/build-images.ts; hub agent reload' : 'hub agent build FOLDER'
    if (of.length > 0) terminal.note(clean(`without an image that can be used: ${of.join(', ')}: \`${mend}\``))
  }
  const unknown = agents.filter(({ imageId, provenance }) => imageId !== null && !provenance)
  for (const why of new Set(unknown.map(originOf))) {
    const names = unknown.filter((agent) => originOf(agent) === why).map(({ name }) => name)
    terminal.note(clean(`provenance of the image is ${why}: ${names.join(', ')}`))
  }
}

/** What happens when its program asks about a tool, if its card says so. An earlier hub does not say. */
const toolsText = ({ permissions = DEFAULT_PERMISSIONS }: Partial<AgentView>): string =>
  permissions === DEFAULT_PERMISSIONS ? '' : `${permissions}: ${PERMISSION_WORDS[permissions]}`

/** One row for each fact that applies, in words (fault C22). */
export function agentRows(agent: AgentView): [string, Cell][] {
  const asked = Object.entries(agent.may ?? {}).filter(([, what]) => Array.isArray(what) && what.length > 0)
  const limits = Object.entries(agent.limits ?? {}).map(
    ([name, value]) => LIMIT_WORDS[name]?.(value) ?? `${name} ${value}`,
  )
  const rows: [string, Cell][] = [
    ['agent', agent.name],
    ['state', stateCell(agent)],
    ['why', agent.reason ?? ''],
    ['what', agent.description],
    ['image', agent.imageId === null ? `${agent.image} (missing)` : `${agent.image} ${agent.imageId}`],
    ['provenance', agent.imageId === null ? '' : originOf(agent)],
    ['made from', agent.from ?? ''],
    ['packages', (agent.packages ?? []).join('; ')],
    ['card', agent.card === undefined ? '' : `${agent.card}${agent.place ? ` (${PLACE_WORDS[agent.place]})` : ''}`],
    ['not used', (agent.shadows ?? []).join(', ')],
    ['driver', agent.shell ? `${agent.driver} (its image has a shell)` : agent.driver],
    ['relaxed', (agent.relax ?? []).map((each) => `${each}: ${RELAXED[each]}`).join('; ')],
    ['tools', toolsText(agent)],
    ['mode', agent.mode],
    ['capabilities', agent.capabilities.join(', ')],
    ['sessions', String(agent.sessions)],
    ['after a crash', afterCrash(agent)],
    ['note', agent.cardNote ?? ''],
    ['crashes', agent.crashes ? String(agent.crashes) : ''],
    ...asked.map(([name, what]): [string, Cell] => [`asks for ${name}`, (what as string[]).join(', ')]),
    ['limits', limits.join(', ')],
  ]
  return rows.filter(([, value]) => value !== '')
}

export const show: Run = async ({ hub, json, terminal }, [name = '']) => {
  const answer = await named(hub, name, hub.call('agent.show', { name }))
  if (json) terminal.json(answer)
  else terminal.out(facts(agentRows(answer.agent), terminal.paint))
  return EXIT.done
}

/** Loads the cards again. A card that does not load means exit 3; the others are loaded all the same. */
export const reload: Run = async (context) => {
  const listing = await context.hub.call('agent.reload')
  if (context.json) context.terminal.json(listing)
  else context.terminal.out(agentTable(listing.agents ?? [], context.terminal.paint))
  const kept = (listing.agents ?? []).filter(({ imageNote }) => typeof imageNote === 'string')
  for (const { name, imageNote } of kept) context.terminal.note(`image not accepted: ${name}: ${imageNote}`)
  for (const { name, cardNote } of listing.agents ?? []) {
    if (typeof cardNote === 'string') context.terminal.note(clean(`note: ${name}: ${cardNote}`))
  }
  sayDefaults(context, listing.agents ?? [])
  return sayProblems(context, listing) + kept.length > 0 ? EXIT.refused : EXIT.done
}

async function changed({ hub, json, terminal }: Context, operation: 'agent.reset' | 'agent.suspend', name: string) {
  const answer = await named(hub, name, hub.call(operation, { name }))
  if (json) terminal.json(answer)
  else if (operation === 'agent.reset') terminal.out(`${name} may start again`)
  else {
    terminal.out(`${name} is suspended: it gets no new sessions; \`hub agent reset ${name}\` allows them again`)
    const running = answer.agent.sessions
    if (running > 0)
      terminal.out(`${running} of its sessions may finish; \`hub session stop --agent ${name}\` stops them now`)
  }
  return EXIT.done
}
export const reset: Run = (context, [name = '']) => changed(context, 'agent.reset', name)
export const suspend: Run = (context, [name = '']) => changed(context, 'agent.suspend', name)
