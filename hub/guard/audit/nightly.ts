/**
 * The whole audit log looked through once a night (safety.md section 3, S1-64): a page a turn, so that nothing waits for it, and the newest
 * signed checkpoint against it, so that a cut tail is seen too (X14). What it finds is what `hub audit verify` finds.
 */
import { type ChainFault, GENESIS } from '../../protocol/audit-chain.ts'
import type { Checkpoints } from './checkpoint.ts'
import type { AuditLog } from './log.ts'

/** One walk; answers the first fault, or null for a whole log. `turn` resolves when others have had theirs. */
export async function walkAudit(parts: {
  audit: Pick<AuditLog, 'look'>
  checkpoints: Pick<Checkpoints, 'forWitness'>
  hashAt: (seq: number) => string | undefined
  turn: () => Promise<void>
}): Promise<ChainFault | null> {
  const { audit, checkpoints, hashAt, turn } = parts
  const walk = { size: 0, head: GENESIS }
  for (let found = audit.look(walk); found !== undefined; found = audit.look(walk)) {
    if (found !== 'more') return found
    await turn()
  }
  const [signed] = checkpoints.forWitness(0)
  if (signed === undefined || hashAt(signed.size) === signed.head) return null
  return { seq: signed.size, reason: 'it is gone, or not the record that was signed' }
}
