/** What is permitted while no rules could be loaded (S1-16, S1-60): never more than rules would permit the operator. */
import { OPERATIONS, type OperationName } from '../../protocol/operations.ts'
import type { Engine, PolicyInput, Verdict } from './engine.ts'

/** What the operator may do without rules besides reading: load the rules again, and let less happen until then. */
const WITHOUT_RULES: ReadonlySet<string> = new Set(['policy.reload', 'agent.reload', 'agent.suspend', 'mode.resume'])
const NO_RULES = 'hub.guard.no_rules'

/**
 * Whether this needs no rules: the operator's reads, presence and repairs, and the watchdog's. Rules of the operator's own are not asked about
 * it (home-rules.ts O3).
 */
export function isPlain(operation: string, kind: string): boolean {
  if (kind !== 'operator' && kind !== 'watchdog') return false
  const standing = Object.hasOwn(OPERATIONS, operation) ? OPERATIONS[operation as OperationName].standing : undefined
  return standing === 'read' || standing === 'presence' || (kind === 'operator' && WITHOUT_RULES.has(operation))
}

/**
 * The answers while no rules could be loaded (S1-16, S1-60). The operator may read, say that they are present, and repair. The watchdog may
 * speak. What the hub only writes down needs no rules, and neither does a stop (I6). Everything else is refused.
 * `why`: what keeps the rules from being loaded.
 */
export const noRules = (why: string): Engine => ({
  evaluate(inputText): Verdict {
    const { operation, principal } = JSON.parse(inputText) as { operation: string; principal: { kind: string } }
    return isPlain(operation, principal.kind)
      ? { effect: 'allow', reason: 'no rules are in force; this is always permitted', rule: NO_RULES, fault: false }
      : {
          effect: 'deny',
          code: 'policy_unavailable',
          reason: `no rules are in force: ${why}`,
          rule: NO_RULES,
          fault: false,
        }
  },
})

const BUILT_IN = 'hub.guard.built_in'
const TTL_MS_MAX = 3_600_000
/** What a session needs to take its task and to hand in what came of it. */
const OF_A_SESSION: ReadonlySet<string> = new Set([
  'artifact.put',
  'message.receive',
  'session.frame',
  'session.join',
  'session.open',
  'session.renew',
  'session.turn',
  'task.log',
  'task.progress',
  'task.result',
])
const SUBMITS: ReadonlySet<string> = new Set(['task.release', 'task.retry', 'task.submit'])

const yes = (narrow?: Verdict['narrow']): Verdict => ({
  effect: 'allow',
  reason: 'no rules are in force; the built-in ones permit this',
  rule: BUILT_IN,
  ...(narrow === undefined ? {} : { narrow }),
  fault: false,
})

/** Pure: the answer, or undefined for what only rules could permit. */
function permitted({ operation, principal, resource }: PolicyInput): Verdict | undefined {
  const { agent, origin, owner, own, inherited, sensitivity = null } = resource as Record<string, unknown>
  const { by, parent } = (origin ?? {}) as { by?: unknown; parent?: unknown }
  // Only a row of the operator's data says who takes work with a class of data, and there is none now.
  const isNamed = typeof agent === 'string' && by === 'people' && parent === null && sensitivity === null
  if (principal.kind === 'operator') {
    if (SUBMITS.has(operation) && isNamed) return yes()
    return operation === 'artifact.put' ? yes() : undefined
  }
  if (principal.kind === 'hub') {
    if (operation === 'session.provision') return yes()
    const isOwn = operation === 'task.dispatch' && principal.id === 'dispatcher' && isNamed && owner === true
    return isOwn ? yes({ capabilities: [], ttlMs: TTL_MS_MAX }) : undefined
  }
  if (principal.kind !== 'agent' || typeof principal.session !== 'string') return undefined
  if (OF_A_SESSION.has(operation)) return yes()
  const isTheirs = own === true || inherited === true
  return (operation === 'artifact.get' || operation === 'artifact.list') && isTheirs ? yes() : undefined
}

/**
 * The same with `policy.failClosed: false`: besides, the operator's own tasks for an agent they name, in one session each, which gets no
 * capabilities, nobody to talk to, no secrets and at most an hour.
 */
export function builtInRules(why: string): Engine {
  const sealed = noRules(why)
  return {
    evaluate: (inputText) => permitted(JSON.parse(inputText) as PolicyInput) ?? sealed.evaluate(inputText),
  }
}
