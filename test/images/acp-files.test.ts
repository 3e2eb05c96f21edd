/** Files and terminals that an agent asks its client for: the workspace and nothing else, and nobody learns what exists outside (S4-39). */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createFiles, type Files, type Refusal, TEXT_BYTES_MAX } from '../../images/agent/acp/files.ts'
import { createTerminals, TERMINALS_MAX, type Terminals } from '../../images/agent/acp/terminals.ts'
import { isAlive } from '../support/shim-process.ts'

let dir = ''
let workspace = ''
let files: Files
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'af-')))
  workspace = join(dir, 'workspace')
  mkdirSync(join(workspace, 'src'), { recursive: true })
  mkdirSync(join(dir, 'outside'))
  writeFileSync(join(dir, 'outside', 'secret'), 'secret')
  writeFileSync(join(workspace, 'src', 'a.txt'), 'one\ntwo\nthree')
  files = createFiles(workspace)
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

/** The refusal as the agent gets it, with its path taken out: what is left must not tell what exists. */
async function refusal(act: Promise<unknown>, path: string): Promise<string> {
  const thrown = (await act.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )) as Refusal | undefined
  return JSON.stringify([thrown?.code, thrown?.message, thrown?.data]).replaceAll(path, 'PATH')
}
const NOT_THERE = JSON.stringify([-32_002, 'Resource not found: PATH', { uri: 'PATH' }])

describe('files', () => {
  test('are read whole and by lines, and written, with the folders above them', async () => {
    const path = join(workspace, 'src', 'a.txt')
    expect(await files.read({ path })).toBe('one\ntwo\nthree')
    expect(await files.read({ path, line: 2, limit: 1 })).toBe('two\n')
    expect(await files.read({ path, line: 3 })).toBe('three')
    expect(await files.read({ path, line: 9, limit: 5 })).toBe('')
    expect(await files.read({ path, line: null, limit: null })).toBe('one\ntwo\nthree')
    await files.write({ path, content: 'new' })
    await files.write({ path: join(workspace, 'deep', 'er', 'ü.txt'), content: 'made' })
    expect([readFileSync(path, 'utf8'), await files.read({ path: join(workspace, 'deep', 'er', 'ü.txt') })]).toEqual([
      'new',
      'made',
    ])
  })

  test('a link within the workspace is followed, read and written', async () => {
    symlinkSync('src', join(workspace, 'link'))
    symlinkSync('src/a.txt', join(workspace, 'b.txt'))
    expect(await files.read({ path: join(workspace, 'link', 'a.txt') })).toBe('one\ntwo\nthree')
    await files.write({ path: join(workspace, 'b.txt'), content: 'x' })
    expect(readFileSync(join(workspace, 'src', 'a.txt'), 'utf8')).toBe('x')
  })

  test('S4-39: a path outside gives one error, whether it exists or not, by whatever way it leads there', async () => {
    symlinkSync(join(dir, 'outside'), join(workspace, 'out-link'))
    symlinkSync(join(dir, 'outside', 'secret'), join(workspace, 'file-link'))
    symlinkSync(join(dir, 'outside', 'new'), join(workspace, 'dangling'))
    symlinkSync('/root/no-such', join(workspace, 'src', 'far'))
    symlinkSync('loop', join(workspace, 'loop'))
    const paths = [
      '/etc/passwd',
      '/etc/no-such-file',
      '/',
      join(dir, 'outside', 'secret'),
      join(dir, 'outside', 'none'),
      `${workspace}/../outside/secret`,
      `${workspace}/../outside/none`,
      `${workspace}/src/../../outside/secret`,
      `${workspace}-beside/x`,
      join(workspace, 'out-link', 'secret'),
      join(workspace, 'out-link', 'none'),
      join(workspace, 'file-link'),
      join(workspace, 'dangling'),
      join(workspace, 'src', 'far'),
      join(workspace, 'src', 'far', 'x'),
      join(workspace, 'loop'),
      '/proc/self/environ',
      workspace,
    ]
    for (const path of paths) {
      expect([path, await refusal(files.read({ path }), path)]).toEqual([path, NOT_THERE])
      expect([path, await refusal(files.write({ path, content: 'x' }), path)]).toEqual([path, NOT_THERE])
    }
    expect(await refusal(files.read({ path: join(workspace, 'none') }), join(workspace, 'none'))).toBe(NOT_THERE)
    for (const path of paths.filter((path) => path !== workspace))
      expect([path, await refusal(files.folder(path), path)]).toEqual([path, NOT_THERE])
    expect(readFileSync(join(dir, 'outside', 'secret'), 'utf8')).toBe('secret')
    expect(existsSync(join(dir, 'outside', 'new'))).toBe(false)
  })

  test('S4-39: a folder or a file that is exchanged for a link while it is resolved leads nowhere', async () => {
    const secret = join(dir, 'outside', 'secret')
    const [folder, aside, link, file, next] = ['swap', 'aside', 'link', 'file', 'next'].map((name) =>
      join(workspace, name),
    ) as [string, string, string, string, string]
    mkdirSync(folder)
    writeFileSync(join(folder, 'secret'), 'inside')
    writeFileSync(file, 'inside')
    symlinkSync(join(dir, 'outside'), link)
    const turn = (from: string, to: string) => {
      renameSync(folder, to)
      renameSync(from, folder)
    }
    const swapFile = (make: () => void) => {
      make()
      renameSync(next, file)
    }
    let going = true
    const swapping = (async () => {
      while (going) {
        turn(link, aside)
        swapFile(() => symlinkSync(secret, next))
        await new Promise(setImmediate)
        turn(aside, link)
        swapFile(() => writeFileSync(next, 'inside'))
        await new Promise(setImmediate)
      }
    })()
    const seen = new Set<string>()
    for (let round = 0; round < 60; round += 1) {
      seen.add(await files.read({ path: join(folder, 'secret') }).catch((thrown: Refusal) => String(thrown.code)))
      await files.write({ path: file, content: 'written' }).catch(() => undefined)
    }
    going = false
    await swapping
    expect([...seen].filter((text) => text !== 'inside' && text !== '-32002')).toEqual([])
    expect(readFileSync(secret, 'utf8')).toBe('secret')
  })

  test('odd paths and odd files are refused by name', async () => {
    const path = join(workspace, 'big')
    writeFileSync(path, 'a'.repeat(TEXT_BYTES_MAX + 1))
    writeFileSync(join(workspace, 'binary'), Buffer.from([1, 0, 2]))
    const { spawnSync } = await import('node:child_process')
    spawnSync('mkfifo', [join(workspace, 'pipe')])
    expect(await refusal(files.read({ path: 'src/a.txt' }), '-')).toContain('absolute')
    expect(await refusal(files.read({ path: `${workspace}/a\0b` }), '-')).toContain('absolute')
    expect(await refusal(files.read({ path }), path)).toContain('ask for fewer lines')
    expect(await files.read({ path, limit: 0 })).toBe('')
    expect(await refusal(files.read({ path: join(workspace, 'binary') }), '-')).toContain('no text')
    expect(await refusal(files.read({ path: join(workspace, 'pipe') }), '-')).toContain('no plain file')
    expect(await refusal(files.read({ path: join(workspace, 'src') }), '-')).toContain('no plain file')
    expect(await refusal(files.write({ path: join(workspace, 'src'), content: '' }), '-')).toContain('EISDIR')
    expect(await refusal(files.write({ path, content: 'a'.repeat(TEXT_BYTES_MAX + 1) }), path)).toContain('at most')
  })
})

describe('terminals', () => {
  let terminals: Terminals
  beforeEach(() => {
    const env = { PATH: process.env.PATH ?? '', WORD: 'card' }
    terminals = createTerminals({ env, cwd: workspace, folder: files.folder })
  })
  afterEach(() => terminals.closeAll())

  test('run a command in the workspace with the environment of the program and what is added; output is kept, and how it ended', async () => {
    const env = [{ name: 'MORE', value: 'yes' }]
    const id = await terminals.create({
      command: 'sh',
      args: ['-c', 'pwd; echo $WORD $MORE; echo $HUB_SOCKET >&2; exit 3'],
      env,
    })
    expect(await terminals.waitForExit(id)).toEqual({ exitCode: 3, signal: null })
    const { output, truncated, exitStatus } = terminals.output(id)
    expect([truncated, exitStatus]).toEqual([false, { exitCode: 3, signal: null }])
    expect(output.split('\n').sort()).toEqual(['', '', 'card yes', workspace].sort())
    const line = await terminals.create({ command: 'echo one && echo two | cat', cwd: join(workspace, 'src') })
    await terminals.waitForExit(line)
    expect(terminals.output(line).output).toBe('one\ntwo\n')
    const none = await terminals.create({ command: 'no-such-program' })
    expect(await terminals.waitForExit(none)).toEqual({ exitCode: 127, signal: null })
    expect(terminals.output(none).output).toContain('could not be started')
  })

  test('S4-39: four at once; a place is free once its command was released and has ended', async () => {
    const ids = await Promise.all(
      Array.from({ length: TERMINALS_MAX }, () => terminals.create({ command: 'sleep', args: ['600'] })),
    )
    await expect(terminals.create({ command: 'true' })).rejects.toMatchObject({ code: -32_029 })
    const [first = '', second = ''] = ids
    terminals.kill(first)
    expect(await terminals.waitForExit(first)).toEqual({ exitCode: null, signal: 'SIGTERM' })
    await expect(terminals.create({ command: 'true' })).rejects.toMatchObject({ code: -32_029 })
    terminals.release(first)
    await terminals.create({ command: 'true' })
    for (const gone of [first, 'terminal-99', ''])
      expect(() => terminals.output(gone)).toThrow(expect.objectContaining({ code: -32_002 }))
    const waits = terminals.waitForExit(second)
    terminals.release(second)
    await expect(terminals.create({ command: 'true' })).rejects.toMatchObject({ code: -32_029 })
    expect(await waits).toEqual({ exitCode: null, signal: 'SIGTERM' })
    await terminals.create({ command: 'true' })
  })

  test('S4-39: a folder outside, an odd variable and too much output', async () => {
    await expect(terminals.create({ command: 'true', cwd: '/etc' })).rejects.toMatchObject({ code: -32_002 })
    await expect(terminals.create({ command: 'true', cwd: '/no-such' })).rejects.toMatchObject({ code: -32_002 })
    await expect(terminals.create({ command: 'true', env: [{ name: 'A=B', value: '' }] })).rejects.toThrow('no name')
    const id = await terminals.create({ command: 'printf "%s" "aäbäcädä"', outputByteLimit: 5 })
    await terminals.waitForExit(id)
    expect(terminals.output(id)).toMatchObject({ output: 'ädä', truncated: true })
    const flood = await terminals.create({ command: 'head -c 9000000 /dev/zero | tr "\\0" x' })
    await terminals.waitForExit(flood)
    expect(terminals.output(flood)).toMatchObject({ truncated: true, output: 'x'.repeat(1024 ** 2) })
  })

  test('S4-39: what ignores SIGTERM is killed with the session, with what it began', async () => {
    const id = await terminals.create({ command: 'trap "" TERM; sleep 600 & echo $! $$; wait; wait' })
    await expect.poll(() => terminals.output(id).output, { interval: 20 }).toContain('\n')
    const pids = terminals.output(id).output.trim().split(' ').map(Number)
    terminals.closeAll()
    await expect.poll(() => pids.some(isAlive), { interval: 20 }).toBe(false)
    await expect(terminals.create({ command: 'true' })).rejects.toThrow('ended')
  })
})
