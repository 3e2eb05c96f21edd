/** Properties of the seccomp profile that is shipped (T51, T52, T56). */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { ON_BOTH, ON_NEITHER, ON_X64_ALONE } from '../../../support/system-calls.ts'

interface Arch {
  architecture: string
  subArchitectures: string[]
}
interface Rule {
  names: string[]
  action: string
  args?: { index: number; value: number; op: string }[]
  includes?: { caps?: string[]; arches?: string[] }
}
const profile = JSON.parse(readFileSync(new URL('../../../../images/agent/seccomp.json', import.meta.url), 'utf8')) as {
  defaultAction: string
  archMap: Arch[]
  syscalls: Rule[]
}
const rulesOf = (name: string) => profile.syscalls.filter((rule) => rule.names.includes(name))

test('it denies by default and allows what Node needs', () => {
  expect(profile.defaultAction).toBe('SCMP_ACT_ERRNO')
  for (const name of ['execve', 'openat', 'connect', 'epoll_wait', 'mmap', 'futex', 'clone']) {
    expect(
      rulesOf(name).some((rule) => rule.action === 'SCMP_ACT_ALLOW'),
      name,
    ).toBe(true)
  }
})

test('T52: sockets are of the family AF_UNIX alone', () => {
  for (const name of ['socket', 'socketpair']) {
    expect(rulesOf(name).map(({ action, args }) => ({ action, args }))).toEqual([
      { action: 'SCMP_ACT_ALLOW', args: [{ index: 0, value: 1, op: 'SCMP_CMP_EQ' }] },
    ])
  }
})

test('T52: one entry of the processor: for the 32-bit one the filter library itself adds `socketcall`, with every family', () => {
  expect(profile.archMap.flatMap(({ subArchitectures }) => subArchitectures)).toEqual([])
})

test('what the profile takes away stands in no rule, whatever the capability; what sessions would share neither (faults F14, F18)', () => {
  const gone =
    /^(?:socketcall|io_uring_.*|bpf|userfaultfd|keyctl|add_key|request_key|perf_event_open|mq_.*|memfd_.*|io_(?!prio).*|ipc|(?:msg|sem|shm)(?:ctl|get|op|timedop|rcv|snd|at|dt).*|modify_ldt)$/
  expect(profile.syscalls.flatMap((rule) => rule.names).filter((name) => gone.test(name))).toEqual([])
})

test('T51: mount, unshare, setns, module and trace calls need a capability no container has', () => {
  for (const name of [
    'mount',
    'unshare',
    'setns',
    'init_module',
    'process_vm_readv',
    'open_by_handle_at',
    'kexec_load',
  ]) {
    for (const rule of rulesOf(name)) expect(rule.includes?.caps?.length, name).toBeGreaterThan(0)
  }
})

describe('on x86-64 and on AArch64', () => {
  const all = [...new Set(profile.syscalls.flatMap(({ names }) => names))].sort()
  const isAllowed = (name: string) =>
    rulesOf(name).some(({ action, includes }) => action === 'SCMP_ACT_ALLOW' && !includes)

  test('every name that a rule has is known, on both, on one or on neither', () => {
    expect([...ON_BOTH, ...Object.keys(ON_X64_ALONE), ...ON_NEITHER].sort()).toEqual(all)
  })

  test('what x86-64 alone has and a container may use is allowed on AArch64 under the name it has there', () => {
    for (const [name, there] of Object.entries(ON_X64_ALONE)) {
      if (there === '' || !isAllowed(name)) continue
      expect(ON_BOTH, name).toContain(there)
      expect(isAllowed(there), `${there} in the place of ${name}`).toBe(true)
    }
  })

  test('what is for AArch64 alone names nothing that exists there: it opens no door that x86-64 has shut', () => {
    const own = profile.syscalls.filter(({ includes }) => (includes?.arches ?? []).includes('arm64'))
    expect(own.flatMap(({ names }) => names).filter((name) => !ON_NEITHER.includes(name))).toEqual([])
    expect(profile.archMap.map(({ architecture }) => architecture)).toContain('SCMP_ARCH_AARCH64')
  })

  const resolver = 'scmp_sys_resolver'
  const exists = (machine: string, name: string) =>
    Number(spawnSync(resolver, ['-a', machine, name], { encoding: 'utf8' }).stdout) >= 0
  test.skipIf(spawnSync(resolver, ['-h']).error !== undefined)(
    'the table is what the filter library says (where its resolver is at hand: Debian’s `seccomp`)',
    () => {
      const seen = (machine: string) => all.filter((name) => exists(machine, name))
      expect(seen('aarch64')).toEqual([...ON_BOTH].sort())
      expect(seen('x86_64')).toEqual([...ON_BOTH, ...Object.keys(ON_X64_ALONE)].sort())
    },
  )
})
