import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createActs } from '../../watchdog/act/act.ts'
import { judgeRemains, openProcesses } from '../../watchdog/observe/processes.ts'
import { createFakeEngine, createSteerableClock, makeContainer } from '../support/watchdog-home.ts'

const ID = 'c3'.repeat(32)
let proc = ''
beforeEach(() => {
  proc = mkdtempSync(path.join(os.tmpdir(), 'proc-'))
})
afterEach(() => rmSync(proc, { recursive: true, force: true }))
function put(pid: number, cgroup: string, state = 'S', name = 'node', of: number[] = []): void {
  const folder = path.join(proc, ...of.flatMap((each) => [String(each), 'task']), String(pid))
  mkdirSync(folder, { recursive: true })
  writeFileSync(path.join(folder, 'cgroup'), cgroup)
  writeFileSync(path.join(folder, 'stat'), `${pid} (${name}) ${state} 1`)
}

describe('fault A6: the processes of a container, by the watchdog', () => {
  test('are found by their control group, living ones only', () => {
    put(1, '0::/init.scope\n')
    put(9, `0::/docker/${ID}\n`, 'D')
    put(4, `8:pids:/docker/${ID}\n`, 'S', 'a) Z (b')
    put(5, `0::/docker/${ID}\n`, 'Z')
    put(6, `0::/docker/${'d4'.repeat(32)}\n`)
    expect(openProcesses(proc).of(ID)).toEqual([4, 9])
    expect(openProcesses(path.join(proc, 'none')).of(ID)).toBeNull()
    expect(openProcesses(proc).of('short')).toBeNull()
  })

  test('live on behind a first thread that has ended, in the root group too, until every thread has ended', () => {
    const thread = (pid: number, tid: number, cgroup: string, state: string) => put(tid, cgroup, state, 'node', [pid])
    put(4, `0::/docker/${ID}\n`, 'Z')
    thread(4, 4, `0::/docker/${ID}\n`, 'Z')
    expect(openProcesses(proc).of(ID)).toEqual([])
    thread(4, 8, `0::/docker/${ID}\n`, 'S')
    put(5, '8:pids:/\n0::/\n', 'Z')
    thread(5, 5, '8:pids:/\n0::/\n', 'Z')
    thread(5, 9, `8:pids:/docker/${ID}\n0::/\n`, 'R')
    put(6, '0::/\n', 'S')
    thread(6, 6, '0::/\n', 'S')
    expect(openProcesses(proc).of(ID)).toEqual([4, 5])
  })

  test('are all seen only on the machine of the engine, in its first namespace', () => {
    const machine = { kernel: os.release(), memoryBytes: os.totalmem() }
    mkdirSync(path.join(proc, 'self', 'ns'), { recursive: true })
    symlinkSync('pid:[4026531836]', path.join(proc, 'self', 'ns', 'pid'))
    expect(openProcesses(proc).seesAll(machine)).toBe(false)
    put(1, '0::/init.scope\n')
    expect(openProcesses(proc).seesAll(machine)).toBe(true)
    expect(openProcesses(proc).seesAll({ ...machine, memoryBytes: 1 })).toBe(false)
    expect(openProcesses(proc).seesAll({ ...machine, kernel: 'x' })).toBe(false)
  })

  test.each([
    ['running', null, 'unknown'],
    ['running', [], []],
    ['running', [3], [3]],
    ['dead', null, []],
    ['dead', [3], [3]],
    ['exited', null, []],
    ['created', null, []],
    ['removing', null, 'unknown'],
    ['a state of a later engine', null, 'unknown'],
    ['a state of a later engine', [], []],
    ['undefined', null, 'unknown'],
  ] as const)('shown as %s with processes %j it is %j', (state, found, remains) =>
    expect(judgeRemains(state, found)).toEqual(remains),
  )

  test('are looked for where a container could not be removed', async () => {
    const clock = createSteerableClock()
    const engine = createFakeEngine()
    const one = { ...makeContainer(clock.read()), state: 'running' }
    engine.present.set(one.id, one)
    engine.stubborn.add(one.id)
    const acts = (found: number[] | null, sees: boolean) =>
      createActs(
        { stopGraceMs: 10, hubStopMs: 10 },
        {
          clock,
          engine,
          hub: { lease: async () => ({ kind: 'silent', reason: 'x' }), shutdown: async () => null },
          processes: { of: () => found, seesAll: () => sees },
        },
      ).recycle([one])
    expect(await acts([12], false)).toMatchObject([{ outcome: 'failed', remains: [12] }])
    expect(await acts([], true)).toMatchObject([{ outcome: 'failed', remains: [] }])
    for (const [found, sees] of [
      [[], false],
      [null, true],
    ] as const)
      expect((await acts(found === null ? null : [], sees))[0]).toEqual({
        container: one.name,
        outcome: 'failed',
        reason: 'it will not die',
      })
  })
})
