/** `hub agent resolve NAME`: which card counts for an agent and what comes of it, up to what still keeps it from starting. */
import { floorNotes } from '../../../protocol/coding-clis.ts'
import { canDo, DRIVERS, FEATURES, type Feature } from '../../../protocol/drivers.ts'
import { EXIT, Problem } from '../../problem.ts'
import type { Run } from '../context.ts'
import { type Cell, clean, facts } from '../text.ts'
import { planText } from './allow.ts'
import { agentRows } from './catalogue.ts'
import { readCard } from './folder.ts'
import { type GrantPlan, planGrant } from './grants.ts'
import { named } from './names.ts'

const NAMES = Object.keys(FEATURES) as Feature[]

/** Rights by the card and the row that are in force; undefined if its card was changed meanwhile and has a fault. */
function rightsOf(file: string | undefined, row: Readonly<Record<string, unknown>> | null): GrantPlan | undefined {
  try {
    return file === undefined ? undefined : planGrant(readCard(file).card, row ?? undefined)
  } catch {
    return undefined
  }
}

export const resolve: Run = async ({ hub, json, terminal }, [name = '']) => {
  const { agent, row = null, lacks } = await named(hub, name, hub.call('agent.show', { name }))
  if (lacks === undefined)
    throw new Problem('conflict', 'refused', 'the hub that runs is older than this command', '`hub restart`')
  const features = NAMES.filter((each) => canDo(agent.driver, each))
  const rights = rightsOf(agent.card, row)
  const notes = floorNotes(agent.packages ?? [])
  if (json) {
    terminal.json({ agent, driver: { name: agent.driver, features }, row, rights: rights?.rows ?? null, notes, lacks })
    return EXIT.done
  }
  const more: [string, Cell][] = [
    ['it runs', DRIVERS[agent.driver].how],
    ['its driver', features.map((each) => FEATURES[each]).join('; ') || 'has no features'],
  ]
  terminal.out(facts([...agentRows(agent), ...more], terminal.paint))
  if (rights === undefined) terminal.note('what it may do is not shown: its card cannot be read any more')
  else {
    terminal.out(`\n${planText(rights, terminal.paint)}`)
    for (const note of rights.notes) terminal.note(note)
  }
  for (const note of notes) terminal.note(clean(note))
  const missing = lacks.map(({ what, mend }) => clean(`missing: ${what}: ${mend}`))
  terminal.out(missing.length === 0 ? '\nnothing keeps it from starting' : `\n${missing.join('\n')}`)
  return EXIT.done
}
