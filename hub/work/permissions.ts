/**
 * Whether a tool may be used at once, not at all, or only if a person says so (docs/permissions.md). Pure.
 *
 * T1. A no of the rules, or of a card that says `deny`, is a no.
 * T2. A person decides about whatever is destructive or reaches outside, whatever card and rules say (S4-28). A kind that nobody knows counts
 *     as the highest (tools.ts).
 * T3. Below that the card decides. `ask`: a person, each time. `allow`: as the rules say. `bypass`: a yes, also where a rule asks; it needs
 *     its own line in the row of the agent (relax.ts).
 */
import type { Tier } from '../protocol/approval.ts'
import { isAlwaysAsked, type Permissions } from '../protocol/tools.ts'

export type Verdict = 'allow' | 'ask' | 'deny'

export function decidePermission(
  mode: Permissions,
  tier: Tier,
  /** What the rules say: those of the hub and the operator's own together. */
  rules: Verdict,
): { verdict: Verdict; why: string } {
  if (rules === 'deny') return { verdict: 'deny', why: 'the rules refuse it' }
  if (mode === 'deny') return { verdict: 'deny', why: 'its card says permissions: deny' }
  if (isAlwaysAsked(tier)) return { verdict: 'ask', why: `a tool of tier ${tier} is always asked about` }
  if (mode === 'ask') return { verdict: 'ask', why: 'its card says permissions: ask' }
  if (rules === 'allow') return { verdict: 'allow', why: `its card says permissions: ${mode}, and the rules allow it` }
  return mode === 'bypass'
    ? { verdict: 'allow', why: 'its card and its row say permissions: bypass, although a rule asks' }
    : { verdict: 'ask', why: 'a rule asks' }
}
