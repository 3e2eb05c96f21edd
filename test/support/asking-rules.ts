/** Rules of the operator's own that ask: in the place of a rule in `policy/*.rego`, put before the shipped ones. */
import type { Guard } from '../../hub/guard/guard.ts'
import type { PolicyInput } from '../../hub/guard/policy/engine.ts'

/** From now on the rules ask (or refuse) where `why` gives a reason, if the shipped ones allow it; after each reload too, and anew after a restart. */
export function askWhere(
  { policy, decisions }: Pick<Guard, 'policy' | 'decisions'>,
  why: (input: PolicyInput) => string | undefined,
  effect: 'ask' | 'deny' = 'ask',
): void {
  const seen = new WeakSet<object>()
  const { active } = policy
  policy.active = () => {
    const now = active()
    if (seen.has(now)) return now
    seen.add(now)
    const { engine } = now
    const { evaluate } = engine
    engine.evaluate = (text) => {
      const verdict = evaluate(text)
      const reason = verdict.effect === 'allow' ? why(JSON.parse(text) as PolicyInput) : undefined
      return reason === undefined ? verdict : { ...verdict, effect, reason, rule: 'hub.home.asks' }
    }
    return now
  }
  decisions.forget()
}
