/** Secrets of the environment leave it: for child processes, and for whoever reads /proc. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { takeSecrets } from '../../../hub/home/secret-environment.ts'

const SOURCE = fileURLToPath(new URL('../../../hub/home/secret-environment.ts', import.meta.url))

describe('secrets of the environment', () => {
  it('are taken by name, and only they', () => {
    const env: NodeJS.ProcessEnv = { HUB_SECRET_API_KEY: 'k', HUB_SECRET_A: '', HUB_HOME: '/h', XHUB_SECRET_B: 'b' }
    const taken = takeSecrets(env)
    expect([...taken].map(([name, value]) => [name, value.toString()])).toEqual([
      ['api-key', 'k'],
      ['a', ''],
    ])
    expect(env).toEqual({ HUB_HOME: '/h', XHUB_SECRET_B: 'b' })
  })

  it.each(['HUB_SECRET_', 'HUB_SECRET_api', 'HUB_SECRET_A-B', `HUB_SECRET_${'A'.repeat(64)}`])(
    'of a name that no card can write stop the start by that name, and are gone all the same: %s',
    (key) => {
      const env: NodeJS.ProcessEnv = { [key]: 'the value' }
      expect(() => takeSecrets(env)).toThrow(`${key} names no secret`)
      expect(() => takeSecrets({ [key]: 'the value' })).not.toThrow('the value')
      expect(env).toEqual({})
    },
  )

  it.skipIf(!existsSync('/proc/self/environ'))(
    'T35: neither a child process nor /proc shows them afterwards; the others stay',
    () => {
      const program = `
      const { takeSecrets, scrubStartEnvironment } = await import(${JSON.stringify(SOURCE)})
      const { readFileSync } = await import('node:fs')
      const { execFileSync } = await import('node:child_process')
      const before = readFileSync('/proc/self/environ', 'latin1')
      const taken = takeSecrets(process.env)
      const done = scrubStartEnvironment()
      const after = readFileSync('/proc/self/environ', 'latin1')
      const child = execFileSync('cat', ['/proc/self/environ'], { encoding: 'latin1' })
      console.log(JSON.stringify({ before, after, child, done, key: String(taken.get('key')), stays: process.env.STAYS }))`
      const env = { HUB_SECRET_KEY: 'canary-1', STAYS: 'yes', HUB_SECRET_Z: 'canary-2', PATH: process.env.PATH }
      const said = JSON.parse(
        execFileSync(process.execPath, ['--input-type=module', '-e', program], { env, encoding: 'utf8' }),
      )
      expect(said).toMatchObject({ done: true, key: 'canary-1', stays: 'yes' })
      expect(said.before).toContain('canary-1')
      for (const shown of [said.after, said.child]) {
        expect(shown).toContain('STAYS=yes')
        expect(shown).not.toMatch(/canary|HUB_SECRET/)
      }
    },
  )
})
