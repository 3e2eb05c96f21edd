import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { commandHome } from '../../../../support/command-home.ts'
import {
  type FakeDoor,
  INSTANCE,
  openFakeDoor,
  refusal,
  SESSION_ID,
  watchdogSocketOf,
} from '../../../../support/fake-hub.ts'
import { ODD_ENGINES, openVersionedEngine } from '../../../../support/versioned-engine.ts'

let engine: FakeDoor

/** Containers the fake engine has: whether each goes away when it is removed. */
let containers: Map<string, { goes: boolean; labels: Record<string, string> }>

const stopped = (by: string, outcome = 'gone') => ({
  body: {
    path: by,
    requested: 1,
    containers: [
      { container: 'hub-x', session: SESSION_ID, outcome, ...(outcome === 'failed' ? { reason: 'paused' } : {}) },
    ],
  },
})

/** Of a hub that has lost its engine. */
const unsure = { body: { path: 'hub', requested: 0, containers: [], unproven: 'no engine' } }

const at = commandHome(async () => {
  const socket = path.join(at.home, 'engine.sock')
  writeFileSync(path.join(at.home, 'watchdog', 'config.json'), JSON.stringify({ engineSocket: socket }))
  at.watchdog.on('POST /v1/announce', () => ({ body: { announced: 'shutdown' } }))
  engine = await openFakeDoor(socket)
  containers = new Map()
  engine.on('GET /version', () => ({ body: { ApiVersion: '1.41', MinAPIVersion: '1.12' } }))
  engine.on('GET /v1.41/containers/json', ({ query }) => {
    const [label = ''] = (JSON.parse(query.get('filters') ?? '{}') as { label: string[] }).label
    const rows = [...containers].filter(([, { labels }]) => label === `hub.instance=${labels['hub.instance']}`)
    return { body: rows.map(([id, { labels }]) => ({ Id: id, Names: [`/hub-${id}`], Labels: labels })) }
  })
  engine.on('POST /v1.41/containers/:id/stop', () => ({ status: 204 }))
  engine.on('POST /v1.41/containers/:id/kill', () => ({ status: 409, body: { message: 'not running' } }))
  engine.on('DELETE /v1.41/containers/:id', (asked) => {
    const id = asked.path.split('/')[3] ?? ''
    if (containers.get(id)?.goes !== true) return { status: 500, body: { message: 'device busy' } }
    containers.delete(id)
    return { status: 204 }
  })
  engine.on('GET /v1.41/containers/:id/json', (asked) =>
    containers.has(asked.path.split('/')[3] ?? '') ? { body: { State: { Status: 'running' } } } : { status: 404 },
  )
}, true)
afterEach(async () => {
  await engine.close()
})

describe('hub shutdown', () => {
  it('tells the watchdog, has the hub stop everything, and says by which path and how many', async () => {
    at.hub.on('POST /v1/shutdown', () => stopped('hub'))
    const sessions = [{ expiresAtMs: Date.now() + 7_190_000 }, { expiresAtMs: Date.now() + 60_000 }]
    at.hub.on('GET /v1/sessions', () => ({ body: { sessions, next: null } }))
    const { code, stdout, stderr } = await at.run(['shutdown', '--yes', '--drain'])
    expect([code, stdout]).toEqual([0, 'by the hub: 1 container told to stop, 1 confirmed gone\n'])
    expect(stderr).toMatch(
      /^running sessions may work until .+\(in 1 h 59 m\) at the latest; `hub shutdown` stops it sooner\n$/,
    )
    expect(at.hub.asked.find(({ method }) => method === 'POST')?.body).toEqual({
      exit: 'shutdown',
      drain: true,
      reason: 'shutdown by the operator',
    })
    expect(at.watchdog.asked.map(({ body }) => body)).toEqual([{ kind: 'shutdown', forMs: 300_000 }])
  })

  it.each([
    ['is dead', () => at.closeHub()],
    ['has a fault', async () => at.hub.on('POST /v1/shutdown', () => refusal('internal', 'bug'))],
  ])('goes to the watchdog where the hub %s', async (_, prepare) => {
    await prepare()
    at.watchdog.on('POST /v1/shutdown', () => stopped('watchdog'))
    const { code, stdout } = await at.run(['shutdown', '--yes'])
    expect([code, stdout]).toEqual([0, 'by the watchdog: 1 container told to stop, 1 confirmed gone\n'])
  })

  it('names what is still there and ends with 1: told to stop is not stopped [stop-43]', async () => {
    at.hub.on('POST /v1/shutdown', () => stopped('hub', 'failed'))
    const { code, stdout } = await at.run(['shutdown', '--yes'])
    expect([code, stdout]).toEqual([
      1,
      'by the hub: 1 container told to stop, 0 confirmed gone\nstill there: hub-x: paused\n',
    ])
  })

  it('X1: asks the engine itself at the end, and does not call stopped what it still shows; how far it is goes to stderr', async () => {
    containers.set('aaaaaaaaaaaa', { goes: true, labels: { 'hub.instance': INSTANCE, 'hub.session': SESSION_ID } })
    // It answers when the command has looked at the engine a third time: after the second look it has said how far it is.
    const looks = () => engine.asked.filter(({ path: asked }) => asked.endsWith('/containers/json')).length
    at.hub.on('POST /v1/shutdown', async () => {
      await expect.poll(looks).toBeGreaterThan(2)
      return stopped('hub')
    })
    const { code, stdout, stderr } = await at.run(['shutdown', '--yes'])
    expect(code).toBe(1)
    expect(stdout).toContain('by the hub: 2 containers told to stop, 1 confirmed gone\n')
    expect(stdout).toContain('still there: hub-aaaaaaaaaaaa: the engine still shows it')
    expect(stderr).toContain('stopping: 0 of 1 confirmed\n')
  })

  it('an engine that could not be asked at the end is no success', async () => {
    at.hub.on('POST /v1/shutdown', () => unsure)
    await engine.close()
    const { code, stdout } = await at.run(['shutdown', '--yes'])
    expect([code, stdout]).toEqual([
      1,
      'by the hub: 0 containers told to stop, 0 confirmed gone\ncould not find out whether anything still runs: no engine\n',
    ])
  })

  it('where the hub could not ask it and this command can, its own look counts', async () => {
    at.hub.on('POST /v1/shutdown', () => unsure)
    const { code, stdout } = await at.run(['shutdown', '--yes'])
    expect([code, stdout]).toEqual([0, 'by the hub: 0 containers told to stop, 0 confirmed gone\n'])
  })

  it('I6: with --emergency a hub that cannot say what is left is not the last that is asked', async () => {
    containers.set('aaaaaaaaaaaa', { goes: true, labels: { 'hub.instance': INSTANCE, 'hub.session': SESSION_ID } })
    at.hub.on('POST /v1/shutdown', () => unsure)
    at.watchdog.on('GET /v1/status', () => ({ body: {} }))
    at.watchdog.on('POST /v1/shutdown', () => {
      containers.clear()
      return stopped('watchdog')
    })
    const { code, stdout } = await at.run(['shutdown', '--emergency', '--yes'])
    // Its own, and the one that was there before and that nobody named.
    expect([code, stdout]).toEqual([0, 'by the watchdog: 2 containers told to stop, 2 confirmed gone\n'])
  })

  it('I6: nor is one without an engine of its own, where this command has none either', async () => {
    at.hub.on('POST /v1/shutdown', () => unsure)
    at.watchdog.on('GET /v1/status', () => ({ body: {} }))
    at.watchdog.on('POST /v1/shutdown', () => stopped('watchdog'))
    await engine.close()
    const { code, stdout } = await at.run(['shutdown', '--emergency', '--yes'])
    expect([code, stdout]).toEqual([0, 'by the watchdog: 1 container told to stop, 1 confirmed gone\n'])
  })

  it('without --emergency touches no container itself, and says how', async () => {
    await Promise.all([at.closeHub(), at.watchdog.close()])
    const { code, stderr } = await at.run(['shutdown', '--yes'])
    expect(code).toBe(4)
    expect(stderr).toContain('hub: neither the hub nor the watchdog answers\nnext: `hub shutdown --emergency`\n')
    expect(engine.asked.every(({ method }) => method === 'GET')).toBe(true)
  })

  it('--dry-run lists what would stop and stops nothing', async () => {
    const session = { id: SESSION_ID, agent: 'echo', task: null, containerId: 'c'.repeat(64) }
    at.hub.on('GET /v1/sessions', () => ({ body: { sessions: [session], next: null } }))
    const { code, stdout } = await at.run(['shutdown', '--dry-run'])
    expect([code, stdout.includes(SESSION_ID)]).toEqual([0, true])
    expect([...at.hub.asked, ...at.watchdog.asked].every(({ method }) => method === 'GET')).toBe(true)
  })
})

describe('hub shutdown --emergency, hub and watchdog dead', () => {
  const ours = { 'hub.instance': INSTANCE, 'hub.session': SESSION_ID }
  beforeEach(async () => {
    await Promise.all([at.closeHub(), at.watchdog.close()])
  })

  it('stops, kills and removes every container of this home and no other, each confirmed by the engine [stop-47]', async () => {
    containers.set('aaaaaaaaaaaa', { goes: true, labels: ours })
    containers.set('bbbbbbbbbbbb', { goes: true, labels: ours })
    containers.set('ffffffffffff', { goes: true, labels: { 'hub.instance': 'somebody-else' } })
    const { code, stdout } = await at.runAsProcess(['shutdown', '--emergency', '--yes'])
    expect([code, stdout]).toEqual([0, 'by the command: 2 containers told to stop, 2 confirmed gone\n'])
    expect([...containers.keys()]).toEqual(['ffffffffffff'])
    const order = readFileSync(path.join(at.home, 'stop-order'))
    expect([order.length, JSON.parse(order.toString().replaceAll('\0', ''))]).toEqual([
      512,
      { by: 'emergency', reason: 'emergency stop by the operator' },
    ])
    expect(engine.asked.some((each) => each.path.includes('ffff'))).toBe(false)
  })

  it('I6: a watchdog that hangs is not waited for as long as one that works', async () => {
    const hung = await openFakeDoor(watchdogSocketOf(at.home))
    for (const route of ['GET /v1/status', 'POST /v1/announce', 'POST /v1/shutdown'])
      hung.on(route, () => ({ raw: () => undefined }))
    containers.set('aaaaaaaaaaaa', { goes: true, labels: ours })
    const { code, stdout } = await at.runAsProcess(['shutdown', '--emergency', '--yes'])
    await hung.close()
    expect([code, stdout]).toEqual([0, 'by the command: 1 container told to stop, 1 confirmed gone\n'])
  })

  it('fault A10: what the engine refused at once is looked at once and not waited for; what it hangs on or is removing is', async () => {
    await Promise.all([at.closeHub(), at.watchdog.close()])
    containers.set('d'.repeat(64), { goes: false, labels: { 'hub.instance': INSTANCE } })
    const looks = () => engine.asked.filter(({ path: at }) => /containers\/d+\/json/.test(at)).length
    expect((await at.runAsProcess(['shutdown', '--yes', '--emergency'])).code).toBe(1)
    expect(looks()).toBe(1)
    engine.on('DELETE /v1.41/containers/:id', () => ({ status: 409, body: { message: 'removal is in progress' } }))
    expect((await at.runAsProcess(['shutdown', '--yes', '--emergency'])).code).toBe(1)
    expect(looks()).toBe(1 + 8)
  })

  it('names the one that stays, with what the engine said, exit 1', async () => {
    containers.set('aaaaaaaaaaaa', { goes: true, labels: ours })
    containers.set('bbbbbbbbbbbb', { goes: false, labels: ours })
    const { code, stdout } = await at.runAsProcess(['shutdown', '--emergency', '--yes', '--json'])
    expect(code).toBe(1)
    const view = JSON.parse(stdout) as {
      path: string
      requested: number
      containers: { container: string; outcome: string; reason?: string }[]
    }
    expect([view.path, view.requested]).toEqual(['command', 2])
    expect(view.containers.find(({ outcome }) => outcome === 'failed')).toMatchObject({
      container: 'hub-bbbbbbbbbbbb',
      reason: expect.stringContaining('device busy'),
    })
  })

  it.each(ODD_ENGINES)('fault A3: stops by an engine %s', async (_what, oldest, newest, prefix, tells) => {
    await engine.close()
    await using odd = await openVersionedEngine(path.join(at.home, 'engine.sock'), oldest, newest, tells)
    odd.containers.set('aaaaaaaaaaaa', ours)
    const { code, stdout } = await at.runAsProcess(['shutdown', '--emergency', '--yes'])
    expect([code, stdout]).toEqual([0, 'by the command: 1 container told to stop, 1 confirmed gone\n'])
    expect(odd.containers.size).toBe(0)
    expect(odd.calls).toContain(`DELETE ${prefix}/containers/aaaaaaaaaaaa`)
  })

  it('with the engine dead too says that nothing could be stopped', async () => {
    await engine.close()
    const { code, stderr } = await at.runAsProcess(['shutdown', '--emergency', '--yes'])
    expect(code).toBe(4)
    expect(stderr).toContain(
      'hub: nothing could be stopped\nnext: start the container engine, or switch the machine off\n',
    )
  })

  it('refuses an instance id that could match more than its own containers', async () => {
    writeFileSync(path.join(at.home, 'instance'), '\n')
    containers.set('aaaaaaaaaaaa', { goes: true, labels: { 'hub.instance': '' } })
    expect((await at.runAsProcess(['shutdown', '--emergency', '--yes'])).code).toBe(4)
    expect(engine.asked).toEqual([])
  })
})

describe('hub down, hub and watchdog dead', () => {
  it('names the containers that are left and touches none, exit 4', async () => {
    await Promise.all([at.closeHub(), at.watchdog.close()])
    containers.set('aaaaaaaaaaaa', { goes: true, labels: { 'hub.instance': INSTANCE } })
    const { code, stderr } = await at.runAsProcess(['down'])
    expect(code).toBe(4)
    expect(stderr).toContain(
      'hub: containers of this home are still there: hub-aaaaaaaaaaaa\nnext: `hub shutdown --emergency`\n',
    )
    expect(engine.asked.every(({ method }) => method === 'GET')).toBe(true)
  })
})

describe('hub shutdown --emergency, hub alive', () => {
  it('says to both that it is one', async () => {
    at.hub.on('POST /v1/shutdown', () => stopped('hub'))
    await at.runAsProcess(['shutdown', '--emergency', '--yes'])
    expect(at.hub.asked.find(({ path: asked }) => asked === '/v1/shutdown')?.body).toMatchObject({ emergency: true })
    expect(at.watchdog.asked[0]?.body).toEqual({ kind: 'shutdown', forMs: 300_000, by: 'emergency' })
  })

  it('counts what the watchdog removed between its being told and the hub being asked [stop-43]', async () => {
    const ours = { 'hub.instance': INSTANCE, 'hub.session': SESSION_ID }
    containers.set('aaaaaaaaaaaa', { goes: true, labels: ours })
    containers.set('bbbbbbbbbbbb', { goes: true, labels: ours })
    at.watchdog.on('POST /v1/announce', () => {
      containers.delete('aaaaaaaaaaaa')
      return { body: { announced: 'shutdown' } }
    })
    at.hub.on('POST /v1/shutdown', () => {
      containers.clear()
      const gone = { container: 'hub-bbbbbbbbbbbb', session: SESSION_ID, outcome: 'gone' }
      return { body: { path: 'hub', requested: 1, containers: [gone] } }
    })
    const { code, stdout } = await at.run(['shutdown', '--emergency', '--yes', '--json'])
    const view = JSON.parse(stdout) as { requested: number; containers: { container: string; outcome: string }[] }
    expect([code, view.requested]).toEqual([0, 2])
    expect(view.containers.map(({ container, outcome }) => [container, outcome])).toEqual([
      ['hub-bbbbbbbbbbbb', 'gone'],
      ['hub-aaaaaaaaaaaa', 'gone'],
    ])
  })

  it('the count does not wait for an engine that hangs', async () => {
    engine.on('GET /v1.41/containers/json', () => ({ raw: () => undefined }))
    at.watchdog.on('POST /v1/announce', async () => {
      // It answers from now on: what was asked before is still open.
      engine.on('GET /v1.41/containers/json', () => ({ body: [] }))
      return { body: { announced: 'shutdown' } }
    })
    at.hub.on('POST /v1/shutdown', () => stopped('hub'))
    const { code, stdout } = await at.run(['shutdown', '--emergency', '--yes'])
    expect([code, stdout]).toEqual([0, 'by the hub: 1 container told to stop, 1 confirmed gone\n'])
  })

  it('once the count has come, nothing of it keeps the command from ending', async () => {
    at.hub.on('POST /v1/shutdown', () => stopped('hub'))
    const begun = vi.spyOn(globalThis, 'setTimeout')
    const cleared = vi.spyOn(globalThis, 'clearTimeout')
    await at.run(['shutdown', '--emergency', '--yes'])
    const limits = begun.mock.results.filter((_, nth) => begun.mock.calls[nth]?.[1] === 2_000)
    expect(limits).toHaveLength(1)
    expect(cleared).toHaveBeenCalledWith(limits[0]?.value)
    vi.restoreAllMocks()
  })

  it('goes on to the next path for what the hub could not confirm', async () => {
    at.hub.on('POST /v1/shutdown', () => stopped('hub', 'failed'))
    at.watchdog.on('POST /v1/shutdown', () => stopped('watchdog', 'gone'))
    const { code, stdout } = await at.runAsProcess(['shutdown', '--emergency', '--yes'])
    expect([code, stdout]).toEqual([0, 'by the watchdog: 1 container told to stop, 1 confirmed gone\n'])
  })
})
