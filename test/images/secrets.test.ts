/** The shim leaves secrets as files before the program starts, and runs no program without them. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createShimBench } from '../support/shim-process.ts'

let bench: ReturnType<typeof createShimBench>
beforeEach(() => {
  bench = createShimBench()
})
afterEach(() => bench.close())

const folderOf = (session: string) => join(bench.dir, `s-${session}`)
const program = (run: string[]) => ({ driver: 'json-lines' as const, run })

describe("an agent's secrets", () => {
  test('S1-53: are 0400 in 0700 before the program starts, byte for byte, and in no environment', async () => {
    const secrets = { 'api-key': 'canary-one\n', 'db-password': 'canary-two' }
    const run = bench.python(`
hear()
say(op="result", value={"environ": open("/proc/self/environ").read(), "shim": open("/proc/%d/environ" % os.getppid()).read()})
`)
    const { session, exit, workspace, stderr } = await bench.start({ secrets, program: program(run) })
    const { outcome, value } = await session.result
    expect(outcome).toBe('succeeded')
    expect(JSON.stringify(value)).not.toMatch(/canary/)
    expect(await exit).toBe(0)
    const folder = folderOf(session.session)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    expect(readdirSync(folder).sort()).toEqual(['api-key', 'db-password'])
    for (const [name, text] of Object.entries(secrets)) {
      expect(statSync(join(folder, name)).mode & 0o777).toBe(0o400)
      expect(readFileSync(join(folder, name), 'utf8')).toBe(text)
    }
    expect(readdirSync(workspace, { recursive: true })).not.toContain('api-key')
    expect(stderr()).not.toContain('canary')
    const order = session.seen.map(({ path, envelope }) => envelope?.kind ?? path)
    expect(order.indexOf('/v1/secrets/db-password')).toBeLessThan(order.indexOf('result'))
  })

  test.each(['json-lines', 'sdk'] as const)(
    'a refused one fails the task by its name, and the program of driver %s never runs',
    async (driver) => {
      const mark = join(bench.dir, 'it-ran')
      const run = bench.shell(`touch ${mark}`)
      const secrets = { 'api-key': 'canary', missing: '' }
      const { session, exit, stderr } = await bench.start({ secrets, program: { driver, run } })
      expect(await session.result).toEqual({
        outcome: 'failed',
        error: 'the secret missing could not be fetched: policy_denied of the stand-in',
      })
      expect(await exit).toBe(0)
      expect(existsSync(mark)).toBe(false)
      expect(stderr()).toContain('the secret missing could not be fetched')
      expect(stderr()).not.toContain('canary')
    },
  )

  test('without any there is no folder', async () => {
    const run = bench.python('hear()\nsay(op="result", value=1)\n')
    const { session } = await bench.start({ program: program(run) })
    expect(await session.result).toEqual({ outcome: 'succeeded', value: 1 })
    expect(existsSync(folderOf(session.session))).toBe(false)
  })
})
