/** Cards that ask for what nobody gets, in any spelling: named with file and line, nothing half made, the other cards load (docs/sandbox.md 6). */
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createHarness, worker } from '../support/hub-harness.ts'

const CARD = ['name: bad', 'description: asks for too much', 'image: hub/agent', 'run: [node, /app/x.js]']
/** Of every option that a container engine knows, as an engine, a compose file, a command line and a person would write it. */
const FORBIDDEN = [
  'privileged: true',
  'Privileged: true',
  '"privileged ": true',
  'privileged: "true"',
  'capAdd: [SYS_ADMIN]',
  'cap_add: [ALL]',
  'CapAdd: [ALL]',
  'volumes: [/:/host]',
  'Binds: ["/:/host"]',
  'mounts: [{ type: bind, source: /, target: /host }]',
  'volumesFrom: [other]',
  'devices: [/dev/kvm]',
  'network: host',
  'network_mode: host',
  'NetworkMode: container:other',
  'pid: host',
  'ipc: host',
  'uts: host',
  'userns_mode: host',
  'cgroup_parent: /',
  'security_opt: [seccomp:unconfined]',
  'securityOpt: [label:disable]',
  'seccomp: unconfined',
  'readOnly: false',
  'user: root',
  'ports: ["80:80"]',
  'extra_hosts: [a:1.2.3.4]',
  'links: [other]',
  'sysctls: { kernel.shm_rmid_forced: 1 }',
  'restart: always',
  'log_driver: syslog',
  'oomKillDisable: true',
  'runtime: kata',
  'entrypoint: [/bin/sh]',
  'HostConfig: { Privileged: true }',
  '__proto__: { privileged: true }',
  'limits: { privileged: true }',
  'limits: { ttl: 25h }',
  'limits: { ttl: 0s }',
  'limits: { ttl: -1m }',
  'limits: { memory: 16GiB }',
  'limits: { memory: 16MiB }',
  'limits: { cpus: 0 }',
  'limits: { cpus: 64 }',
  'limits: { pids: 100000 }',
  'limits: { pids: .inf }',
  'limits: { tmp: 1GiB }',
  'limits: { sessions: 1000 }',
  'image: hub/agent@sha256:0000',
  'env: { API_TOKEN: x }',
  'mode: daemon',
  'restarts: 100',
]

test('each is refused by name and line; the other cards load, and nothing of it can be submitted', async () => {
  await using h = await createHarness({ agents: { good: { script: worker(() => 1) } } })
  const file = join(h.home, 'agents', 'bad.yaml')
  for (const line of FORBIDDEN) {
    const key = line.split(':')[0] ?? ''
    const lines = [...CARD.filter((each) => !each.startsWith(`${key}:`)), line]
    writeFileSync(file, `${lines.join('\n')}\n`)
    const { body } = await h.operator('POST', '/v1/agents/reload')
    const problems = body.problems as { file: string; line: number; message: string }[]
    expect([line, problems.map((problem) => problem.file)]).toEqual([line, ['bad.yaml']])
    expect(problems[0]?.message, line).not.toBe('')
    expect(
      (body.agents as { name: string }[]).map(({ name }) => name),
      line,
    ).toEqual(['good'])
    expect((await h.operator('POST', '/v1/tasks', { agent: 'bad' })).status, line).toBeGreaterThanOrEqual(400)
  }
  const { body } = await h.operator('GET', '/v1/agents')
  expect(body.problems).toHaveLength(1)
  expect(h.engine.calls.filter((call) => call.startsWith('create'))).toEqual([])
  expect(readdirSync(join(h.home, 'run', 's'))).toEqual([])
})

test.each([
  ['limits: { ttl: 25h }', 'limits.ttl', 'ceiling'],
  ['limits: { memory: 16MiB }', 'limits.memory', 'at least 32MiB'],
  ['privileged: true', 'privileged', ''],
])('%s says which key, and what would do', async (line, key, what) => {
  await using h = await createHarness({ agents: { good: { script: worker(() => 1) } } })
  writeFileSync(join(h.home, 'agents', 'bad.yaml'), `${[...CARD, line].join('\n')}\n`)
  const { body } = await h.operator('POST', '/v1/agents/reload')
  const [problem] = body.problems as { message: string }[]
  expect(problem?.message).toContain(key)
  expect(problem?.message).toContain(what)
})
