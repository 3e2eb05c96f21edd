/**
 * The operator's own rules beside the shipped ones (package `hub.home`): they can refuse, ask or narrow, and never allow (T20).
 *
 * O1. Their whole answer is reasons to deny, reasons to ask, and limits. There is no word in it that could allow, so whatever they say, the
 *     combined answer is never wider than that of the shipped rules: allow < ask < deny, the narrower limit wins.
 * O2. They are asked only after the shipped rules did not refuse. An answer of another form is a refusal, and a fault.
 * O3. They are not asked about what the operator may do without any rules, so they cannot shut the operator out of reading and repairing.
 */
import { narrow as egressOfBoth } from '../../protocol/egress/grants.ts'
import {
  createInstances,
  type Engine,
  type Narrowing,
  narrowingOf,
  type PolicyInstance,
  type Verdict,
} from './engine.ts'
import { isPlain } from './no-rules.ts'

const REASONS_MAX = 32
const REASON_CHARS_MAX = 500
const RESULT_VERSION = 1
const DENY = 'hub.home.deny'

const isReason = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= REASON_CHARS_MAX

export interface HomeAnswer {
  deny: readonly string[]
  ask: readonly string[]
  narrow: readonly Narrowing[]
}

/** Pure: a result set of the operator's module as an answer, or the reason why it is none. */
export function judgeHomeResult(resultSet: unknown): HomeAnswer | string {
  const one = Array.isArray(resultSet) && resultSet.length === 1 ? (resultSet[0] as { result?: unknown } | null) : null
  const result = one?.result
  if (typeof result !== 'object' || result === null || Array.isArray(result))
    return "the operator's rules answered with no single document"
  const { version, deny, ask, narrow, ...more } = result as Record<string, unknown>
  if (version !== RESULT_VERSION || Object.keys(more).length > 0)
    return "the operator's rules answered in an unknown version"
  for (const [name, value] of Object.entries({ deny, ask })) {
    if (!Array.isArray(value) || !value.every(isReason))
      return `${name} in the operator's rules must be a set of reasons: \`${name} contains "why" if { ... }\``
    if (value.length > REASONS_MAX)
      return `the operator's rules gave ${value.length} reasons in ${name}, more than ${REASONS_MAX}`
  }
  if (!Array.isArray(narrow) || narrow.length > REASONS_MAX)
    return "narrow in the operator's rules must be a set of 32 limits at most"
  const limits = narrow.map(narrowingOf)
  if (limits.some((limit) => limit?.relax !== undefined))
    return "the operator's rules narrowed `relax`: a session has what its card names of it or does not begin, so deny instead (input.resource.wanted.relax)"
  if (limits.some((limit) => limit === undefined))
    return "the operator's rules narrowed in an unknown way: only ttlMs, capabilities, egress and agents can be narrowed"
  return { deny: deny as string[], ask: ask as string[], narrow: limits as Narrowing[] }
}

const both = (one: readonly string[] | undefined, other: readonly string[] | undefined) =>
  one === undefined ? other : other === undefined ? one : one.filter((each) => other.includes(each))

/** What the answer of the shipped rules must narrow, where the operator's rules narrow this. */
const DISPATCHED = { capabilities: 'capabilities', ttlMs: 'ttlMs', egress: 'ttlMs' } as const

/** What is within both. Pure. */
function narrower(one: Narrowing, other: Narrowing): Narrowing {
  const narrow: Narrowing = {}
  const capabilities = both(one.capabilities, other.capabilities)
  const agents = both(one.agents, other.agents)
  const egress = one.egress && other.egress ? egressOfBoth(one.egress, other.egress) : (one.egress ?? other.egress)
  const ttlMs = Math.min(one.ttlMs ?? Number.POSITIVE_INFINITY, other.ttlMs ?? Number.POSITIVE_INFINITY)
  if (capabilities !== undefined) narrow.capabilities = [...capabilities]
  if (agents !== undefined) narrow.agents = [...agents]
  if (egress !== undefined) narrow.egress = [...egress]
  // Only the shipped rules name it: the operator's can deny, and leave it as it is.
  if (one.relax !== undefined) narrow.relax = [...one.relax]
  if (Number.isFinite(ttlMs)) narrow.ttlMs = ttlMs
  return narrow
}

const deny = (reason: string, isFault = false): Verdict => ({
  effect: 'deny',
  reason,
  rule: isFault ? 'hub.guard.fault' : DENY,
  fault: isFault,
})

/**
 * The strictest of both answers. Pure. `shipped` is no denial. `agent`: the one the question names, if any.
 * A limit that nothing would apply is a fault, so it is never accepted and ignored.
 */
export function combine(shipped: Verdict, home: HomeAnswer, agent: string | undefined): Verdict {
  if (home.deny.length > 0) return deny(home.deny.join('; '))
  if (home.ask.length === 0 && home.narrow.length === 0) return shipped
  let limits: Narrowing = shipped.narrow ?? {}
  for (const limit of home.narrow) {
    if (limit.agents !== undefined && shipped.narrow?.agents === undefined) {
      if (agent === undefined) return deny("the operator's rules narrow `agents` where no agent is chosen", true)
      if (!limit.agents.includes(agent)) return deny(`the operator's rules do not let agent ${agent} do this`)
    }
    for (const key of ['capabilities', 'ttlMs', 'egress'] as const)
      if (limit[key] !== undefined && shipped.narrow?.[DISPATCHED[key]] === undefined)
        return deny(`the operator's rules narrow \`${key}\` where nothing is granted`, true)
    const { agents, egress, ...others } = limit
    // A dispatch of an agent whose card asks for none grants none: there is nothing to narrow.
    const rest = shipped.narrow?.egress === undefined || egress === undefined ? others : { ...others, egress }
    limits = narrower(limits, shipped.narrow?.agents === undefined ? rest : { ...rest, ...(agents && { agents }) })
  }
  if (limits.agents?.length === 0) return deny("the operator's rules leave no agent that may be chosen")
  const narrowed = { ...shipped, ...(Object.keys(limits).length === 0 ? {} : { narrow: limits }) }
  if (home.ask.length === 0) return narrowed
  const reason = shipped.effect === 'ask' ? [shipped.reason, ...home.ask].join('; ') : home.ask.join('; ')
  return { ...narrowed, effect: 'ask', reason, rule: shipped.effect === 'ask' ? shipped.rule : 'hub.home.ask' }
}

/** Its beginning as the gate writes it; other texts are parsed whole. */
const HEAD = /^\{"operation":"([a-z_.]+)","principal":\{"kind":"([a-z]+)"/
const AGENT = /"agent":/

function subjectOf(inputText: string): { operation: string; kind: string } {
  const [, operation, kind] = HEAD.exec(inputText) ?? []
  if (operation !== undefined && kind !== undefined) return { operation, kind }
  const given = JSON.parse(inputText) as { operation?: unknown; principal?: { kind?: unknown } }
  return { operation: String(given.operation), kind: String(given.principal?.kind) }
}

function agentOf(inputText: string): string | undefined {
  if (!AGENT.test(inputText)) return undefined
  const { resource } = JSON.parse(inputText) as { resource?: { agent?: unknown } }
  return typeof resource?.agent === 'string' ? resource.agent : undefined
}

/** The operator's rules alone: an exact answer, or why there is none. Never throws. */
export interface HomeEngine {
  ask(inputText: string): HomeAnswer | string
}

export function createHomeEngine(makeInstance: () => PolicyInstance): HomeEngine {
  const instances = createInstances(makeInstance)
  return {
    ask: (inputText) =>
      instances.use(
        (instance) => judgeHomeResult(instance.evaluate(inputText)),
        (why) => `the operator's rules failed: ${why}`,
      ),
  }
}

/** Both together: what decides. `onFault` hears of every answer of the operator's rules that was not exact. */
export function withHomeRules(shipped: Engine, home: HomeEngine, onFault: (reason: string) => void): Engine {
  return {
    evaluate(inputText) {
      const verdict = shipped.evaluate(inputText)
      if (verdict.effect === 'deny') return verdict
      const { operation, kind } = subjectOf(inputText)
      if (isPlain(operation, kind)) return verdict
      const answer = home.ask(inputText)
      // Somebody would have to answer whether somebody may answer.
      if (operation === 'approval.answer' && typeof answer !== 'string' && answer.ask.length > 0)
        return deny(answer.ask.join('; '))
      const combined =
        typeof answer === 'string'
          ? deny(answer, true)
          : combine(verdict, answer, answer.narrow.length === 0 ? undefined : agentOf(inputText))
      if (combined.fault) onFault(combined.reason)
      return combined
    },
  }
}
