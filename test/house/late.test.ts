import { describe, expect, it } from 'vitest'
import { judgeLate, lateLeft } from './late.ts'
import { readTree } from './source.ts'

const project = readTree(['hub', 'watchdog', 'images', 'scripts'], ['.ts', '.js'])
const path = 'hub/base/loop.ts'
const judge = (text: string, left: readonly string[] = []) => judgeLate(new Map([[path, text]]), left)

describe('the constants of this repository', () => {
  it('are declared above the closures that use them', () => {
    expect([...project.keys()].filter((each) => each.startsWith('hub/')).length).toBeGreaterThan(0)
    expect(judgeLate(project, lateLeft)).toEqual([])
    expect(lateLeft.filter((each) => !project.has(each))).toEqual([])
  })
})

describe('the check for constants that are used too early', () => {
  it.each([
    'const f = () => late\nconst late = 1',
    'function f() {\n  return late\n}\nconst late = 1',
    'const f = async (a: number): Promise<number> => a + late\nlet late = 1',
    'const f = (a): ((b: string) => void) => {\n  return g(late)\n}\nexport const late = g',
    'const o = {\n  f(a) {\n    return late\n  },\n}\nconst late = 1',
    'class C {\n  f(): string {\n    return late\n  }\n}\nconst late = 1',
    'function f() {\n  const g = () => late()\n  const late = () => 1\n}',
    'function f() {\n  const g = () => ({ late })\n  const { late } = a\n}',
    'function f() {\n  const g = () => [...late]\n  const { a: { b: [late] = [] } } = c\n}',
    'const f = (a) => (a ? late : b)\nconst late = 1',
    'const f = (a) =>\n  a\n    ? late\n    : b\nconst late = 1',
    'const f = (a) => {\n  switch (a) {\n    case late:\n      return 1\n  }\n}\nconst late = 1',
    'const f = (a = late) => a\nconst late = 1',
    'const f = () => `$' + '{late}`\nconst late = 1',
    "const f = () => typeof late === 'string'\nconst late = 1",
    // An inner scope that has ended hides nothing.
    'const f = () => {\n  {\n    const late = 2\n  }\n  return late\n}\nconst late = 1',
    'const f = () => g((late) => late) + late\nconst late = 1',
    'const f = () => {\n  for (const late of a) g(late)\n  return late\n}\nconst late = 1',
  ])('refuses %j', (text) => {
    expect(judge(text)).toHaveLength(1)
  })

  it.each([
    'const early = 1\nconst f = () => early',
    'const f = () => early()\nfunction early() {}',
    // Used at once: the type check refuses what is too early here.
    'type T = typeof late\nconst late = 1',
    'function f(a: typeof late) {}\nconst late = 1',
    'const f = () => f()',
    'const f = () => ({ late: 1 })\nconst late = 1',
    'const f = () => a.late + a?.late\nconst late = 1',
    'const f = () => ({\n  late() {\n    return 1\n  },\n})\nconst late = 1',
    'const f = (late: number, ...rest: string[]) => late\nconst late = 1',
    'const f = ({ a: late, b: { c: [d = 1] } }) => late + d\nconst late = 1\nconst d = 2',
    'const f = async (late) =>\n  late\n    ? late\n    : 1\nconst late = 1',
    'const f = late => late\nconst late = 1',
    'function f(late): late is string {\n  return late\n}\nconst late = 1',
    'const f = () => {\n  const late = 2\n  return () => late\n}\nconst late = 1',
    'const f = () => {\n  for (const late of a) g(late)\n}\nconst late = 1',
    'const f = () => {\n  try {\n  } catch (late) {\n    g(late)\n  }\n}\nconst late = 1',
    'const f = () => {\n  class late {}\n  return new late()\n}\nconst late = 1',
    'const f = () => {\n  const late = 1\n}\nconst g = () => {\n  const late = 1\n}',
    "const f = () => 'late' // late\nconst late = 1",
  ])('accepts %j', (text) => {
    expect(judge(text)).toEqual([])
  })

  it('names the place, the constant and where it is declared', () => {
    expect(judge('\nconst f = () => late\n\nconst late = 1')).toEqual([
      expect.stringMatching(/^hub\/base\/loop\.ts:2: a closure uses late, which line 4 declares/),
    ])
  })

  it('passes over a file on the list of those left, until nothing in it is used too early', () => {
    expect(judge('const f = () => late\nconst late = 1', [path])).toEqual([])
    expect(judge('const early = 1\nconst f = () => early', [path])).toEqual([
      expect.stringContaining('take it off the list'),
    ])
  })
})
