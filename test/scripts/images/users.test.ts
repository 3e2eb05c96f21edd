/** Every image names every user that a session may have (fault F14): git and `os.userInfo()` fail without a name. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { FIRST_USER, USERS } from '../../../hub/work/sandbox/users.ts'
import { accountsOf } from '../../../scripts/images/base.ts'
import { firstUserOf } from '../../../scripts/images/home-users.ts'

const rows = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => line.split(':'))

test.each([FIRST_USER, 65_400, 1000, 200_000])('the range from %i, once each, by names of their own', (first) => {
  const { passwd, group } = accountsOf(first)
  for (const [text, fields] of [
    [passwd, 7],
    [group, 4],
  ] as const) {
    const all = rows(text)
    expect(all.every((row) => row.length === fields)).toBe(true)
    for (const at of [0, 2]) expect(new Set(all.map((row) => row[at])).size).toBe(all.length)
    const ids = all.map((row) => Number(row[2]))
    for (let at = 0; at < USERS; at += 1) expect(ids).toContain(first + at)
  }
  expect(rows(passwd).filter(([, , id, gid, , home]) => id !== gid || (id !== '0' && home !== '/workspace'))).toEqual(
    [],
  )
})

test('the range is that of the home the images are for', async () => {
  const home = mkdtempSync(join(tmpdir(), 'users-'))
  try {
    expect(await firstUserOf(home)).toBe(FIRST_USER)
    writeFileSync(join(home, 'hub.yaml'), 'engine: { firstUser: 70000 }\n')
    expect(await firstUserOf(home)).toBe(70_000)
    writeFileSync(join(home, 'hub.yaml'), 'engine: { firstUser: 70 }\n')
    await expect(firstUserOf(home)).rejects.toMatchObject({ code: 'config_invalid' })
  } finally {
    rmSync(home, { recursive: true })
  }
})
