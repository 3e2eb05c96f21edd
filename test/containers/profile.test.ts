/** The hardened profile on the real engine: inspect agrees with what was sent, and a probe inside finds every door shut (T49-T59). */
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { compareInspect } from '../../hub/work/sandbox/compare.ts'
import { loadProbe, openBench, reapGrant } from '../support/probe-session.ts'

/** Read-only, not permitted or not there: which of them depends on kernel and cgroup version. */
const REFUSED = expect.stringMatching(/^(?:EROFS|EACCES|ENOENT)$/)

let imageId = ''
beforeAll(async () => {
  imageId = await loadProbe()
})

test('the engine is of a version this client can use', async () => {
  await using bench = openBench(imageId)
  const { apiVersion } = await bench.engine.ping()
  expect(Number(apiVersion.split('.')[1])).toBeGreaterThanOrEqual(41)
})

test('the image carries nothing that the engine would merge into a container', async () => {
  await using bench = openBench(imageId)
  expect(await bench.engine.inspectImage(imageId)).toEqual({
    id: imageId,
    user: '65532:65532',
    volumes: [],
    env: [],
    labels: {},
    exposedPorts: [],
    onBuild: [],
    comment: '',
  })
  expect(await bench.engine.inspectImage('hub-test/no-such-image')).toBeUndefined()
})

test('T49: inspect shows no difference, before start and while it runs', async () => {
  await using bench = openBench(imageId)
  const { containerId, body, start, ask } = await bench.place()
  await start()
  await ask('report')
  expect(compareInspect(body, await bench.engine.inspect(containerId), containerId)).toEqual([])
})

test('T51, T56, T58, T59: a probe inside finds every door shut', async () => {
  await using bench = openBench(imageId)
  const { start, ask, session } = await bench.place()
  await start()
  const { limits, devices, ...found } = (await ask('report')) as Record<string, unknown>
  expect(found).toEqual({
    env: ['HOME', 'HOSTNAME', 'HUB_DEADLINE', 'HUB_SESSION', 'HUB_SOCKET', 'PATH', 'TZ'],
    status: {
      Uid: '60928 60928 60928 60928',
      Gid: '60928 60928 60928 60928',
      Groups: expect.stringMatching(/^(?:60928)?$/),
      CapInh: '0000000000000000',
      CapPrm: '0000000000000000',
      CapEff: '0000000000000000',
      CapBnd: '0000000000000000',
      CapAmb: '0000000000000000',
      NoNewPrivs: '1',
      Seccomp: '2',
    },
    writes: {
      root: 'EROFS',
      app: 'EROFS',
      sockets: 'EROFS',
      sysrq: REFUSED,
      hostname: 'EROFS',
      cgroup: REFUSED,
      tmp: 'ok',
      workspace: 'ok',
    },
    unlinkSocket: 'EROFS',
    exec: { inPlace: 'status 0', tmp: 'EACCES', workspace: 'EACCES', shell: 'ENOENT', child: 'status 0' },
    interfaces: ['lo'],
    sockets: {
      tcp: 'EPERM',
      tcp6: 'EPERM',
      listen: 'EPERM',
      udp: 'EPERM',
      udp6: 'EPERM',
      unix: 'ok',
      engine: 'ENOENT',
    },
    readable: ['/proc/uptime'],
    listable: ['/sys/kernel'],
    shm: 'ENOENT',
    inodes: 4093,
    sizes: [64 * 1024 ** 2, 256 * 1024 ** 2],
  })
  expect(limits).toMatch(/Max open files\s+256\s+256/)
  expect(limits).toMatch(/Max core file size\s+0\s+0/)
  expect(limits).toMatch(/Max file size\s+268435456\s+268435456/)
  expect(devices).not.toContain('shm')
  expect(session).toMatch(/^s/)
})

describe('the end of a container', () => {
  test('its exit code comes through the wait that was opened before start', async () => {
    await using bench = openBench(imageId)
    const { start, tell, exited } = await bench.place()
    await start()
    await tell('exit 7')
    expect(await exited).toEqual({ exitCode: 7, oomKilled: false })
  })

  test('T54: one that fills its memory is killed alone, and the flag says why', async () => {
    await using bench = openBench(imageId)
    const { start, tell, exited } = await bench.place({ memoryBytes: 96 * 1024 ** 2 })
    await start()
    await tell('hog')
    expect(await exited).toEqual({ exitCode: 137, oomKilled: true })
  })

  test('T60: one that ignores SIGTERM is gone after its grace, a second recycle says already gone', async () => {
    await using bench = openBench(imageId)
    const { start, ask, exited, containerId } = await bench.place()
    await start()
    await ask('trap')
    const recycled = await bench.containers.recycle(reapGrant, containerId, { graceMs: 1000 })
    expect(recycled).toEqual({ outcome: 'gone' })
    expect((await exited).exitCode).toBe(137)
    expect(await bench.containers.recycle(reapGrant, containerId, { graceMs: 0 })).toEqual({ outcome: 'already_gone' })
    expect(await bench.engine.list(bench.instance)).toEqual([])
  })

  test('T94: one that was never started is listed as created and removed', async () => {
    await using bench = openBench(imageId)
    const { containerId, session } = await bench.place()
    expect(await bench.engine.list(bench.instance)).toMatchObject([{ id: containerId, state: 'created', session }])
    expect(await bench.containers.recycle(reapGrant, containerId, { graceMs: 0 })).toEqual({ outcome: 'gone' })
  })

  test('one that ended is adopted with its exit code, and the list shows it too', async () => {
    await using bench = openBench(imageId)
    const { start, tell, exited, containerId } = await bench.place()
    await start()
    await tell('exit 3')
    await exited
    expect(await bench.containers.adopt(containerId)).toEqual({ exitCode: 3, oomKilled: false })
    expect(await bench.engine.list(bench.instance)).toMatchObject([{ state: 'exited', exitCode: 3 }])
  })
})

test('events of our instance tell of start and of the exit code at death', async () => {
  await using bench = openBench(imageId)
  const seen: { id: string; action: string; exitCode: number | undefined }[] = []
  const over = new AbortController()
  const listening = bench.engine.events(bench.instance, (event) => void seen.push(event), over.signal)
  // Nothing says that the stream stands but what it tells: until then what is made may be missed.
  for (let tries = 0; seen.length === 0 && tries < 60; tries += 1) {
    await bench.place()
    await sleep(1_000)
  }
  const { start, tell, containerId } = await bench.place()
  const mine = () => seen.filter(({ id }) => id === containerId)
  await start()
  await tell('exit 5')
  await vi.waitFor(() => expect(mine().map(({ action }) => action)).toContain('die'), { timeout: 120_000 })
  over.abort()
  await listening
  expect(mine().map(({ action, exitCode }) => [action, exitCode])).toEqual([
    ['create', undefined],
    ['start', undefined],
    ['die', 5],
  ])
})

test('T57: a flood on standard output leaves a bounded log, of which the end is read', async () => {
  await using bench = openBench(imageId)
  const { start, ask, tell, exited, containerId } = await bench.place()
  await start()
  await ask('chatter')
  await tell('exit 0')
  await exited
  const log = await bench.engine.logs(containerId, 4096)
  expect(Buffer.byteLength(log)).toBeLessThanOrEqual(4096)
  expect(log).toMatch(/^line 39999 x+$/m)
  const whole = await bench.engine.logs(containerId, 16 * 1024 ** 2)
  expect(Buffer.byteLength(whole)).toBeLessThan(1024 ** 2)
})
