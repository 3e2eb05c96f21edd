/** `hub agent allow`: shows what a card asks for and what is granted; after one yes it writes the difference into policy/data.json. */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { operationOf } from '../../../protocol/operations.ts'
import { EXIT, Problem, toProblem, usage } from '../../problem.ts'
import type { Context, Run } from '../context.ts'
import { keepInHistory, writeWhole } from '../home-files.ts'
import { requirePolicy, sealPolicy } from '../setup/judge.ts'
import { type Cell, columns, type Paint } from '../text.ts'
import { checkName, countingCard, readCard, submitStep } from './folder.ts'
import { type GrantPlan, planGrant, readPolicy, withEntry } from './grants.ts'

const manifestOf = (home: string): string => path.join(home, 'policy', 'bundle.json')
export const dataFileOf = (home: string): string => path.join(home, 'policy', 'data.json')

/** Has the hub read the rules again. The reason goes into the audit record, if the operation takes one. */
export async function reloadPolicy({ home, hub }: Context, reason: string): Promise<void> {
  // Where a manifest names the data by its digest, it must name the new one.
  if (existsSync(manifestOf(home))) await sealPolicy(home)
  const named = { reason }
  const taken = operationOf('policy.reload')?.request.safeParse(named).success === true
  await hub.call('policy.reload', taken ? named : {})
}

/**
 * Writes the rules' data and has the hub read it. `history` commits it where the folder is a repository.
 * @throws Problem if the file has changed since `before`, or if the hub refuses it; the old text is then put back
 */
export async function replacePolicy(
  context: Context,
  change: { before: Uint8Array; after: string; reason: string; history: boolean },
): Promise<{ committed: boolean }> {
  const file = dataFileOf(context.home)
  if (!readFileSync(file).equals(change.before)) {
    throw new Problem('conflict', 'refused', `${file} was changed in the meantime`, 'run it again')
  }
  await requirePolicy(context.home, change.after)
  const manifest = manifestOf(context.home)
  const sealed = existsSync(manifest) ? readFileSync(manifest) : undefined
  const kept = sealed === undefined ? ['data.json'] : ['data.json', 'bundle.json']
  const keep = (message: string) => change.history && keepInHistory(path.dirname(file), kept, message)
  writeWhole(file, change.after)
  const committed = keep(change.reason)
  try {
    await reloadPolicy(context, change.reason)
  } catch (error) {
    writeWhole(file, change.before)
    if (sealed !== undefined) writeWhole(manifest, sealed)
    keep(`${change.reason}: refused and put back`)
    // The hub must read the old rules again, so that nothing is left of the refused ones (fault C36).
    await reloadPolicy(context, `${change.reason}: refused and put back`).catch(() => {})
    const { code, kind, message, next, facts } = toProblem(error)
    throw new Problem(code, kind, `the hub refused it: ${message}; ${file} is unchanged`, next, facts)
  }
  return { committed }
}

const changeCell = (change: string): Cell => (change === '' ? '' : { text: change, style: 'yellow' })

export const planText = ({ rows }: GrantPlan, paint: Paint): string =>
  columns(
    ['RIGHT', 'CARD ASKS FOR', 'GRANTED (policy/data.json)', 'CHANGE'],
    rows.map(({ right, wish, grant, change }) => [right, wish, grant, changeCell(change)]),
    paint,
  )

export const allow: Run = async (context, [given = ''], options) => {
  const { home, hub, json, terminal } = context
  const name = checkName(given)
  const found = countingCard(home, name)
  if (found === undefined) throw usage(`agent ${name} has no card`, `\`hub agent build ${name}\``)
  const { card } = readCard(found)
  const file = dataFileOf(home)
  const before = readFileSync(file)
  const policy = readPolicy(before, file)
  const plan = planGrant(card, Object.hasOwn(policy.agents, name) ? policy.agents[name] : undefined)
  const view = { agent: name, rows: plan.rows, notes: plan.notes, entry: plan.entry }
  if (!json) terminal.out(planText(plan, terminal.paint))
  for (const note of plan.notes) terminal.note(note)
  if (!plan.changed || options.dryRun === true) {
    if (json) terminal.json({ ...view, written: false })
    else
      terminal.out(plan.changed ? 'nothing was written' : `${name} has everything its card asks for; nothing to write`)
    return EXIT.done
  }
  // The hub checks and records the change, so it must answer before a person is asked.
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
  else terminal.out(`written and in force${committed ? ', committed' : ''}\nnext: \`${submitStep(card)}\``)
  return EXIT.done
}
