/** The pure builder of the create body: what it always says, and what no input can make it say (T48, T50, docs/sandbox.md 6). */
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sha256Hex } from '../../../../hub/base/canonical.ts'
import { DEFAULT_LIMITS, LIMIT_CEILINGS, type SessionLimits } from '../../../../hub/protocol/agent.ts'
import type { Relaxation } from '../../../../hub/protocol/relax.ts'
import { judgeEngineCall } from '../../../../hub/work/sandbox/engine-filter.ts'
import { readHostFacts } from '../../../../hub/work/sandbox/host.ts'
import { buildContainer, type SessionFacts } from '../../../../hub/work/sandbox/profile.ts'
import { FACTS, HOST } from '../../../support/sandbox-facts.ts'

test('the whole emitted body is the one of the table in docs/sandbox.md', () => {
  expect(buildContainer(FACTS, DEFAULT_LIMITS, HOST)).toMatchInlineSnapshot(`
    {
      "ArgsEscaped": false,
      "AttachStderr": false,
      "AttachStdin": false,
      "AttachStdout": false,
      "Cmd": [],
      "Domainname": "",
      "Entrypoint": [
        "/usr/local/bin/node",
        "/app/images/agent/shim.js",
      ],
      "Env": [
        "HUB_SOCKET=/run/hub/hub.sock",
        "HUB_SESSION=sabcdefghijklmno",
        "HUB_DEADLINE=1800000000000",
        "TZ=UTC",
      ],
      "ExposedPorts": {},
      "Healthcheck": {
        "Test": [
          "NONE",
        ],
      },
      "HostConfig": {
        "Annotations": {},
        "AutoRemove": false,
        "Binds": [],
        "BlkioDeviceReadBps": null,
        "BlkioDeviceReadIOps": null,
        "BlkioDeviceWriteBps": null,
        "BlkioDeviceWriteIOps": null,
        "BlkioWeight": 0,
        "BlkioWeightDevice": null,
        "CapAdd": [],
        "CapDrop": [
          "ALL",
        ],
        "Cgroup": "",
        "CgroupParent": "",
        "CgroupnsMode": "private",
        "ConsoleSize": [
          0,
          0,
        ],
        "ContainerIDFile": "",
        "CpuCount": 0,
        "CpuPercent": 0,
        "CpuPeriod": 0,
        "CpuQuota": 0,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpuShares": 512,
        "CpusetCpus": "",
        "CpusetMems": "",
        "DeviceCgroupRules": [],
        "DeviceRequests": [],
        "Devices": [],
        "Dns": [],
        "DnsOptions": [],
        "DnsSearch": [],
        "ExtraHosts": [],
        "GroupAdd": [],
        "IOMaximumBandwidth": 0,
        "IOMaximumIOps": 0,
        "Init": true,
        "IpcMode": "none",
        "Isolation": "",
        "KernelMemory": 0,
        "KernelMemoryTCP": 0,
        "Links": [],
        "LogConfig": {
          "Config": {
            "max-file": "1",
            "max-size": "1m",
          },
          "Type": "json-file",
        },
        "MaskedPaths": [
          "/dev/mqueue",
          "/dev/pts",
          "/proc/acpi",
          "/proc/asound",
          "/proc/interrupts",
          "/proc/kcore",
          "/proc/keys",
          "/proc/latency_stats",
          "/proc/sched_debug",
          "/proc/scsi",
          "/proc/timer_list",
          "/proc/timer_stats",
          "/sys/devices/virtual/powercap",
          "/sys/firmware",
          "/sys/devices/system/cpu/cpu0/thermal_throttle",
          "/sys/devices/system/cpu/cpu1/thermal_throttle",
        ],
        "Memory": 536870912,
        "MemoryReservation": 0,
        "MemorySwap": 536870912,
        "MemorySwappiness": null,
        "Mounts": [
          {
            "BindOptions": {
              "CreateMountpoint": false,
              "NonRecursive": false,
              "Propagation": "rprivate",
              "ReadOnlyForceRecursive": false,
              "ReadOnlyNonRecursive": false,
            },
            "Consistency": "",
            "ReadOnly": true,
            "Source": "/home/hub/run/s/sabcdefghijklmno",
            "Target": "/run/hub",
            "Type": "bind",
          },
        ],
        "NanoCpus": 1000000000,
        "NetworkMode": "none",
        "OomKillDisable": false,
        "OomScoreAdj": 0,
        "PidMode": "",
        "PidsLimit": 128,
        "PortBindings": {},
        "Privileged": false,
        "PublishAllPorts": false,
        "ReadonlyPaths": [
          "/proc/bus",
          "/proc/fs",
          "/proc/irq",
          "/proc/sys",
          "/proc/sysrq-trigger",
        ],
        "ReadonlyRootfs": true,
        "RestartPolicy": {
          "MaximumRetryCount": 0,
          "Name": "no",
        },
        "Runtime": "runc",
        "SecurityOpt": [
          "no-new-privileges=true",
          "seccomp={"defaultAction":"SCMP_ACT_ERRNO"}",
          "apparmor=docker-default",
        ],
        "ShmSize": 67108864,
        "StorageOpt": {},
        "Sysctls": {},
        "Tmpfs": {
          "/tmp": "rw,noexec,nosuid,nodev,size=64m,nr_inodes=4k,uid=60928,gid=60928,mode=0700",
          "/workspace": "rw,noexec,nosuid,nodev,size=256m,nr_inodes=32k,uid=60928,gid=60928,mode=0700",
        },
        "UTSMode": "",
        "Ulimits": [
          {
            "Hard": 256,
            "Name": "nofile",
            "Soft": 256,
          },
          {
            "Hard": 0,
            "Name": "core",
            "Soft": 0,
          },
          {
            "Hard": 268435456,
            "Name": "fsize",
            "Soft": 268435456,
          },
        ],
        "Umask": null,
        "UsernsMode": "",
        "VolumeDriver": "",
        "VolumesFrom": [],
      },
      "Hostname": "",
      "Image": "sha256:1111111111111111111111111111111111111111111111111111111111111111",
      "Labels": {
        "hub.agent": "reader",
        "hub.attempt": "attempt-1",
        "hub.expires-at": "1800000000000",
        "hub.expires-boot": "boot-a:4600000",
        "hub.generation": "1",
        "hub.instance": "hub-test-instance",
        "hub.session": "sabcdefghijklmno",
        "hub.task": "task-1",
      },
      "NetworkDisabled": false,
      "OnBuild": [],
      "OpenStdin": false,
      "Shell": [],
      "StdinOnce": false,
      "StopSignal": "SIGTERM",
      "StopTimeout": 5,
      "Tty": false,
      "User": "60928:60928",
      "Volumes": {},
      "WorkingDir": "/workspace",
    }
  `)
})

/** The body with everything that facts and limits may move taken out. */
function fixedPart(body: ReturnType<typeof buildContainer>) {
  const { HostConfig, Image: _image, Labels, Env, ...config } = body
  const {
    Tmpfs,
    Mounts,
    Ulimits,
    PidsLimit: _pids,
    Memory,
    MemorySwap,
    NanoCpus: _cpus,
    Runtime: _run,
    ...host
  } = HostConfig
  return {
    config,
    host,
    labels: Object.keys(Labels),
    env: Env.map((each) => each.split('=')[0]),
    tmpfs: Object.entries(Tmpfs).map(([path, options]) => [path, options.replace(/=\d+[mk]?(?=,nr|,uid)/g, '=N')]),
    mounts: Mounts.map(({ Source: _source, ...mount }) => mount),
    ulimits: Ulimits.map(({ Name }) => Name),
    noSwap: Memory === MemorySwap,
  }
}

const whole = (max: number) => fc.integer({ min: 1, max })
const limits: fc.Arbitrary<SessionLimits> = fc.record({
  ttlMs: whole(LIMIT_CEILINGS.ttlMs),
  memoryBytes: fc.integer({ min: 6 * 1024 ** 2, max: LIMIT_CEILINGS.memoryBytes }),
  cpus: fc.double({ min: 0.01, max: LIMIT_CEILINGS.cpus, noNaN: true }),
  pids: whole(LIMIT_CEILINGS.pids),
  tmpBytes: whole(LIMIT_CEILINGS.tmpBytes),
  workspaceBytes: whole(LIMIT_CEILINGS.workspaceBytes),
  openFiles: whole(LIMIT_CEILINGS.openFiles),
})
const hostile = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('host', 'container:abc', '/var/run/docker.sock', '../..', 'a,b', '__proto__', 'seccomp=unconfined'),
  fc.stringMatching(/^[a-z0-9-]{1,63}$/),
)
/** Mostly valid, else nothing would ever be built; each field hostile in one case of twelve. */
const mixed = (valid: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 11, arbitrary: valid }, { weight: 1, arbitrary: hostile })
const name = fc.string({ unit: fc.constantFrom(...'abz09-'), minLength: 1, maxLength: 63, size: 'max' })
const facts = fc.record<Partial<Record<keyof SessionFacts, unknown>>>(
  {
    instance: mixed(name),
    session: mixed(fc.stringMatching(/^s[a-z2-7]{15}$/)),
    task: mixed(name),
    attempt: mixed(name),
    agent: mixed(name),
    generation: mixed(fc.nat()),
    imageId: mixed(fc.stringMatching(/^sha256:[0-9a-f]{64}$/)),
    expiresAtMs: mixed(fc.maxSafeNat()),
    runtime: mixed(fc.constantFrom('runc', 'runsc')),
  },
  { requiredKeys: [] },
)

test('T48: 10 000 fuzzed definitions never change a fixed field, and the filter agrees with each', () => {
  const fixed = fixedPart(buildContainer(FACTS, DEFAULT_LIMITS, HOST))
  let built = 0
  fc.assert(
    fc.property(facts, limits, (changes, chosen) => {
      const session = typeof changes.session === 'string' ? changes.session : FACTS.session
      const dir = { socketDir: `/home/hub/run/s/${session}` }
      const given = { ...FACTS, ...dir, ...changes, extra: { Privileged: true } } as SessionFacts
      let body: ReturnType<typeof buildContainer>
      try {
        body = buildContainer(given, chosen, HOST)
      } catch {
        return
      }
      built += 1
      expect(fixedPart(body)).toEqual(fixed)
      if (!/^\/.*\/run\/s\//.test(given.socketDir)) return
      const path = '/v1.41/containers/create?name=hub-hub-test-sabcdefghijklmno'
      expect(judgeEngineCall({ method: 'POST', path, body: JSON.stringify(body) })).toBeUndefined()
    }),
    { numRuns: 10_000 },
  )
  // Otherwise the property would hold by refusing everything.
  expect(built).toBeGreaterThan(3000)
})

test.each([
  ['an image by tag', { imageId: 'hub/agent:latest' }],
  ['a socket folder of another session', { socketDir: '/home/hub/run/s/saaaaaaaaaaaaaaa' }],
  ['a socket folder with a way up', { socketDir: '/home/../run/s/sabcdefghijklmno' }],
  ['the engine socket', { socketDir: '/var/run/docker.sock' }],
  ['a runtime that carries no socket', { runtime: 'kata' }],
  ['a label with a line break', { agent: 'a\nb' }],
])('%s cannot be expressed', (_what, changes) => {
  expect(() => buildContainer({ ...FACTS, ...changes } as SessionFacts, DEFAULT_LIMITS, HOST)).toThrow()
})

test('AppArmor is asked for exactly where the host has it', () => {
  const optionsOf = (appArmor: boolean) =>
    buildContainer(FACTS, DEFAULT_LIMITS, { ...HOST, appArmor }).HostConfig.SecurityOpt.includes(
      'apparmor=docker-default',
    )
  expect([optionsOf(true), optionsOf(false)]).toEqual([true, false])
})

test('T101, T102: a relaxation changes its own folder and nothing else of the body', () => {
  const plain = buildContainer(FACTS, DEFAULT_LIMITS, HOST)
  const tmpfsOf = (...relax: Relaxation[]) => {
    const body = buildContainer({ ...FACTS, relax }, DEFAULT_LIMITS, HOST)
    const { Tmpfs } = plain.HostConfig
    expect({ ...body, HostConfig: { ...body.HostConfig, Tmpfs } }).toEqual(plain)
    return body.HostConfig.Tmpfs
  }
  const rest = 'uid=60928,gid=60928,mode=0700'
  const tmp = `rw,noexec,nosuid,nodev,size=64m,nr_inodes=4k,${rest}`
  const workspace = `nosuid,nodev,size=256m,nr_inodes=32k,${rest}`
  expect(tmpfsOf()).toEqual({ '/tmp': tmp, '/workspace': `rw,noexec,${workspace}` })
  expect(tmpfsOf('exec')).toEqual({ '/tmp': tmp, '/workspace': `rw,exec,${workspace}` })
  expect(tmpfsOf('shm')).toEqual({ '/tmp': tmp, '/workspace': `rw,noexec,${workspace}`, '/dev/shm': tmp })
  expect(tmpfsOf('shm', 'exec')).toEqual({ '/tmp': tmp, '/workspace': `rw,exec,${workspace}`, '/dev/shm': tmp })
  for (const odd of ['exec', ['network'], [1], null])
    expect(() => buildContainer({ ...FACTS, relax: odd as never }, DEFAULT_LIMITS, HOST)).toThrow()
})

test('E1: without egress a container is made byte for byte as before there was any; with it only the seccomp profile differs', () => {
  const { seccomp, seccompEgress } = readHostFacts(fileURLToPath(new URL('../../../../images/agent', import.meta.url)))
  const host = { ...HOST, seccomp, seccompEgress }
  const closed = buildContainer(FACTS, DEFAULT_LIMITS, host)
  // Taken from the last commit without egress. Whoever changes the profile of all sessions takes it anew.
  expect(sha256Hex(JSON.stringify(closed))).toBe('35317a1d73b0489553542c461b7bb1addb2233917a9160f442bf693926217e7b')
  const open = buildContainer({ ...FACTS, egress: true }, DEFAULT_LIMITS, host)
  expect(open.HostConfig.SecurityOpt[1]).toBe(`seccomp=${seccompEgress}`)
  const { SecurityOpt } = closed.HostConfig
  expect({ ...open, HostConfig: { ...open.HostConfig, SecurityOpt } }).toEqual(closed)
})
