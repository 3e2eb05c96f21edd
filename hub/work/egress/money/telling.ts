/** What follows when a limit on money is passed: whoever has to is told, and where more may be given, a person is asked. */
import type { Grant } from '../../../guard/grant.ts'
import { usdWritten } from '../../../protocol/dollars.ts'
import { createMoneyAsking, type MoneyAskingParts } from './asking.ts'
import type { Crossing } from './limits.ts'
import { createWarnings, type WarningParts } from './warnings.ts'

export function createTelling(parts: WarningParts & MoneyAskingParts) {
  const tell = createWarnings(parts)
  const asking = createMoneyAsking(parts)
  return {
    /** Tells of marks, and asks where one is to be asked about. Answers words for the record. */
    warn(grant: Grant, crossings: readonly Crossing[]): string {
      const words = crossings.flatMap((each) => {
        tell(each)
        const { scope, mark, limitUsd } = each
        return [
          `${mark === 'soft' ? 'the soft limit' : `${mark} %`} of ${scope} (${usdWritten(limitUsd)}) is used`,
          asking.ask(grant, each),
        ]
      })
      return words.filter((each) => each !== '').join('; ')
    },
    settle: asking.settle,
  }
}
