/** What each mode lets through, verb by verb and through the real door; the classes are written out here against the code's own. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { toHubError } from '../../../hub/base/errors.ts'
import type { ConditionName, Mode } from '../../../hub/guard/modes.ts'
import { hubPrincipal, OPERATOR, type Principal, WATCHDOG } from '../../../hub/guard/principal.ts'
import { OPERATIONS, type Operation, type OperationName } from '../../../hub/protocol/operations.ts'
import { type GuardHome, openGuardHome } from '../../support/guard-home.ts'
import { agentPrincipal } from '../../support/policy-fixture.ts'

const ONLY_NORMAL = {
  'new work':
    'task.submit task.retry task.release task.accept task.dispatch service.start session.provision session.say run.create run.release run.step',
  'what widens': 'approval.answer budget.raise device.add flag.set token.create',
}
const NOT_DRAINING = { 'what a running task wants started': 'task.delegate' }
const EVERY_MODE = {
  "sessions' own verbs":
    'artifact.put session.join session.renew session.open message.send message.reply message.receive message.subscribe task.result task.progress task.log task.ask tool.permit secret.get session.turn session.frame transcript.put transcript.get',
  mending:
    'agent.reload agent.reset agent.suspend policy.reload keys.rotate mode.resume operator.away contact.card contact.test contact.confirm hub.drill alert.test monitor.alert backup.run retention.prune',
  'heartbeat and lease': 'operator.heartbeat operator.back lease.renew',
  stopping:
    'task.cancel session.stop session.interrupt session.close session.quarantine session.revoke session.reap mode.safe hub.shutdown contact.revoke token.revoke device.revoke run.hold run.reap',
  reads:
    'task.list task.show task.logs session.list session.show session.logs session.turns agent.list agent.show artifact.get artifact.list policy.status policy.show policy.explain decision.list flag.list keys.list mode.show audit.list audit.show audit.verify event.stream health.show config.show doctor.run alert.list token.list device.list approval.list approval.show retention.show',
  'what is written down after the fact':
    'approval.expire flag.expire backlog.hold config.apply hub.observe session.observe retention.turn task.settle run.observe',
}
const verbs = (names: string) => names.split(' ') as OperationName[]

let home: GuardHome
beforeEach(() => {
  home = openGuardHome()
  home.guard.modes.clear('lease_pending')
})
afterEach(() => home[Symbol.dispose]())

const BY_KIND: Record<string, Principal> = {
  operator: OPERATOR,
  agent: agentPrincipal('echo'),
  watchdog: WATCHDOG,
  automation: { kind: 'automation', id: 'monitor', actions: ['session.stop'] },
  hub: hubPrincipal('test'),
}
/** What keeps it out, as a code; undefined: neither reach nor the mode does. What the rules say of it is no matter here. */
function refusedByMode(operation: OperationName, restricts?: boolean): string | undefined {
  const { standing, reach } = OPERATIONS[operation] as Operation
  const principal = reach.map((kind) => BY_KIND[kind]).find((one) => one !== undefined)
  if (principal === undefined) throw new Error(`nobody to try ${operation}`)
  const call = { principal, operation, resource: 'r', ...(restricts === undefined ? {} : { restricts }) }
  try {
    if (standing === 'stop') home.guard.gate.admitStop(call, () => undefined)
    else home.guard.gate.admit(call, () => undefined)
    return undefined
  } catch (thrown) {
    const { code } = toHubError(thrown)
    return code.startsWith('mode_') || code === 'forbidden' ? code : undefined
  }
}

const MODES: [Mode, ConditionName | undefined][] = [
  ['normal', undefined],
  ['degraded', 'disk_low'],
  ['safe', 'operator_request'],
  ['draining', 'draining'],
]
describe.each(MODES)('in %s', (mode, condition) => {
  beforeEach(() => {
    if (condition !== undefined) home.guard.modes.raise(condition, 'test')
  })

  it.each(Object.entries(ONLY_NORMAL))('%s, only in normal [mode-1, mode-10]', (_class, names) => {
    const refused = mode === 'normal' ? undefined : `mode_${mode}`
    for (const name of verbs(names)) expect(refusedByMode(name), name).toBe(refused)
  })

  it.each(Object.entries(NOT_DRAINING))('%s, but not while draining [mode-2]', (_class, names) => {
    const refused = mode === 'draining' ? 'mode_draining' : undefined
    for (const name of verbs(names)) expect(refusedByMode(name), name).toBe(refused)
  })

  it.each(Object.entries(EVERY_MODE))('%s, in every mode [mode-12]', (_class, names) => {
    for (const name of verbs(names)) expect(refusedByMode(name), name).toBeUndefined()
  })

  it('a request that only restricts, in every mode, whatever its operation may else do [mode-10]', () => {
    expect(refusedByMode('approval.answer', true)).toBeUndefined()
  })
})

it('no operation stands in the table twice, and of those that it does not name none starts or widens anything [mode-13]', () => {
  const named = Object.values({ ...ONLY_NORMAL, ...NOT_DRAINING, ...EVERY_MODE }).flatMap(verbs)
  expect(new Set(named).size).toBe(named.length)
  const widening = (Object.keys(OPERATIONS) as OperationName[]).filter((name) =>
    ['new_work', 'approve'].includes(OPERATIONS[name].standing),
  )
  expect(widening.sort()).toEqual(Object.values(ONLY_NORMAL).flatMap(verbs).sort())
})
