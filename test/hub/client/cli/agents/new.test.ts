import { execFileSync, spawnSync } from 'node:child_process'
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { LANGUAGES } from '../../../../../hub/client/cli/agents/new.ts'
import { readCard } from '../../../../../hub/work/card-reading.ts'
import { commandHome } from '../../../../support/command-home.ts'

const root = fileURLToPath(new URL('../../../../..', import.meta.url))
const at = commandHome()

describe('hub agent new', () => {
  test.each(LANGUAGES)(
    '%s: makes a folder whose card the hub loads and whose README names its commands',
    async (lang) => {
      const { code, stdout, stderr } = await at.run(['agent', 'new', 'greeter', '--lang', lang])
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout).toContain('next: `hub agent try greeter --param name=Ada`')
      const folder = path.join(at.home, 'greeter')
      const { card } = readCard(path.join(folder, 'agent.yaml'))
      expect([card.name, card.image]).toEqual(['greeter', 'hub/greeter'])
      const program = card.run
        .find((word) => word.startsWith('/app/agents/greeter/'))
        ?.slice('/app/agents/greeter/'.length)
      const files = readdirSync(folder)
      expect(files).toContain(program?.replace(/\.js$/, lang === 'ts' ? '.ts' : '.js'))
      for (const file of files.filter((each) => each !== 'node_modules')) {
        expect(readFileSync(path.join(folder, file), 'utf8')).not.toContain('__')
      }
      const readme = readFileSync(path.join(folder, 'README.md'), 'utf8')
      expect(readme.trimEnd().split('\n').length).toBeLessThanOrEqual(10)
      for (const verb of ['try', 'build', 'allow']) expect(readme).toContain(`hub agent ${verb} greeter`)
    },
  )

  test('ts: its unit test passes as it is, fails when the work is broken, and the whole folder type-checks', async () => {
    await at.run(['agent', 'new', 'greeter', '--lang', 'ts', '--dir', 'deep/place'])
    const folder = path.join(at.home, 'deep', 'place')
    const unit = () =>
      spawnSync(process.execPath, ['--test'], { cwd: folder, encoding: 'utf8', env: { PATH: process.env.PATH } })
    expect(unit().status, unit().stdout).toBe(0)
    expect(lstatSync(path.join(folder, 'node_modules', 'hub-sdk')).isSymbolicLink()).toBe(true)
    const config = { extends: path.join(root, 'tsconfig.json'), include: [`${folder}/*.ts`], exclude: [] }
    const typeRoots = [path.join(root, 'node_modules', '@types')]
    writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({ ...config, compilerOptions: { typeRoots } }))
    const compile = () => spawnSync(path.join(root, 'node_modules/.bin/tsc'), ['-p', folder], { encoding: 'utf8' })
    expect(compile().stdout).toBe('')
    const work = path.join(folder, 'work.ts')
    writeFileSync(work, readFileSync(work, 'utf8').replace('hub.progress({ text:', 'hub.progress({ txt:'))
    expect(compile().stdout).toContain('work.ts')
    writeFileSync(work, readFileSync(work, 'utf8').replaceAll('Hello', 'Hullo'))
    expect(unit().status).toBe(1)
  })

  test('cli and python: the program runs by hand', async () => {
    await at.run(['agent', 'new', 'plain', '--lang', 'cli'])
    const main = path.join(at.home, 'plain', 'main.js')
    expect(execFileSync(process.execPath, [main, '--name', 'Ada'], { encoding: 'utf8' })).toBe('Hello, Ada!\n')
    await at.run(['agent', 'new', 'snake', '--lang', 'python'])
    const checked = spawnSync('python3', ['-m', 'py_compile', path.join(at.home, 'snake', 'main.py')], {
      encoding: 'utf8',
    })
    expect(checked.stderr ?? '').toBe('')
  })

  test.each([
    [['Not A Name', '--lang', 'ts'], 'a name is 1 to 63'],
    [['a--dev', '--lang', 'ts'], 'belong to `hub agent try`'],
    [['a'.repeat(60), '--lang', 'ts'], 'at most 58'],
    [['a', '--lang', 'perl'], '--lang must be one of ts, python, shell, cli'],
    [['a'], '--lang must be one of'],
    [['python', '--lang', 'python'], 'is the name of a shipped agent or image'],
    [['drill', '--lang', 'ts'], 'is the name of a shipped agent or image'],
    [['constructor', '--lang', 'ts'], 'is a word of the programming language'],
    [['__proto__', '--lang', 'ts'], 'is a word of the programming language'],
    [['toString', '--lang', 'ts'], 'is a word of the programming language'],
    [['full', '--lang', 'ts'], 'is not empty'],
  ])('refuses %j by its reason and makes nothing', async (args, text) => {
    mkdirSync(path.join(at.home, 'full'))
    writeFileSync(path.join(at.home, 'full', 'mine'), '')
    const { code, stderr } = await at.run(['agent', 'new', ...args])
    expect(stderr).toContain(text)
    expect(code).toBe(2)
    rmSync(path.join(at.home, 'full'), { recursive: true })
    expect(readdirSync(at.home).sort()).toEqual(['instance', 'logs', 'run', 'watchdog'])
  })

  test('fault C36: a folder of one that is named as a shipped agent is not built over it', async () => {
    mkdirSync(path.join(at.home, 'mine'))
    writeFileSync(path.join(at.home, 'mine', 'agent.yaml'), 'name: drill\ndescription: d\nimage: hub/drill\nrun: [x]\n')
    const { code, stderr } = await at.run(['agent', 'build', path.join(at.home, 'mine')])
    expect([code, stderr]).toEqual([2, expect.stringContaining('drill is the name of a shipped agent or image')])
  })
})
