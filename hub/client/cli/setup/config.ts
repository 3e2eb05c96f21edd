/** `hub config show` and `hub config diff`: what is in force, key by key, and what the file says otherwise. */
import type { ConfigKey } from '../../../protocol/views-guard.ts'
import { EXIT, toProblem } from '../../problem.ts'
import type { Context, Run } from '../context.ts'
import { clean, columns } from '../text.ts'
import { askProgram, configText, program } from './judge.ts'

interface Shown {
  fault: string | null
  keys: readonly ConfigKey[]
}
const WHEN: Readonly<Record<ConfigKey['live'], string>> = {
  now: 'at once',
  next: 'for what begins later',
  restart: 'after hub restart',
}
const cellOf = (text: string) => (text === '' ? '-' : clean(text))

/** What the hub has in force, or, if none runs, what the file says. */
async function shown({ hub, home, terminal }: Context): Promise<Shown> {
  try {
    return await hub.call('config.show')
  } catch (thrown) {
    if (toProblem(thrown).code !== 'unreachable') throw thrown
    terminal.note('the hub does not run; this is what the file says')
    return askProgram<Shown>([program('hub/judge.ts'), 'show', '--home', home], configText(home))
  }
}

function sayFault({ terminal }: Context, fault: string | null): void {
  if (fault !== null) terminal.note(clean(`note: hub.yaml is not accepted, and changes nothing: ${fault}`))
}

export const configShow: Run = async (context, _, { changed }) => {
  const { json, terminal } = context
  const answer = await shown(context)
  const keys = changed === true ? answer.keys.filter(({ source }) => source !== 'default') : answer.keys
  if (json) terminal.json({ ...answer, keys })
  else {
    const rows = keys.map(({ key, value, source, live }) => [key, cellOf(value), source, WHEN[live]])
    if (answer.keys.length > 0)
      terminal.out(
        rows.length === 0
          ? 'every key has its default'
          : columns(['KEY', 'VALUE', 'FROM', 'A CHANGE COUNTS'], rows, terminal.paint),
      )
    sayFault(context, answer.fault)
  }
  return EXIT.done
}

/** Ends as refused if the file is not accepted: then nothing can be compared. */
export const configDiff: Run = async (context) => {
  const { json, terminal } = context
  const { fault, keys } = await shown(context)
  const other = keys.filter(({ file }) => file !== null)
  if (json) terminal.json({ fault, keys: other })
  else {
    const rows = other.map(({ key, value, file, live }) => [key, cellOf(value), cellOf(file ?? ''), WHEN[live]])
    if (rows.length > 0) terminal.out(columns(['KEY', 'IN FORCE', 'IN THE FILE', 'COUNTS'], rows, terminal.paint))
    else if (fault === null) terminal.out('what the file says is in force')
    sayFault(context, fault)
  }
  return fault === null ? EXIT.done : EXIT.refused
}
