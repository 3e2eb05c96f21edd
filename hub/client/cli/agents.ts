/** `hub agent ...`: the catalogue of cards, with what is wrong in it. */
import { spanText } from '../../protocol/spans.ts'
import type { AgentListing, AgentView } from '../answers.ts'
import { EXIT } from '../problem.ts'
import { named } from './agent-names.ts'
import { type Context, type Run, showList } from './context.ts'
import { type Cell, clean, columns, countOf, facts, type Paint, type Style, sizeText, spanWords } from './text.ts'

const STYLES: Readonly<Record<AgentView['state'], Style>> = {
  registered: 'green',
  unhealthy: 'red',
  halted: 'red',
  suspended: 'yellow',
  retired: 'dim',
}
const stateCell = (agent: Pick<AgentView, 'state'>): Cell => ({
  text: agent.state,
  style: STYLES[agent.state] ?? 'bold',
})

const agentTable = (agents: readonly AgentView[], paint: Paint): string =>
  columns(
    ['AGENT', 'STATE', 'DRIVER', 'SESSIONS', 'RESTARTS', 'CAPABILITIES', 'WHAT'],
    agents.map((each) => [
      each.name,
      stateCell(each),
      each.shell ? `${each.driver} (shell)` : each.driver,
      String(each.sessions),
      String(each.restarts),
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
  return problems.length
}

/** Which agents live by the default time, since their cards name none (S1-48). */
function sayDefaults({ terminal }: Context, agents: readonly AgentView[]): void {
  const byDefault = agents.filter(({ ttlIsDefault }) => ttlIsDefault === true)
  const [first] = byDefault
  if (first?.limits === undefined) return
  const names = byDefault.map(({ name }) => name).join(', ')
  terminal.note(
    clean(`no limits.ttl in the card, so a session lives ${spanText(first.limits.ttlMs)}, the default: ${names}`),
  )
}

export const list: Run = async (context) => {
  const listing = (await context.hub.call('agent.list')) as AgentListing
  sayProblems(context, listing)
  const empty = "no agents: put a card into the home's agents/ and run `hub agent reload`"
  showList(context, listing.agents, { empty, table: (rows) => agentTable(rows, context.terminal.paint) })
  return EXIT.done
}

/** What only one agent in full shows. */
interface AgentInFull extends Omit<AgentView, 'limits'> {
  may?: Record<string, unknown>
  limits?: Record<string, number>
  crashes?: number
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

/** Each in words, what does not hold left out (fault C22). */
function agentRows(agent: AgentInFull): [string, Cell][] {
  const wishes = Object.entries(agent.may ?? {}).filter(([, what]) => Array.isArray(what) && what.length > 0)
  const limits = Object.entries(agent.limits ?? {}).map(
    ([name, value]) => LIMIT_WORDS[name]?.(value) ?? `${name} ${value}`,
  )
  const rows: [string, Cell][] = [
    ['agent', agent.name],
    ['state', stateCell(agent)],
    ['why', agent.reason ?? ''],
    ['what', agent.description],
    ['image', agent.imageId === null ? `${agent.image} (missing)` : `${agent.image} ${agent.imageId}`],
    ['driver', agent.shell ? `${agent.driver} (its image has a shell)` : agent.driver],
    ['mode', agent.mode],
    ['capabilities', agent.capabilities.join(', ')],
    ['sessions', String(agent.sessions)],
    ['after a crash', agent.restarts === 0 ? 'not tried again' : `tried again ${countOf(agent.restarts, 'time')}`],
    ['crashes', agent.crashes ? String(agent.crashes) : ''],
    ...wishes.map(([name, what]): [string, Cell] => [`wishes ${name}`, (what as string[]).join(', ')]),
    ['limits', limits.join(', ')],
  ]
  return rows.filter(([, value]) => value !== '')
}

export const show: Run = async ({ hub, json, terminal }, [name = '']) => {
  const answer = (await named(hub, name, hub.call('agent.show', { name }))) as { agent?: AgentView } & Record<
    string,
    unknown
  >
  if (json) terminal.json(answer)
  else terminal.out(facts(agentRows(answer.agent as AgentInFull), terminal.paint))
  return EXIT.done
}

/** Loads the cards again; a card that does not load is exit 3, the others are loaded all the same. */
export const reload: Run = async (context) => {
  const listing = (await context.hub.call('agent.reload')) as Partial<AgentListing>
  if (context.json) context.terminal.json(listing)
  else context.terminal.out(agentTable(listing.agents ?? [], context.terminal.paint))
  const kept = (listing.agents ?? []).filter(({ imageNote }) => typeof imageNote === 'string')
  for (const { name, imageNote } of kept) context.terminal.note(`not taken: ${name}: ${imageNote}`)
  sayDefaults(context, listing.agents ?? [])
  return sayProblems(context, listing) + kept.length > 0 ? EXIT.refused : EXIT.done
}

async function changed({ hub, json, terminal }: Context, operation: 'agent.reset' | 'agent.suspend', name: string) {
  const answer = (await named(hub, name, hub.call(operation, { name }))) as { agent?: AgentView }
  const running = answer.agent?.sessions ?? 0
  if (json) terminal.json(answer)
  else if (operation === 'agent.reset') terminal.out(`${name} may start again`)
  else {
    terminal.out(`${name} is suspended: nothing of it starts; \`hub agent reset ${name}\` ends it`)
    if (running > 0)
      terminal.out(`${running} of its sessions run on to their end; \`hub session stop --agent ${name}\` ends them now`)
  }
  return EXIT.done
}
export const reset: Run = (context, [name = '']) => changed(context, 'agent.reset', name)
export const suspend: Run = (context, [name = '']) => changed(context, 'agent.suspend', name)
