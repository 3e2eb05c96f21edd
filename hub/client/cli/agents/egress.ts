/** `hub egress`: what agents were refused outside, and permitting exactly one of these. */
import { readFileSync } from 'node:fs'
import { isHeld } from '../../../protocol/egress/grants.ts'
import type { Answered } from '../../answers.ts'
import { EXIT, Problem, usage } from '../../problem.ts'
import type { Run } from '../context.ts'
import { clean, columns, type Paint } from '../text.ts'
import { dataFileOf, replacePolicy } from './allow.ts'
import { countingCard, readCard } from './folder.ts'
import { readPolicy, withEntry } from './grants.ts'

type Proposal = Answered<'egress.proposals'>['proposals'][number]

const table = (proposals: readonly Proposal[], paint: Paint): string =>
  columns(
    ['ID', 'AGENT', 'WAS REFUSED', 'CLASS', 'TIMES', 'LAST'],
    proposals.map(({ id, agent, upstream, class: kind, count, lastAtMs }) => [
      ...[String(id), agent, clean(upstream), kind, String(count), new Date(lastAtMs).toISOString().slice(0, 16)],
    ]),
    paint,
  )

export const proposals: Run = async ({ hub, json, terminal }) => {
  const answer = await hub.call('egress.proposals')
  if (json) terminal.json(answer)
  else if (answer.proposals.length === 0) terminal.out('no agent was refused anything outside')
  else
    terminal.out(
      `${table(answer.proposals, terminal.paint)}\nnext: \`hub egress allow ID\` permits one of them, after a yes`,
    )
  return EXIT.done
}

export const allow: Run = async (context, [given = ''], options) => {
  const { home, hub, json, terminal } = context
  const found = (await hub.call('egress.proposals')).proposals.find(({ id }) => String(id) === given)
  if (found === undefined) throw usage(`there is no proposal ${JSON.stringify(given)}`, '`hub egress proposals`')
  const { agent, grant } = found
  const file = dataFileOf(home)
  const before = readFileSync(file)
  const policy = readPolicy(before, file)
  const entry = Object.hasOwn(policy.agents, agent) ? policy.agents[agent] : undefined
  if (entry === undefined)
    throw new Problem('conflict', 'refused', `${agent} has no row in ${file}`, `\`hub agent allow ${agent}\``)
  const granted = Array.isArray(entry.egress) ? entry.egress.filter((each) => typeof each === 'string') : []
  const view = { ...found, file }
  if (!json) terminal.out(`${file}: agents.${agent}.egress + ${JSON.stringify(grant)}`)
  const its = countingCard(home, agent)
  const card = its === undefined ? undefined : readCard(its).card
  if (card === undefined || !isHeld(grant, card.may.egress))
    terminal.note(
      `the card of ${agent} does not ask for it: add ${JSON.stringify(grant)} to may.egress there, or it has no effect`,
    )
  await hub.call('policy.status')
  if (!(await terminal.confirm(`write this to ${file}?`, options.yes === true))) {
    terminal.note('nothing was written')
    return EXIT.refused
  }
  const { committed } = await replacePolicy(context, {
    before,
    after: withEntry(policy, agent, { ...entry, egress: [...granted, grant] }),
    reason: `hub egress allow: ${grant} for ${agent}`,
    history: true,
  })
  if (json) terminal.json({ ...view, written: true, committed })
  else terminal.out(`written and in force for sessions that begin from now on${committed ? ', committed' : ''}`)
  return EXIT.done
}
