/** `hub agent ...`: the catalogue of cards, with what is wrong in it. */
import { spanText } from '../../protocol/spans.ts'
import type { AgentListing, AgentView } from '../answers.ts'
import { EXIT } from '../problem.ts'
import { named } from './agent-names.ts'
import { type Context, type Run, showList } from './context.ts'
import { type Cell, clean, columns, facts, type Paint, type Style } from './text.ts'

const STYLES: Readonly<Record<AgentView['state'], Style>> = {
  registered: 'green',
  unhealthy: 'red',
  halted: 'red',
  suspended: 'yellow',
  retired: 'dim',
}
const stateCell = (agent: AgentView): Cell => ({ text: agent.state, style: STYLES[agent.state] ?? 'bold' })

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

export const show: Run = async ({ hub, json, terminal }, [name = '']) => {
  const answer = (await named(hub, name, hub.call('agent.show', { name }))) as { agent?: AgentView } & Record<
    string,
    unknown
  >
  if (json) terminal.json(answer)
  else {
    const rows = Object.entries(answer.agent ?? answer).map(
      ([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)] as const,
    )
    terminal.out(facts(rows, terminal.paint))
  }
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
