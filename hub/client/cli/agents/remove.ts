/**
 * `hub agent remove NAME`: removes its grant, its card, the schemas that no other card names, its image, and its own limits in hub.yaml.
 * One that was never built has no card: then what `hub agent new` wrote of it goes. Its tasks and records stay.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { nameShape } from '../../../protocol/ids.ts'
import { EXIT, Problem, toProblem, usage } from '../../problem.ts'
import type { Context, Run } from '../context.ts'
import { removeImage } from '../engine.ts'
import { pathsOf } from '../home.ts'
import { keepInHistory, writeWhole } from '../home-files.ts'
import { configFileOf, configText, faultsText, judge } from '../setup/judge.ts'
import { clean } from '../text.ts'
import { dataFileOf, replacePolicy } from './allow.ts'
import { CHECKOUT, cardFileOf, countingCard, readCard } from './folder.ts'
import { readPolicy, withEntry } from './grants.ts'
import { withoutLimits } from './recipes/plan.ts'

/** Schemas that no other card names, relative to agents/. */
function ownSchemas(agents: string, file: string): string[] {
  const { card } = readCard(file)
  const named = [...Object.values(card.messages.sends), ...Object.values(card.messages.receives)]
  const others = readdirSync(agents)
    .filter((each) => each.endsWith('.yaml') && each !== path.basename(file))
    .map((each) => readFileSync(path.join(agents, each), 'utf8'))
  return [...new Set(named.filter((each) => each !== null))].filter(
    (each) => !others.some((text) => text.includes(each)),
  )
}

/** The grant goes first: from then on nothing of it starts, even if the rest fails. Returns whether there was one. */
async function removeGrant(context: Context, name: string): Promise<boolean> {
  const file = dataFileOf(context.home)
  const before = readFileSync(file)
  const policy = readPolicy(before, file)
  if (!Object.hasOwn(policy.agents, name)) return false
  const after = withEntry(policy, name, undefined)
  await replacePolicy(context, { before, after, reason: `hub agent remove ${name}`, history: true })
  return true
}

function hasGrant(home: string, name: string): boolean {
  const file = dataFileOf(home)
  return Object.hasOwn(readPolicy(readFileSync(file), file).agents, name)
}

/** After its card: one that asks for more than hub.yaml allows would not load. Returns whether there were any that are gone now. */
async function removeLimits({ home, terminal }: Context, name: string): Promise<boolean> {
  const after = withoutLimits(configText(home).toString('utf8'), name)
  if (after === undefined) return false
  const { faults } = await judge('config', home, after)
  if (faults.length === 0) writeWhole(configFileOf(home), after)
  else terminal.note(clean(`limits.agents.${name} stays: ${faultsText(configFileOf(home), faults)}`))
  return faults.length === 0
}

export const remove: Run = async (context, [name = ''], options) => {
  const { home, hub, json, terminal } = context
  const agents = path.join(home, 'agents')
  const file = cardFileOf(home, name)
  const isName = nameShape.safeParse(name).success
  const hasCard = isName && existsSync(file)
  const hasRow = isName && hasGrant(home, name)
  const hasLimits = isName && withoutLimits(configText(home).toString('utf8'), name) !== undefined
  if (!hasCard) {
    const other = isName ? countingCard(home, name) : undefined
    if (other !== undefined)
      throw usage(`the card of ${name} is ${other}, which is not of this home`, `\`hub agent suspend ${name}\``)
    if (!isName || !(hasLimits || hasRow))
      throw usage(`agent ${name} has no card in the home`, '`hub agent list` shows all agents')
  }
  const listing = await hub.call('agent.list')
  const running = listing.agents.find((each) => each.name === name)?.sessions ?? 0
  if (running > 0) {
    const next = `\`hub session stop --agent ${name}\`, then again`
    throw new Problem('conflict', 'refused', `${running} sessions of ${name} are running`, next)
  }
  const schemas = hasCard ? ownSchemas(agents, file) : []
  const others = listing.agents.filter((each) => each.name !== name && each.image === `hub/${name}`)
  const hasImage = hasCard && others.length === 0 && !existsSync(path.join(CHECKOUT, 'images', name))
  const parts = [
    ...(hasCard ? ['card', ...schemas] : []),
    ...(hasRow ? ['grant'] : []),
    ...(hasImage ? [`image hub/${name}`] : []),
    ...(hasLimits ? [`limits.agents.${name} in hub.yaml`] : []),
  ]
  if (!(await terminal.confirm(`remove ${name} (${parts.join(', ')})?`, options.yes === true))) {
    terminal.note('nothing was removed')
    return EXIT.refused
  }
  const granted = await removeGrant(context, name)
  const ofCard = hasCard ? [file, ...schemas.map((each) => path.join(agents, each))] : []
  const before = ofCard.map((each) => [each, readFileSync(each)] as const)
  for (const [each] of before) rmSync(each, { force: true })
  try {
    await hub.call('agent.reload')
  } catch (error) {
    for (const [each, text] of before) writeWhole(each, text)
    const { code, kind, message, next } = toProblem(error)
    throw new Problem(code, kind, `the hub did not read the cards: ${message}; the card is unchanged`, next)
  }
  if (hasCard) keepInHistory(agents, [`${name}.yaml`, ...schemas], `hub agent remove ${name}`)
  const limits = await removeLimits(context, name)
  const left = hasImage ? await removeImage(pathsOf(home), `hub/${name}`) : undefined
  if (left !== undefined) terminal.note(`could not remove its image hub/${name}: ${clean(left)}`)
  if (json) terminal.json({ agent: name, granted, schemas, imageRemoved: hasImage && left === undefined, limits })
  else terminal.out(`${name} is removed; its tasks and its records stay`)
  return EXIT.done
}
