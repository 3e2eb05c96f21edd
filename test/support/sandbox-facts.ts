/** Facts of one session, for tests of the sandbox. */
import type { HostFacts, SessionFacts } from '../../hub/work/sandbox/profile.ts'
import { FIRST_USER } from '../../hub/work/sandbox/users.ts'
import { FAKE_IMAGE_ID } from './fake-engine.ts'

export const FACTS: SessionFacts = {
  instance: 'hub-test-instance',
  session: 'sabcdefghijklmno',
  task: 'task-1',
  attempt: 'attempt-1',
  agent: 'reader',
  generation: 1,
  imageId: FAKE_IMAGE_ID,
  user: FIRST_USER,
  socketDir: '/home/hub/run/s/sabcdefghijklmno',
  expiresAtMs: 1_800_000_000_000,
  expiresBoot: { bootId: 'boot-a', bootMs: 4_600_000 },
  runtime: 'runc',
  egress: false,
  relax: [],
}

export const HOST: HostFacts = {
  cpusWithThermalThrottle: [0, 1],
  appArmor: true,
  seccomp: '{"defaultAction":"SCMP_ACT_ERRNO"}',
  seccompEgress: JSON.stringify({
    defaultAction: 'SCMP_ACT_ERRNO',
    syscalls: [
      {
        names: ['socket'],
        action: 'SCMP_ACT_ALLOW',
        args: [
          { index: 0, value: 2, op: 'SCMP_CMP_EQ' },
          { index: 1, value: 4294440959, valueTwo: 1, op: 'SCMP_CMP_MASKED_EQ' },
          { index: 2, value: 0, op: 'SCMP_CMP_EQ' },
        ],
        includes: { arches: ['amd64', 'arm64'] },
      },
    ],
  }),
}
