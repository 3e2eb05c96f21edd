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
  args?: { index: number; value: number; valueTwo?: number; op: string }[]
  includes?: { caps?: string[]; arches?: string[] }
}
interface Profile {
  defaultAction: string
  archMap: Arch[]
  syscalls: Rule[]
}
const read = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../../../images/agent/${name}`, import.meta.url), 'utf8')) as Profile
const profile = read('seccomp.json')
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

describe('E1: the profile of sessions with egress', () => {
  const NOTHING_FLAGGED = 0xffffffff & ~(0o4000 | 0o2000000)
  const allow = (names: string[], args: Rule['args']): Rule => ({ names, action: 'SCMP_ACT_ALLOW', args: args ?? [] })
  const equal = (index: number, value: number) => ({ index, value, op: 'SCMP_CMP_EQ' })
  /** Of the lower half alone: the kernel takes these as 32 bits, and a caller may set what it likes above. */
  const masked = (index: number, mask: number, valueTwo: number) => ({
    index,
    value: mask >>> 0,
    valueTwo,
    op: 'SCMP_CMP_MASKED_EQ',
  })
  const whole = (index: number, value: number) => masked(index, 0xffffffff, value)

  test('is the other one, with streams of IPv4 by protocol 0 and 6, and a closed list of options in the place of all', () => {
    const [LEVEL, OPTION] = [1, 2]
    const [IPPROTO_IP, SOL_SOCKET, IPPROTO_TCP] = [0, 1, 6]
    const streams = [0, 6].map((protocol) => ({
      ...allow(['socket'], [equal(0, 2), masked(1, NOTHING_FLAGGED, 1), equal(2, protocol)]),
      includes: { arches: ['amd64', 'arm64'] },
    }))
    // NODELAY, CORK, the three of keep-alive, QUICKACK, USER_TIMEOUT: no ULP (31).
    const options = [1, 3, 4, 5, 6, 12, 18].map((option) =>
      allow(['setsockopt'], [whole(LEVEL, IPPROTO_TCP), whole(OPTION, option)]),
    )
    // Of IP the type of service alone: `fetch` of Node sets it for each request, and its process ends if it may not.
    const tos = allow(['setsockopt'], [whole(LEVEL, IPPROTO_IP), whole(OPTION, 1)])
    const others = profile.syscalls.map((rule) => ({
      ...rule,
      names: rule.names.filter((name) => name !== 'setsockopt'),
    }))
    expect(read('seccomp-egress.json')).toEqual({
      ...profile,
      syscalls: [...others, ...streams, allow(['setsockopt'], [whole(LEVEL, SOL_SOCKET)]), ...options, tos],
    })
  })

  test('holds no number that JSON would not carry exactly', () => {
    const values = read('seccomp-egress.json').syscalls.flatMap(({ args = [] }) => args.map(({ value }) => value))
    expect(values.every(Number.isSafeInteger)).toBe(true)
  })
})
