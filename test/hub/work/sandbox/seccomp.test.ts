/** Properties of the seccomp profile that is shipped (T51, T52, T56). */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

interface Arch {
  architecture: string
  subArchitectures: string[]
}
interface Rule {
  names: string[]
  action: string
  args?: { index: number; value: number; op: string }[]
  includes?: { caps?: string[] }
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

test('what the design takes away stands in no rule, whatever the capability', () => {
  const gone = /^(?:socketcall|io_uring_.*|bpf|userfaultfd|keyctl|add_key|request_key|perf_event_open|mq_.*|memfd_.*)$/
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
