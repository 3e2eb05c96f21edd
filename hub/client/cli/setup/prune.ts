/** `hub prune`: deletes what is finished and old enough, in turns; with `--dry-run` only counts it. */
import type { Pruned } from '../../answers.ts'
import { EXIT, usage } from '../../problem.ts'
import { type Context, given, type Run, spanOption } from '../context.ts'
import { facts, sizeText } from '../text.ts'

const DAY_MS = 86_400_000
const COUNT_MS = 600_000

const KINDS: readonly (readonly [label: string, count: keyof Pruned, bytes?: keyof Pruned])[] = [
  ['tasks', 'tasks'],
  ['sessions', 'sessions'],
  ['artifacts', 'artifacts', 'artifactBytes'],
  ['evidence', 'evidence', 'evidenceBytes'],
  ['logs', 'logs', 'logBytes'],
  ['kept aside', 'copies', 'copyBytes'],
  ['alerts', 'alerts'],
]

/** One line for each kind, and the sum of all bytes. */
export function prunedRows(pruned: Pruned): [string, string][] {
  const rows = KINDS.map(([label, count, bytes]): [string, string] => [
    label,
    bytes === undefined ? String(pruned[count]) : `${pruned[count]}, ${sizeText(pruned[bytes])}`,
  ])
  const bytes = pruned.artifactBytes + pruned.evidenceBytes + pruned.logBytes + pruned.copyBytes
  return [...rows, ['all files', sizeText(bytes)]]
}

const KEYS = KINDS.flatMap(([, count, bytes]) => (bytes === undefined ? [count] : [count, bytes]))

/** In turns, so that Ctrl-C or a refusal can end it; what was deleted until then is reported. */
async function pruneAll({ hub, terminal }: Context, olderThanMs: number | undefined): Promise<Pruned> {
  const sum = Object.fromEntries(KEYS.map((key) => [key, 0])) as Record<keyof Pruned, number>
  const said = () => `${sum.tasks} tasks, ${sum.artifacts} artifacts`
  try {
    for (let more = true, isFirst = true; more; isFirst = false) {
      const turn = await hub.call('retention.prune', given({ olderThanMs, isFirst }))
      for (const key of KEYS) sum[key] += turn[key]
      more = turn.more
      terminal.live(`pruned ${said()}`)
    }
    return sum
  } catch (error) {
    if (KEYS.some((key) => sum[key] > 0)) terminal.note(`pruned before that: ${said()}`)
    throw error
  } finally {
    terminal.live('')
  }
}

export const prune: Run = async (context, _, options) => {
  const { hub, json, terminal } = context
  const olderThanMs = spanOption('--older-than', options.olderThan)
  if (olderThanMs !== undefined && olderThanMs < DAY_MS)
    throw usage(`--older-than: ${String(options.olderThan)} would delete nearly everything; write at least 1d`)
  if (options.dryRun === true) {
    const seen = await hub.call('retention.show', given({ olderThanMs }), { deadlineMs: COUNT_MS })
    if (json) terminal.json({ dryRun: true, ...seen })
    else {
      terminal.out(facts(prunedRows(seen), terminal.paint))
      if (seen.atLeast) terminal.note('there is more than was counted')
      terminal.note('nothing was deleted; run `hub prune` to delete it')
    }
    return EXIT.done
  }
  const pruned = await pruneAll(context, olderThanMs)
  if (json) terminal.json({ dryRun: false, ...pruned })
  else {
    terminal.out(facts(prunedRows(pruned), terminal.paint))
    terminal.note('the database file keeps its size; its free space is used again')
  }
  return EXIT.done
}
