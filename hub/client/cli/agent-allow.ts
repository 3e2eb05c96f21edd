/** `hub agent allow`: what an agent wishes and is granted, the difference, and after one yes the rules' data with it. */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { operationOf } from '../../protocol/operations.ts'
import { EXIT, Problem, toProblem, usage } from '../problem.ts'
import { cardFileOf, checkName, readCard } from './agent-folder.ts'
import type { Context, Run } from './context.ts'
import { type GrantPlan, planGrant, readPolicy, withEntry } from './grants.ts'
import { keepInHistory, writeWhole } from './home-files.ts'
import { requirePolicy } from './judge.ts'
import { type Cell, columns, type Paint } from './text.ts'

export const dataFileOf = (home: string): string => path.join(home, 'policy', 'data.json')

/** Why the rules are read again, in the audit record where the operation takes a reason. */
export async function reloadPolicy({ hub }: Context, reason: string): Promise<void> {
  const named = { reason }
  const taken = operationOf('policy.reload')?.request.safeParse(named).success === true
  await hub.call('policy.reload', taken ? named : {})
}

/**
 * Writes the rules' data and has the hub read it. `history` commits it where the folder is a repository.
 * @throws Problem where the file has changed since `before`, or the hub refuses it; then the former text stands again
 */
export async function replacePolicy(
  context: Context,
  change: { before: Uint8Array; after: string; reason: string; history: boolean },
): Promise<{ committed: boolean }> {
  const file = dataFileOf(context.home)
  if (!readFileSync(file).equals(change.before)) {
    throw new Problem('conflict', 'refused', `${file} has changed meanwhile`, 'run it again')
  }
  await requirePolicy(context.home, change.after)
  const keep = (message: string) => change.history && keepInHistory(path.dirname(file), ['data.json'], message)
  writeWhole(file, change.after)
  const committed = keep(change.reason)
  try {
    await reloadPolicy(context, change.reason)
  } catch (error) {
    writeWhole(file, change.before)
    keep(`${change.reason}: refused, as it was before`)
    // The rules too, so that nothing is left of what was refused (fault C36).
    await reloadPolicy(context, `${change.reason}: refused, as it was before`).catch(() => {})
    const { code, kind, message, next, facts } = toProblem(error)
    throw new Problem(code, kind, `the hub did not take it: ${message}; ${file} is as it was`, next, facts)
  }
  return { committed }
}

const changeCell = (change: string): Cell => (change === '' ? '' : { text: change, style: 'yellow' })

export const planText = ({ rows }: GrantPlan, paint: Paint): string =>
  columns(
    ['RIGHT', 'WISH (card)', 'GRANT (policy/data.json)', 'CHANGE'],
    rows.map(({ right, wish, grant, change }) => [right, wish, grant, changeCell(change)]),
    paint,
  )

export const allow: Run = async (context, [given = ''], options) => {
  const { home, hub, json, terminal } = context
  const name = checkName(given)
  if (!existsSync(cardFileOf(home, name))) throw usage(`no card of ${name} in the home`, `\`hub agent build ${name}\``)
  const { card } = readCard(cardFileOf(home, name))
  const file = dataFileOf(home)
  const before = readFileSync(file)
  const policy = readPolicy(before, file)
  const plan = planGrant(card, Object.hasOwn(policy.agents, name) ? policy.agents[name] : undefined)
  const view = { agent: name, rows: plan.rows, notes: plan.notes, entry: plan.entry }
  if (!json) terminal.out(planText(plan, terminal.paint))
  for (const note of plan.notes) terminal.note(note)
  if (!plan.changed || options.dryRun === true) {
    if (json) terminal.json({ ...view, written: false })
    else terminal.out(plan.changed ? 'nothing was written' : `${name} has what it wishes; nothing to write`)
    return EXIT.done
  }
  // The hub judges and records it, so it must be there before anybody is asked.
  await hub.call('policy.status')
  if (!(await terminal.confirm(`write this to ${file}?`, options.yes === true))) {
    terminal.note('nothing was written')
    return EXIT.refused
  }
  const after = withEntry(policy, name, plan.entry)
  const { committed } = await replacePolicy(context, {
    before,
    after,
    reason: `hub agent allow ${name}`,
    history: true,
  })
  if (json) terminal.json({ ...view, written: true, committed })
  else terminal.out(`written and in force${committed ? ', committed' : ''}\nnext: \`hub submit ${name}\``)
  return EXIT.done
}
