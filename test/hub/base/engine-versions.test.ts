/** The rule by which the API version is agreed (fault A3): every honest engine, and every odd answer to the question for its versions. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { API_PATTERN, API_RANGE, agreeApi, isApiRefused } from '../../../hub/base/engine-versions.ts'

describe('fault A3: the newest version that both know', () => {
  test.each([
    ['Docker 20.10', '1.12', '1.41', '1.41'],
    ['Docker 24', '1.12', '1.43', '1.43'],
    ['Docker 25', '1.24', '1.44', '1.44'],
    ['Docker 29.0, which refuses 1.43', '1.44', '1.52', '1.52'],
    ['Docker 29.6', '1.40', '1.56', '1.56'],
    ['one that speaks the newest alone', '1.56', '1.56', '1.56'],
    ['a later one', '1.50', '1.70', '1.56'],
    ['one of another number', '1.44', '2.3', '1.56'],
    ['one that names no oldest', undefined, '1.47', '1.47'],
  ])('%s', (_which, MinAPIVersion, ApiVersion, api) => {
    expect(agreeApi({ ApiVersion, MinAPIVersion })).toMatchObject({ api })
  })

  test.each([
    ['too old', { ApiVersion: '1.40', MinAPIVersion: '1.12' }, /it speaks 1\.40/, /20\.10 or later/],
    [
      'too new',
      { ApiVersion: '1.70', MinAPIVersion: '1.60' },
      /only API 1\.60 and later, this hub knows up to 1\.56/,
      /upgrade the hub, or let the engine accept an older API \(DOCKER_MIN_API_VERSION/,
    ],
    [
      'of two minds',
      { ApiVersion: '1.44', MinAPIVersion: '1.50' },
      /contradicts itself/,
      /not a working Docker engine/,
    ],
    ['not an engine', { hello: 'world' }, /no Docker engine/, /engine\.socket/],
    ['no object', 'pong', /no Docker engine/, /engine\.socket/],
    ['no JSON', undefined, /no Docker engine/, /engine\.socket/],
    ['a number', { ApiVersion: 1.44 }, /no Docker engine/, /engine\.socket/],
    ['a path', { ApiVersion: '1.44/../x' }, /no Docker engine/, /engine\.socket/],
    ['an odd oldest', { ApiVersion: '1.44', MinAPIVersion: 'none' }, /no Docker engine/, /engine\.socket/],
  ])('refused by name: %s', (_what, answer, why, mend) => {
    expect(agreeApi(answer)).toEqual({ why: expect.stringMatching(why), mend: expect.stringMatching(mend) })
  })

  test('whatever is answered, what is agreed is a version that the filter knows', () => {
    const versions = fc.oneof(fc.stringMatching(/^[0-9]{1,2}\.[0-9]{1,3}$/), fc.string(), fc.constant(undefined))
    const known = new RegExp(`^${API_PATTERN}$`)
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.record({ ApiVersion: versions, MinAPIVersion: versions })), (answer) => {
        const found = agreeApi(answer)
        if ('api' in found) expect(`v${found.api}`).toMatch(known)
        else expect(found.mend).not.toBe('')
      }),
      { numRuns: 2000 },
    )
  })

  test('the range is the one that was measured', () => expect(API_RANGE).toEqual({ oldest: '1.41', newest: '1.56' }))
})

test.each<[number, string, boolean]>([
  [400, '{"message":"client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade"}', true],
  [400, '{"message":"client version 1.56 is too new. Maximum supported API version is 1.41"}', true],
  [400, '{"message":"NanoCPUs can not be set"}', false],
  [500, '{"message":"client version 1.41 is too old"}', false],
])('a refusal of the version is told from any other: %i %s', (status, text, refused) => {
  expect(isApiRefused(status, text)).toBe(refused)
})
