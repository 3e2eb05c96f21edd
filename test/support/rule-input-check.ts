/** Every question to the rules that a scenario asks is parsed by the shape of what a rule sees (`hub/protocol/rule-input.ts`), strictly. */
import type { Decisions } from '../../hub/guard/policy/decisions.ts'
import { ruleInputShape } from '../../hub/protocol/rule-input.ts'

/** What did not fit from now on, each once. */
export function watchInputs(decisions: Decisions): ReadonlySet<string> {
  const odd = new Set<string>()
  for (const name of ['decide', 'decideUnwritten'] as const) {
    const ask = decisions[name]
    decisions[name] = (input, late) => {
      const parsed = ruleInputShape.safeParse(JSON.parse(JSON.stringify(input)))
      for (const { path, message } of parsed.error?.issues ?? [])
        odd.add(`the rules are asked about ${input.operation} with ${path.join('.')}: ${message} (rule-input.ts)`)
      return ask(input, late)
    }
  }
  return odd
}
