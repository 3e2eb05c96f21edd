import { describe, expect, it } from 'vitest'
import { findFunctions } from './functions.ts'
import {
  fanOutFree,
  fanOutMax,
  fileLinesMax,
  functionLinesMax,
  judgeFanOut,
  judgeNeighbours,
  judgeShape,
  longFunctionsLeft,
  neighboursMax,
  neighboursOf,
} from './shape.ts'
import { readTree, scan } from './source.ts'

const project = readTree(['hub', 'watchdog', 'images', 'scripts', 'test'], ['.ts', '.js'])

const judge = (path: string, text: string) => judgeShape(new Map([[path, text]]))

describe('the shape of this repository', () => {
  it('holds in every source file', () => {
    expect([...project.keys()].filter((path) => path.startsWith('hub/')).length).toBeGreaterThan(0)
    expect(judgeShape(project, longFunctionsLeft)).toEqual([])
    expect(longFunctionsLeft.filter((path) => !project.has(path))).toEqual([])
  })

  it('holds no mark of a merge that was not settled', () => {
    const pages = readTree([''], ['.md', '.rego', '.yaml', '.sql'])
    expect(pages.has('test/support/frames/README.md')).toBe(true)
    const unsettled = [...project, ...pages].filter(([, text]) => /^(?:<{7}|>{7}) /m.test(text))
    expect(unsettled.map(([path]) => path)).toEqual([])
  })

  it('lets no file of hub and watchdog load more others than can be read at once', () => {
    expect(judgeFanOut(readTree(['hub', 'watchdog'], ['.ts']), fanOutFree)).toEqual([])
    expect(fanOutFree.filter((path) => !project.has(path))).toEqual([])
  })

  it('has few files of hub and watchdog that only one file of their folder loads', () => {
    expect(judgeNeighbours(readTree(['hub', 'watchdog'], ['.ts']))).toEqual([])
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

  it('counts what a file loads of its own process: no types, nothing of base, each file once', () => {
    const imports = (count: number) =>
      Array.from({ length: count }, (_, at) => `import { a } from './a${at}.ts'\n`).join('')
    const free =
      "import type { T } from './t.ts'\nimport { clock } from '../base/clock.ts'\nimport { b } from './a0.ts'\n"
    const path = 'hub/guard/guard.ts'
    const judged = (text: string, list: string[] = []) => judgeFanOut(new Map([[path, text]]), list)
    expect(judged(imports(fanOutMax) + free)).toEqual([])
    expect(judged(imports(fanOutMax + 1))).toEqual([expect.stringContaining('loads 16 files')])
    expect(judged(imports(fanOutMax + 1), [path])).toEqual([])
    expect(judged(imports(1), [path])).toEqual([expect.stringContaining('take it off the list')])
  })

  it('counts as neighbours the files that one file loads, and that in their own folder', () => {
    const tree = new Map([
      [
        'hub/work/a.ts',
        "import type { B } from './b.ts'\nimport { c } from './c.ts'\nimport { d } from '../base/d.ts'\n",
      ],
      ['hub/work/b.ts', "import { c } from './c.ts'\n"],
      ['hub/work/c.ts', ''],
      ['hub/base/d.ts', ''],
    ])
    expect(neighboursOf(tree)).toEqual(['hub/work/b.ts'])
    const many = (count: number) =>
      new Map(
        [...Array(count).keys()].flatMap((at) => [
          [`hub/a${at}/a.ts`, "import './b.ts'"],
          [`hub/a${at}/b.ts`, ''],
        ]),
      )
    expect(judgeNeighbours(many(neighboursMax(0)))).toEqual([])
    expect(judgeNeighbours(many(neighboursMax(0) + 1))).toEqual([
      expect.stringMatching(/^51 files are loaded by one file/),
    ])
  })

  it('refuses a function that is too long by its own lines, and accepts one that only holds others', () => {
    const lines = (count: number) => '  x()\n'.repeat(count)
    const long = `function f() {\n${lines(functionLinesMax - 1)}}`
    const path = 'hub/base/loop.ts'
    expect(judge(path, `function f() {\n${lines(functionLinesMax - 2)}}`)).toEqual([])
    expect(judge(path, long)).toEqual([expect.stringMatching(/^hub\/base\/loop\.ts:1: a function of 81 lines/)])
    expect(judge(path, `function f() {\n${lines(40)}  function g() {\n${lines(50)}  }\n}`)).toEqual([])
    expect(judgeShape(new Map([[path, long]]), [path])).toEqual([])
    expect(judgeShape(new Map([[path, 'x']]), [path])).toEqual([expect.stringContaining('take it off the list')])
  })

  it.each([
    ['function f(): void {\n}'],
    ['async function f<T>(a: { b: T }): Promise<{ c: T }> {\n}'],
    ['function f(a: string): { b: string; c: () => void } {\n}'],
    ['function f(a: unknown): a is { b: 1 } | { b: 2 } {\n}'],
    ['const f = (a: string): string[] => {\n}'],
    ['const f = async (a) => {\n}'],
    ['const o = {\n  async f(a) {\n  },\n}'],
  ])('sees the one function in %j', (text) => {
    expect(findFunctions(text)).toHaveLength(1)
  })

  it.each([
    'if (a) {\n}',
    'for (const a of b(c)) {\n}',
    'const a = b ? c(d) : { e: 1 }',
    'interface A {\n  b(): { c: 1 }\n}',
    'const a = { b: c(d) }',
    'do {\n} while (a())',
    "const s = 'function f() {}'",
  ])('sees no function in %j', (text) => {
    expect(findFunctions(text)).toEqual([])
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
    expect(judge('watchdog/act/act.ts', text).length).toBeGreaterThan(0)
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

  it('allows each banned call in its one place, and only there [clock-1]', () => {
    const allowed: [string, string][] = [
      ['hub/base/clock.ts', 'Date.now(); setTimeout(f, 1); performance.now()'],
      ['hub/base/random.ts', 'Math.random(); randomBytes(8)'],
      ['hub/main.ts', 'process.env.HOME; Date.now(); console.error(x)'],
      ['hub/client/cli/looking/status.ts', 'process.env.HOME; console.log(x); setInterval(f, 1)'],
      ['watchdog/base/clock.ts', "import { setTimeout } from 'node:timers/promises'"],
      ['images/echo/main.ts', 'export default console.log(Date.now())'],
      ['scripts/check.ts', 'console.log(process.env.HOME)'],
      ['test/hub/loop.test.ts', 'Date.now(); setTimeout(f, 1); process.env.HOME'],
    ]
    for (const [path, text] of allowed) expect(judge(path, text), path).toEqual([])
    expect(judge('hub/base/clock.ts', 'Math.random()')).toHaveLength(1)
    expect(judge('hub/base/random.ts', 'Date.now()')).toHaveLength(1)
    expect(judge('hub/client/connection.ts', 'console.log(x)')).toHaveLength(1)
    expect(judge('hub/main-loop.ts', 'Date.now()')).toHaveLength(1)
    expect(judge('watchdog/base/clock.ts', 'process.env.HOME')).toHaveLength(1)
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
