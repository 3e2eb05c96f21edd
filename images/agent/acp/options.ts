/**
 * Which of the options that an agent offers answers its question about a tool (docs/permissions.md). Pure.
 *
 * 1. Only what was offered is chosen, and only by a name that means one thing.
 * 2. A yes is for this once: one that the agent would remember takes the next question away from the rules. Where nothing else is offered, it is a no.
 */
import { type Fields, listOf, textOf } from '../stream-events.ts'

/** What the protocol calls an answer. `cancelled` is also the no where no option says it. */
export type Outcome = { outcome: 'selected'; optionId: string } | { outcome: 'cancelled' }

const WANTED = { yes: ['allow_once'], no: ['reject_once', 'reject_always'] } as const

export function chooseOption(options: unknown, isAllowed: boolean): Outcome & { remark?: string } {
  const offered = listOf(options)
  const named = (option: Fields) => typeof option.optionId === 'string' && option.optionId !== ''
  const isOne = ({ optionId }: Fields) => offered.filter((other) => other.optionId === optionId).length === 1
  const pick = (kinds: readonly string[]): Outcome | undefined => {
    const found = kinds.flatMap((kind) =>
      offered.filter((option) => option.kind === kind && named(option) && isOne(option)),
    )
    return found[0] === undefined ? undefined : { outcome: 'selected', optionId: textOf(found[0].optionId) }
  }
  const refusal = pick(WANTED.no) ?? { outcome: 'cancelled' }
  if (!isAllowed) return refusal
  return pick(WANTED.yes) ?? { ...refusal, remark: 'it offers no yes for this once alone, so the answer is no' }
}
