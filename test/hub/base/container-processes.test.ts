import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { judgeRemains, processesOf, seesAll, wayOut } from '../../../hub/base/container-processes.ts'

const ID = 'a1'.repeat(32)
const OTHER = 'b2'.repeat(32)
let proc = ''
beforeEach(() => {
  proc = mkdtempSync(join(tmpdir(), 'proc-'))
})
afterEach(() => rmSync(proc, { recursive: true, force: true }))

function put(pid: number, cgroup: string, state = 'S', name = 'node', of: number[] = []): void {
  const folder = join(proc, ...of.flatMap((each) => [String(each), 'task']), String(pid))
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'cgroup'), cgroup)
  writeFileSync(join(folder, 'stat'), `${pid} (${name}) ${state} 1 1`)
}
const thread = (pid: number, tid: number, cgroup: string, state: string) => put(tid, cgroup, state, 'node', [pid])

describe('fault A6: the processes of a container', () => {
  it('are those whose control group names it, in either version and by either driver, however their number came to be', () => {
    put(7, `0::/system.slice/docker-${ID}.scope\n`)
    put(5, `9:name=systemd:/docker/${ID}\n8:pids:/docker/${ID}\n`, 'D')
    put(6, `0::/docker/${OTHER}\n`)
    put(1, '0::/init.scope\n')
    expect(processesOf(ID, proc)).toEqual([5, 7])
    expect(processesOf('hub-1-s1', proc)).toBeUndefined()
  })

  it('are none once they are zombies, whatever their name is', () => {
    put(5, `0::/docker/${ID}\n`, 'Z')
    put(6, `0::/docker/${ID}\n`, 'X', 'a) S (b')
    expect(processesOf(ID, proc)).toEqual([])
    put(7, `0::/docker/${ID}\n`, 'S', 'a) Z (b')
    expect(processesOf(ID, proc)).toEqual([7])
  })

  it('live on behind a first thread that has ended, in the root group too, until every thread has ended', () => {
    put(5, `0::/docker/${ID}\n`, 'Z')
    thread(5, 5, `0::/docker/${ID}\n`, 'Z')
    thread(5, 8, `0::/docker/${ID}\n`, 'X')
    expect(processesOf(ID, proc)).toEqual([])
    thread(5, 9, `0::/docker/${ID}\n`, 'S')
    put(6, '8:pids:/\n0::/\n', 'Z')
    thread(6, 6, '8:pids:/\n0::/\n', 'Z')
    // One that ended while it was looked at.
    mkdirSync(join(proc, '6', 'task', '10'))
    thread(6, 11, `8:pids:/docker/${ID}\n0::/\n`, 'R')
    put(7, '0::/\n')
    thread(7, 7, '0::/\n', 'S')
    expect(processesOf(ID, proc)).toEqual([5, 6])
  })

  it.each(['created', 'exited', 'dead'])('are none where they cannot be seen and the engine shows %s', (state) =>
    expect(judgeRemains(state, undefined)).toEqual({ kind: 'nothing' }),
  )
  it.each(['running', 'paused', 'restarting', 'removing', 'a state of a later engine', 'undefined', ''])(
    'are not known where they cannot be seen and the engine shows %j',
    (state) => {
      expect(judgeRemains(state, undefined)).toEqual({ kind: 'unknown' })
      expect(judgeRemains(state, [])).toEqual({ kind: 'nothing' })
    },
  )

  it('of a machine whose processes cannot be listed are not known', () => {
    expect(processesOf(ID, join(proc, 'none'))).toBeUndefined()
  })

  it('are all seen only in the first process namespace of the very kernel and memory that the engine tells of', () => {
    const engine = { kernel: release(), memoryBytes: totalmem() }
    mkdirSync(join(proc, 'self', 'ns'), { recursive: true })
    symlinkSync('pid:[4026531836]', join(proc, 'self', 'ns', 'pid'))
    expect(seesAll(engine, proc), 'the first process is hidden').toBe(false)
    put(1, '0::/init.scope\n')
    expect(seesAll(engine, proc)).toBe(true)
    expect(seesAll({ ...engine, kernel: 'of a machine in the machine' }, proc)).toBe(false)
    expect(seesAll({ ...engine, memoryBytes: 1 }, proc)).toBe(false)
    rmSync(join(proc, 'self', 'ns', 'pid'))
    symlinkSync('pid:[4026532000]', join(proc, 'self', 'ns', 'pid'))
    expect(seesAll(engine, proc), 'in a container').toBe(false)
  })

  it('name the way out that works', () => {
    const denied = 'it answered 500: could not kill container: permission denied'
    expect(wayOut('c', denied, { kind: 'processes', pids: [9] })).toMatch(
      /process 9; end it with: sudo kill -9 9\. .*sudo aa-remove-unknown, then restart the engine/,
    )
    expect(wayOut('c', denied, { kind: 'unknown' })).not.toContain('kill -9')
    expect(wayOut('c', 'device busy', { kind: 'unknown' })).toContain('docker rm -f c')
  })
})
