/** Names of devices and tokens that the hub itself uses in its records. */
import { expect, test } from 'vitest'
import { consoleOpenShape, deviceAddShape, deviceRef, tokenCreateShape } from '../../../hub/protocol/holders.ts'

test('no device is named `link` or `unknown`, and no token `unknown`: a record names who answered by a link, or is not known, by these words [ask-11]', () => {
  const app = { kind: 'app', rights: ['approve'] }
  const token = { actions: ['task.list'], expiresInMs: 60_000 }
  for (const name of ['link', 'unknown']) {
    for (const asked of [deviceAddShape.safeParse({ ...app, name }), consoleOpenShape.safeParse({ name })])
      expect(asked.error?.issues).toMatchObject([{ path: ['name'], message: expect.stringMatching(/choose another/) }])
    // One that an earlier hub made can be revoked.
    expect(deviceRef.safeParse({ name }).success).toBe(true)
  }
  expect(tokenCreateShape.safeParse({ ...token, name: 'unknown' }).error?.issues).toMatchObject([{ path: ['name'] }])
  expect(deviceAddShape.safeParse({ ...app, name: 'phone' }).success).toBe(true)
  expect(tokenCreateShape.safeParse({ ...token, name: 'ci' }).success).toBe(true)
})
