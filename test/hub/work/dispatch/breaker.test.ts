import { expect, test } from 'vitest'
import { countsFor } from '../../../../hub/work/dispatch/breaker.ts'

type Facts = Parameters<typeof countsFor>[0]
const crashed: Facts = { reason: 'crashed', hadJoined: true, ofThisBoot: true, last: undefined }

test.each<[string, Partial<Facts>, boolean]>([
  ['a crash counts', {}, true],
  ['a crash before the join counts', { hadJoined: false }, true],
  ['one that hung counts', { reason: 'unhealthy' }, true],
  ['one that was quarantined or revoked counts', { reason: 'security' }, true],
  ['one whose container vanished at work counts', { reason: 'orphan' }, true],
  ['one whose container vanished before it joined does not', { reason: 'orphan', hadJoined: false }, false],
  ['one that a reboot took does not', { reason: 'orphan', ofThisBoot: false }, false],
  ['a crash after another counts', { last: { agoMs: 1, wasUp: false } }, true],
  ['a crash together with another does not', { last: { agoMs: 5000, wasUp: true } }, false],
  ['a crash of one that outlived the other does', { last: { agoMs: 5001, wasUp: true } }, true],
  ['each quarantine counts, together or not', { reason: 'security', last: { agoMs: 1, wasUp: true } }, true],
  ...(['done', 'failed', 'cancelled', 'ttl', 'operator', 'shutdown'] as const).map(
    (reason): [string, Partial<Facts>, boolean] => [`${reason} does not count`, { reason }, false],
  ),
])('S1-65: %s', (_name, facts, counts) => expect(countsFor({ ...crashed, ...facts })).toBe(counts))
