/** How a process starts again without the compiler of types, for the hub and for the watchdog, in real processes with real caches. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import * as ofHub from '../../../hub/base/start-again.ts'
import * as ofWatchdog from '../../../watchdog/base/start-again.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const folder = mkdtempSync('/tmp/hub-again-')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Said {
  pid: number
  word: string
  compiler: boolean
  undici: boolean
  marks: string[]
  given: string | undefined
}
const parts = [
  { part: 'hub/base', judge: ofHub.isWorthIt },
  { part: 'watchdog/base', judge: ofWatchdog.isWorthIt },
]

describe.each(parts)('a process of $part that stripped types itself', ({ part, judge }) => {
  const program = join(folder, `${part.replace('/', '-')}.ts`)
  writeFileSync(
    program,
    `import { startAgainOnce } from '${root}${part}/start-again.ts'
     import { http } from '${root}${part}/node-http.ts'
     process.stdout.write('begun ')
     startAgainOnce(process.env)
     const has = (name: string): boolean => process.moduleLoadList.includes('NativeModule internal/deps/' + name)
     http.createServer()
     console.log(JSON.stringify({ pid: process.pid, word: process.argv[2], compiler: has('amaro/dist/index'), undici: has('undici/undici'),
       marks: Object.keys(process.env).filter((key) => key.includes('STARTED_AGAIN')), given: process.env.GIVEN }))`,
  )
  const run = (cache: string | undefined) => {
    const { NODE_COMPILE_CACHE: _, ...env } = process.env
    const cached = cache === undefined ? env : { ...env, NODE_COMPILE_CACHE: cache }
    const child = spawnSync(process.execPath, [program, 'word'], {
      env: { ...cached, GIVEN: 'yes' },
      encoding: 'utf8',
    })
    expect(child.stderr).toBe('')
    const words = child.stdout.split('{', 1)[0]
    return { pid: child.pid, begun: words, said: JSON.parse(child.stdout.slice(words?.length)) as Said }
  }
  const cache = join(folder, `cache-${part.replace('/', '-')}`)

  it('starts again once, as the same process with the same words, and serves without the compiler', () => {
    const { pid, begun, said } = run(cache)
    expect(begun).toBe('begun begun ')
    expect(said).toEqual({ pid, word: 'word', given: 'yes', compiler: false, undici: false, marks: [] })
  })

  it('does not start again from a cache that has everything', () => {
    const { begun, said } = run(cache)
    expect(begun).toBe('begun ')
    expect(said.compiler).toBe(false)
  })

  it('goes on as it is without a cache, and with one that cannot be written', () => {
    writeFileSync(join(folder, 'file'), '')
    for (const where of [undefined, join(folder, 'file', 'cache')]) {
      const { begun, said } = run(where)
      expect(begun).toBe('begun ')
      expect(said.compiler).toBe(true)
    }
  })

  it('does not start again a second time, whatever the cache took', () => {
    const loaded = ['NativeModule internal/deps/amaro/dist/index']
    expect(judge({}, '/cache', loaded)).toBe(true)
    expect(judge({ HUB_STARTED_AGAIN: '1', HUB_WATCHDOG_STARTED_AGAIN: '1' }, '/cache', loaded)).toBe(false)
    expect(judge({}, undefined, loaded)).toBe(false)
    expect(judge({}, '/cache', [])).toBe(false)
  })
})
