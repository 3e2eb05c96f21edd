import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { ERRORS } from '../../../../hub/base/errors.ts'
import { COMMANDS, GROUPS } from '../../../../hub/client/cli/table.ts'

const optionOf = (flags: string): string => flags.replace(/^--/, '').replace(/ .*$/, '')

describe('the table of commands', () => {
  it('names each command once, in one or two words, and the first of two is a group', () => {
    const words = COMMANDS.map((row) => row.words)
    expect(words.filter((each) => !/^[a-z]+(-[a-z]+)?( [a-z]+)?$/.test(each))).toEqual([])
    expect(new Set(words).size).toBe(words.length)
    const groups = words.filter((each) => each.includes(' ')).map((each) => each.split(' ')[0])
    expect(new Set(groups)).toEqual(new Set(Object.keys(GROUPS)))
  })

  it('leads from each row to a function', async () => {
    for (const { words, how, aloneWith } of COMMANDS) {
      const loads = ['alone' in how ? how.alone : how.load, ...Object.values(aloneWith)]
      for (const load of loads) expect(await load(), words).toBeTypeOf('function')
    }
  })

  it('splits the arguments off the words', () => {
    const argsOf = (words: string) => COMMANDS.find((row) => row.words === words)?.args
    expect(argsOf('session stop')).toBe('[session...]')
    expect(argsOf('adopt')).toBe('<moved|copy>')
    expect(argsOf('task list')).toBe('')
  })

  it('names among the ways to run alone only options of that row', () => {
    for (const { flags, aloneWith } of COMMANDS)
      expect(flags.map(([flag]) => optionOf(flag))).toEqual(expect.arrayContaining(Object.keys(aloneWith)))
  })

  it('has every command that an error tells a person to run (fault D13)', () => {
    const named = Object.values(ERRORS).flatMap(({ next }) =>
      [...next.matchAll(/`hub ([a-z -]+)/g)].map(([, words = '']) => words.trim()),
    )
    expect(named).not.toEqual([])
    for (const words of named)
      expect(
        COMMANDS.map((row) => row.words).some((known) => `${words} `.startsWith(`${known} `)),
        words,
      ).toBe(true)
  })

  it('has every command and option that a document tells a person to type', () => {
    const root = path.join(import.meta.dirname, '../../../..')
    const docs = readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md'))
    const files = ['README.md', 'RUNBOOK.md', 'policies/README.md', ...docs.map((name) => `docs/${name}`)]
    const blocksOf = (file: string) =>
      readFileSync(path.join(root, file), 'utf8')
        .split(/^```.*$/m)
        .filter((_, at) => at % 2 === 1)
        .join('\n')
    const typed = files.flatMap((file) =>
      [...blocksOf(file).matchAll(/^(?:\$ )?(?:scripts\/)?hub ([a-z].*)$/gm)].map(
        ([, line = '']) => [file, line.split(/ {2,}| # /)[0] ?? ''] as const,
      ),
    )
    expect(typed.length).toBeGreaterThan(40)
    const unknown = typed.filter(([, line]) => {
      const row = COMMANDS.filter(({ words }) => `${line} `.startsWith(`${words} `)).at(-1)
      const given = [...line.matchAll(/ --([a-z-]+)/g)].map(([, name = '']) => name)
      return given.some((name) => name !== 'json' && !row?.flags.some(([flag]) => optionOf(flag) === name)) || !row
    })
    expect(unknown).toEqual([])
  })

  it('lists as stops those commands whose exit code says whether everything has stopped', () => {
    expect(COMMANDS.filter((row) => row.isStop).map((row) => row.words)).toEqual([
      'down',
      'task cancel',
      'session stop',
      'session interrupt',
      'session close',
      'safe-mode',
      'shutdown',
    ])
  })
})
