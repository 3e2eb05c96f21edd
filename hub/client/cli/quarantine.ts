/** `hub session quarantine`: what was kept, what is withheld, and who had read of it. */
import { EXIT } from '../problem.ts'
import type { Run } from './context.ts'
import { clean, sizeText } from './text.ts'

interface Quarantined {
  task: string
  evidence: {
    folder: string | null
    files: { name: string; bytes: number; cut: boolean }[]
    faults: { part: string; reason: string }[]
  }
  withheld: { name: string; sha256: string }[] | null
  consumers: { session: string; agent: string | null; task: string | null; artifacts: string[] }[]
}

export const quarantine: Run = async ({ hub, json, terminal }, [id = '']) => {
  const answer = (await hub.call('session.quarantine', { id }, { deadlineMs: 60_000 })) as Quarantined
  const { evidence, withheld, consumers, task } = answer
  if (json) terminal.json(answer)
  else {
    terminal.out(`${id} is quarantined; its task ${task} failed`)
    terminal.out(evidence.folder === null ? 'no evidence could be kept' : `evidence: ${clean(evidence.folder)}`)
    for (const { name, bytes, cut } of evidence.files)
      terminal.out(`  ${clean(name)}  ${sizeText(bytes)}${cut ? ' (cut)' : ''}`)
    terminal.out(
      withheld === null
        ? 'the database cannot be written: its container is gone, its artifacts are not withheld yet; do it again later'
        : `${withheld.length} artifacts are withheld; \`hub artifact list --task ${task} --quarantined\` shows them`,
    )
    for (const each of consumers)
      terminal.out(`  read by ${each.agent ?? 'an agent'} in ${each.session}, task ${each.task ?? '?'}`)
  }
  for (const { part, reason } of evidence.faults) terminal.note(`not captured: ${part}: ${reason}`)
  return EXIT.done
}
