/** What is read of the host, and which images pass the gate (T50, T51). */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readHostFacts } from '../../../../hub/work/sandbox/host.ts'
import { assertImage } from '../../../../hub/work/sandbox/image-gate.ts'
import { fakeImage } from '../../../support/fake-engine.ts'

const shipped = fileURLToPath(new URL('../../../../images/agent', import.meta.url))
let sys = ''
beforeEach(() => {
  sys = mkdtempSync('/tmp/hub-host-')
})
afterEach(() => rmSync(sys, { recursive: true, force: true }))

test('CPUs that report throttling are masked by number, AppArmor only where the kernel has it on', () => {
  for (const cpu of ['cpu10/thermal_throttle', 'cpu2/thermal_throttle', 'cpu1', 'cpufreq/thermal_throttle']) {
    mkdirSync(join(sys, 'devices/system/cpu', cpu), { recursive: true })
  }
  expect(readHostFacts(shipped, sys)).toMatchObject({ cpusWithThermalThrottle: [2, 10], appArmor: false })
  mkdirSync(join(sys, 'module/apparmor/parameters'), { recursive: true })
  writeFileSync(join(sys, 'module/apparmor/parameters/enabled'), 'Y\n')
  expect(readHostFacts(shipped, sys).appArmor).toBe(true)
})

test('a seccomp profile that is missing, broken or allows by default stops the start', () => {
  const attempt = () => readHostFacts(sys, sys)
  const good = '{"defaultAction":"SCMP_ACT_ERRNO"}'
  for (const [wrong, other] of [
    ['seccomp.json', 'seccomp-egress.json'],
    ['seccomp-egress.json', 'seccomp.json'],
  ] as const) {
    rmSync(join(sys, wrong), { force: true })
    writeFileSync(join(sys, other), good)
    expect(attempt, wrong).toThrow(expect.objectContaining({ code: 'config_invalid' }))
    for (const text of ['', '{', 'null', '{}', '{"defaultAction":"SCMP_ACT_ALLOW"}']) {
      writeFileSync(join(sys, wrong), text)
      expect(attempt, text).toThrow(expect.objectContaining({ code: 'config_invalid' }))
    }
    writeFileSync(join(sys, wrong), good)
    expect(attempt()).toMatchObject({ seccomp: good, seccompEgress: good })
  }
})

test('T50: an image whose own settings the engine would merge is refused, naming them', () => {
  expect(() => assertImage('hub/x', fakeImage())).not.toThrow()
  expect(() => assertImage('hub/x', { ...fakeImage(), user: 'nobody' })).not.toThrow()
  for (const change of [
    { volumes: ['/data'] },
    ...['', 'root', '0', '0:0', 'root:65532', ':65532'].map((user) => ({ user })),
    { env: ['PATH=/bin'] },
    { labels: { a: 'b' } },
    { exposedPorts: ['80/tcp'] },
    { onBuild: ['RUN x'] },
  ]) {
    expect(() => assertImage('hub/x', { ...fakeImage(), ...change })).toThrow(
      expect.objectContaining({ code: 'image_refused' }),
    )
  }
  expect(() => assertImage('hub/x', { ...fakeImage(), volumes: ['/data'] })).toThrow(/VOLUME \(\/data\)/)
})
