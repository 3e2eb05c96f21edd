/**
 * Every path that the profile masks or keeps read-only, against whoever must notice its absence: the rules, the filter of engine calls, the
 * comparison with what the engine made, and the floors (fault F14, fault D15). Each of them has its list; none is taken from another.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { DEFAULT_LIMITS } from '../../../../hub/protocol/agent.ts'
import { compareInspect } from '../../../../hub/work/sandbox/compare.ts'
import { judgeEngineCall } from '../../../../hub/work/sandbox/engine-filter.ts'
import { judgeHardening, NOT_HELD } from '../../../../hub/work/sandbox/hardening.ts'
import { buildContainer, type CreateBody, containerNameOf } from '../../../../hub/work/sandbox/profile.ts'
import { repositoryRoot } from '../../../house/source.ts'
import { inspectAnswer } from '../../../support/fake-engine.ts'
import { openPolicy, policyFolder } from '../../../support/policy-fixture.ts'
import { FACTS, HOST } from '../../../support/sandbox-facts.ts'

const MASKED = [
  '/dev/mqueue',
  '/dev/pts',
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
]
const READ_ONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']
const EACH = [
  ...MASKED.map((path) => ['MaskedPaths', path] as const),
  ...READ_ONLY.map((path) => ['ReadonlyPaths', path] as const),
]

// No CPU of it reports throttling: only what is masked everywhere.
const whole = buildContainer(FACTS, DEFAULT_LIMITS, { ...HOST, cpusWithThermalThrottle: [] })
const id = 'c0ffee'.padEnd(64, '0')

function without(list: 'MaskedPaths' | 'ReadonlyPaths', path: string): CreateBody {
  const kept = whole.HostConfig[list].filter((each) => each !== path)
  return { ...whole, HostConfig: { ...whole.HostConfig, [list]: kept } }
}
const shown = (body: CreateBody) =>
  inspectAnswer({
    id,
    name: containerNameOf(FACTS.instance, FACTS.session),
    body,
    state: 'running',
    exitCode: 0,
    oomKilled: false,
    createdAtMs: 0,
    socketPath: '',
    session: FACTS.session,
    log: '',
  })

using folder = policyFolder()
const { engine } = openPolicy(folder).active()
const ruled = (body: CreateBody) =>
  engine.evaluate(
    JSON.stringify({
      operation: 'session.provision',
      principal: { kind: 'hub', id: 'containers' },
      resource: { body },
      mode: 'running',
    }),
  )
const filtered = (body: CreateBody) =>
  judgeEngineCall({
    method: 'POST',
    path: `/v1.41/containers/create?name=${containerNameOf('hub-test', FACTS.session)}`,
    body: JSON.stringify(body),
  })
const floorOf = (body: CreateBody) =>
  judgeHardening(body, shown(body), id).checks.find(({ name }) => name === 'kernel files masked and read-only')

test('the profile masks these paths and keeps those read-only, no more and no less; with them all four are content', () => {
  expect([whole.HostConfig.MaskedPaths, whole.HostConfig.ReadonlyPaths]).toEqual([MASKED, READ_ONLY])
  expect(ruled(whole)).toMatchObject({ effect: 'allow' })
  expect(filtered(whole)).toBeUndefined()
  expect(compareInspect(whole, shown(whole), id)).toEqual([])
  expect(floorOf(whole)).toMatchObject({ pass: true })
})

test.each(EACH)(
  'fault F14: without %s %s the rules, the filter, the comparison and the floors each refuse',
  (list, path) => {
    const less = without(list, path)
    expect(ruled(less)).toMatchObject({
      effect: 'deny',
      reason: expect.stringContaining(list === 'MaskedPaths' ? 'masked-paths' : 'readonly-paths'),
    })
    expect(filtered(less)).toContain(list)
    expect(compareInspect(whole, shown(less), id).map(({ field }) => field)).toEqual([`HostConfig.${list}`])
    expect(floorOf(less)).toEqual({ name: 'kernel files masked and read-only', pass: false, found: NOT_HELD })
  },
)

test('fault D15: no list of them is taken from the profile', () => {
  for (const name of ['engine-filter.ts', 'compare.ts', 'floors.ts']) {
    const source = readFileSync(join(repositoryRoot, 'hub/work/sandbox', name), 'utf8')
    expect(source, name).not.toMatch(/MASKED_PATHS|READONLY_PATHS/)
  }
})
