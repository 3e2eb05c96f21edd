import { describe, expect, it } from 'vitest'
import { fileLinesMax, judgeShape } from './shape.ts'
import { readTree, scan } from './source.ts'

const project = readTree(['hub', 'watchdog', 'images', 'scripts', 'test'], ['.ts', '.js'])

const judge = (path: string, text: string) => judgeShape(new Map([[path, text]]))

describe('the shape of this repository', () => {
  it('holds in every source file', () => {
    expect([...project.keys()].filter((path) => path.startsWith('hub/')).length).toBeGreaterThan(0)
    expect(judgeShape(project)).toEqual([])
  })
})

describe('the shape check', () => {
  it('wants plain JavaScript of the page and of nothing else, and no way from text to markup in it', () => {
    expect(judge('hub/client/console/view.js', 'x')).toEqual([])
    expect(judge('hub/client/console/view.ts', 'x')).toHaveLength(1)
    expect(judge('hub/client/view.js', 'x')).toHaveLength(1)
    for (const text of ['x.innerHTML = y', 'h("p", { dangerouslySetInnerHTML: x })', 'eval(x)', 'localStorage.x = y'])
      expect(judge('hub/client/console/view.js', text), text).toHaveLength(1)
  })

  it('refuses a source file that is too long, and accepts the longest one allowed', () => {
    expect(judge('hub/base/loop.ts', 'x\n'.repeat(fileLinesMax))).toEqual([])
    expect(judge('hub/base/loop.ts', 'x\n'.repeat(fileLinesMax + 1))).toEqual([
      expect.stringContaining(`${fileLinesMax + 1} lines`),
    ])
  })

  it.each([
    'Date.now()',
    'Date . now()',
    'const now = Date.now',
    'new Date()',
    'new Date',
    'Date()',
    'performance.now()',
    'globalThis.performance.now()',
    'process.hrtime.bigint()',
    'process.uptime()',
    'os.uptime()',
    'setTimeout(f, 1)',
    'globalThis.setTimeout(f, 1)',
    'setInterval(f, 1)',
    'AbortSignal.timeout(5)',
    'Math.random()',
    'randomBytes(8)',
    'crypto.randomUUID()',
    'process.env.HOME',
    "console.log('x')",
    'console.error(x)',
    'x as any',
    'it.only(f)',
    'export default x',
    'export { x as default }',
    "import { setTimeout as wait } from 'node:timers/promises'",
    "import { performance as p } from 'perf_hooks'",
    "import { env } from 'node:process'",
    '// @ts-ignore',
    '/* @ts-nocheck */',
    '// @ts-expect-error',
    '// TODO later',
    '/** FIXME */',
    'const s = `$' + '{Date.now()}`',
    'const r = /[\'"]/; Date.now()',
    "const s = 'it\\'s'; Date.now()",
  ])('refuses %s', (text) => {
    expect(judge('hub/work/registry.ts', text).length).toBeGreaterThan(0)
    expect(judge('watchdog/act.ts', text).length).toBeGreaterThan(0)
  })

  it.each([
    'new Date(at)',
    'new Date( at ).toISOString()',
    'setImmediate(f)',
    'socket.setTimeout(5_000)',
    'clock.now()',
    'const date = toDate(x)',
    "const s = 'TODO: Date.now() and it.only('",
    '// what Date.now() would say',
    'const s = `TODO new Date() as any`',
    'const r = /TODO|Date.now()/',
    "import { randomSource } from '../base/random.ts'",
    'const company = asAny(x)',
    'const half = a / b; const c = "Date.now()" + d / e',
  ])('accepts %s', (text) => {
    expect(judge('hub/work/registry.ts', text)).toEqual([])
  })

  it('names the place and the replacement', () => {
    expect(judge('hub/work/registry.ts', '\n\nDate.now()')).toEqual([
      expect.stringMatching(/^hub\/work\/registry\.ts:3: Date\.now; take the time from the clock/),
    ])
  })

  it('allows each banned call in its one place, and only there', () => {
    const allowed: [string, string][] = [
      ['hub/base/clock.ts', 'Date.now(); setTimeout(f, 1); performance.now()'],
      ['hub/base/random.ts', 'Math.random(); randomBytes(8)'],
      ['hub/main.ts', 'process.env.HOME; Date.now(); console.error(x)'],
      ['hub/client/cli/status.ts', 'process.env.HOME; console.log(x); setInterval(f, 1)'],
      ['watchdog/clock.ts', "import { setTimeout } from 'node:timers/promises'"],
      ['images/echo/main.ts', 'export default console.log(Date.now())'],
      ['scripts/check.ts', 'console.log(process.env.HOME)'],
      ['test/hub/loop.test.ts', 'Date.now(); setTimeout(f, 1); process.env.HOME'],
    ]
    for (const [path, text] of allowed) expect(judge(path, text), path).toEqual([])
    expect(judge('hub/base/clock.ts', 'Math.random()')).toHaveLength(1)
    expect(judge('hub/base/random.ts', 'Date.now()')).toHaveLength(1)
    expect(judge('hub/client/connection.ts', 'console.log(x)')).toHaveLength(1)
    expect(judge('hub/main-loop.ts', 'Date.now()')).toHaveLength(1)
    expect(judge('watchdog/clock.ts', 'process.env.HOME')).toHaveLength(1)
  })

  it('binds tests to words, types and running every test', () => {
    for (const text of ['it.only(f)', 'x as any', '// TODO', '// @ts-ignore'])
      expect(judge('test/hub/a.test.ts', text)).toHaveLength(1)
  })

  it.each(['utils', 'helpers', 'common', 'manager', 'service', 'index', 'docker-manager', 'Gate', 'gate_keeper'])(
    'refuses the file name %s.ts',
    (name) => {
      expect(judge(`hub/work/${name}.ts`, '')).toHaveLength(1)
    },
  )

  it('accepts file names in kebab-case', () => {
    for (const name of ['gate.ts', 'agent-socket.ts', 'gate.test.ts', 'sha256.ts'])
      expect(judge(`hub/work/${name}`, '')).toEqual([])
  })
})

describe('the scanner', () => {
  it('keeps every offset and line break', () => {
    for (const [path, text] of project) {
      const { code, comments } = scan(text)
      expect([code.length, comments.length], path).toEqual([text.length, text.length])
      expect(code.split('\n').length, path).toBe(text.split('\n').length)
    }
  })

  it('sees code inside nested templates, and none in their text', () => {
    const text = '`a $' + '{ f({ b: `c $' + "{ d } 'e` }) } g` + h"
    expect(scan(text).code.replace(/\s+/g, ' ')).toBe('` $' + '{ f({ b: ` $' + '{ d } ` }) } ` + h')
  })

  it('does not lose the rest of a file to one misread quote', () => {
    expect(scan("a) /'/ b\nDate.now()").code).toContain('Date.now()')
  })
})
