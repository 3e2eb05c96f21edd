import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { keepDown } from '../../../../hub/base/stay-down.ts'
import { type Context, createContext } from '../../../../hub/client/cli/context.ts'
import { pathsOf } from '../../../../hub/client/cli/home.ts'
import { isAlive, processOf, startProcess } from '../../../../hub/client/cli/processes.ts'
import { restartHub, takeDown } from '../../../../hub/client/cli/setup/down.ts'
import { bringUp, type Programs, sayUp } from '../../../../hub/client/cli/setup/start.ts'
import { startUnit, unitsOf } from '../../../../hub/client/cli/setup/units.ts'
import { plain } from '../../../../hub/client/cli/text.ts'
import { makeHome, runHub, writeRules } from '../../../support/fake-hub.ts'

const SCRIPT = fileURLToPath(new URL('../../../support/fake-process.ts', import.meta.url))

let home: string
let remove: () => void
let context: Context
let notes: string[]

const programs = (how: { hub?: string; watchdog?: string } = {}): Programs => {
  const { hubLog, watchdogLog } = pathsOf(home)
  return {
    hub: { name: 'hub', argv: [SCRIPT, 'hub', '--home', home, '--how', how.hub ?? 'well'], log: hubLog },
    watchdog: {
      name: 'watchdog',
      argv: [SCRIPT, 'watchdog', '--home', home, '--how', how.watchdog ?? 'well'],
      log: watchdogLog,
    },
  }
}
const pids = () => {
  const paths = pathsOf(home)
  return { hub: processOf(paths.hubPid, home), watchdog: processOf(paths.watchdogPid, home) }
}

/** What is said of a process that takes seconds to start, as on a slow machine. */
const isSlow = (note: string) => /^starting the (hub|watchdog) \.\.\. \d+ s/.test(note)

beforeEach(() => {
  ;({ home, remove } = makeHome())
  writeRules(home)
  // No engine listens there: what is left over cannot be asked, and that is no finding.
  writeFileSync(
    path.join(home, 'watchdog', 'config.json'),
    JSON.stringify({ engineSocket: path.join(home, 'none.sock') }),
  )
  notes = []
  const terminal = {
    out: () => {},
    json: () => {},
    bytes: async () => true,
    note: (text: string) => void notes.push(text),
    fault: (text: string) => void notes.push(text),
    live: () => {},
    paint: plain,
    interactive: false,
    confirm: async () => true,
  }
  context = createContext(home, false, terminal)
})
afterEach(() => {
  for (const pid of Object.values(pids())) if (pid !== undefined && pid !== process.pid) process.kill(pid, 'SIGKILL')
  remove()
})

describe('hub up, where a service manager has units of this home', () => {
  it('starts the units and no process beside them, takes away what kept them down, and says nothing of `nothing restarts these` [watch-19, stop-20]', async () => {
    for (const part of ['hub', 'watchdog'] as const) keepDown(home, part)
    const asked: string[] = []
    const start = async (unit: string) => {
      expect(existsSync(path.join(home, 'stay-down', 'hub')), 'else the unit would refuse').toBe(false)
      asked.push(unit)
    }
    const view = await bringUp(context, programs(), 1000, { hub: 'a.service', watchdog: 'b.service' }, start)
    expect(asked).toEqual(['a.service', 'b.service'])
    expect(pids()).toEqual({ hub: undefined, watchdog: undefined })
    const said: string[] = []
    sayUp({ ...context.terminal, out: (text) => void said.push(text) }, false, view)
    expect(said).toEqual(['hub: up', 'watchdog: up'])
  })

  it('reads units only where systemd runs the machine, and only by plain names', async () => {
    const write = (units: object) => writeFileSync(path.join(home, 'units.json'), JSON.stringify(units))
    expect(unitsOf(home, home)).toBeUndefined()
    write({ hub: 'hub.service', watchdog: 'hub-watchdog.service' })
    expect(unitsOf(home, home)).toEqual({ hub: 'hub.service', watchdog: 'hub-watchdog.service' })
    expect(unitsOf(home, path.join(home, 'none'))).toBeUndefined()
    write({ hub: '--version', watchdog: 'hub-watchdog.service' })
    expect(unitsOf(home, home)).toBeUndefined()
    await expect(startUnit('hub.service', () => Promise.reject(new Error('access denied')))).rejects.toThrow(
      'systemd did not start hub.service: access denied',
    )
  })
})

describe('hub up', () => {
  it('starts both, waits for their ready lines, and run twice changes nothing [watch-19]', async () => {
    const first = await bringUp(context, programs())
    expect(first).toMatchObject({ hub: { started: true, ready: { ready: true } }, watchdog: { started: true } })
    expect(pids()).toEqual({ hub: first.hub.pid, watchdog: first.watchdog.pid })
    const second = await bringUp(context, programs())
    expect(second).toEqual({
      hub: { started: false, pid: first.hub.pid, ready: null },
      watchdog: { started: false, pid: first.watchdog.pid, ready: null },
    })
    expect(statSync(pathsOf(home).hubLog).mode & 0o777).toBe(0o600)
  })

  it('started by hand it says that neither a crash nor a reboot starts them again, with units it does not', () => {
    const said: string[] = []
    const terminal = { ...context.terminal, out: (text: string) => void said.push(text) }
    const one = { started: true, pid: 7, ready: null }
    sayUp(terminal, false, { hub: one, watchdog: one })
    expect(said.at(-1)).toMatch(
      /^Nothing restarts these two automatically: after a crash or a reboot run `hub up` again/,
    )
    said.length = 0
    sayUp(terminal, false, { hub: one, watchdog: one, units: { hub: 'hub.service', watchdog: 'hub-watchdog.service' } })
    expect(said.join()).not.toContain('Nothing restarts')
  })

  it.skipIf(!existsSync('/proc/self/environ'))(
    'T35: hands the secrets of the environment to the hub and never to the watchdog',
    async () => {
      process.env.HUB_SECRET_OF_TEST = 'canary'
      try {
        const { hub, watchdog } = await bringUp(context, programs())
        const given = (pid: number | null) => readFileSync(`/proc/${pid}/environ`, 'latin1')
        expect(given(hub.pid)).toContain('HUB_SECRET_OF_TEST=canary')
        expect(given(watchdog.pid)).toContain('PATH=')
        expect(given(watchdog.pid)).not.toMatch(/HUB_SECRET_|canary/)
      } finally {
        delete process.env.HUB_SECRET_OF_TEST
      }
    },
  )

  it('says why a hub does not start, once and after what it printed besides its log, and starts no watchdog alone (fault G9)', async () => {
    await expect(bringUp(context, programs({ hub: 'crash' }))).rejects.toThrow(
      'the hub did not start: port 7300 is in use; choose another',
    )
    expect(notes.filter((note) => !isSlow(note))).toEqual(['  hub begins'])
    expect(pids()).toEqual({ hub: undefined, watchdog: undefined })
  })

  it.skipIf(!existsSync('/dev/full'))(
    'fault G10: says that the disk is full where the log could not take the reason either',
    async () => {
      const log = pathsOf(home).hubLog
      mkdirSync(path.dirname(log), { recursive: true })
      symlinkSync('/dev/full', log)
      await expect(bringUp(context, programs({ hub: 'crash' }))).rejects.toMatchObject({
        message: `the hub did not start: ${log}: the disk is full; free some room, then try again`,
        next: '',
      })
    },
  )

  it('gives up on one that is never ready and leaves nothing half started', async () => {
    const wanted = programs({ hub: 'never' }).hub
    // On a slow machine it has said nothing by then: that is another start, with more time.
    for (let readyMs = 800; !notes.join().includes('hub begins'); readyMs *= 2) {
      expect(readyMs).toBeLessThan(60_000)
      const options = { home, cache: pathsOf(home).cache, readyMs, note: (text: string) => void notes.push(text) }
      await expect(startProcess(wanted, options)).rejects.toThrow(
        `it was not ready within ${readyMs / 1000} s and was ended`,
      )
    }
  })

  it('fault F17: the compile cache is nobody else’s to read, also where an earlier start left it open', async () => {
    const { cache } = pathsOf(home)
    mkdirSync(cache, { recursive: true })
    chmodSync(cache, 0o755)
    const wanted = programs({ hub: 'never' }).hub
    await startProcess(wanted, { home, cache, readyMs: 50, note: () => undefined }).catch(() => undefined)
    expect(statSync(cache).mode & 0o777).toBe(0o700)
  })

  it('is not fooled by the ready line of an earlier start', async () => {
    await bringUp(context, programs())
    await takeDown(context)
    expect(readFileSync(pathsOf(home).hubLog, 'utf8')).toContain('"ready":true')
    await expect(bringUp(context, programs({ hub: 'crash' }))).rejects.toThrow('did not start')
  })
})

describe('hub down', () => {
  it('ends the agents, the hub and the watchdog, and says what it did', async () => {
    await bringUp(context, programs())
    const before = pids()
    expect(await takeDown(context)).toMatchObject({
      hub: 'ended',
      watchdog: 'ended',
      stop: { path: 'hub', requested: 1, containers: [{ outcome: 'gone' }] },
      left: [],
    })
    for (const pid of Object.values(before)) expect(isAlive(pid ?? 0, home)).toBe(false)
    expect(notes.filter((note) => !isSlow(note))).toEqual([])
  })

  it('works where both are gone already', async () => {
    expect(await takeDown(context)).toEqual({ hub: 'was_gone', watchdog: 'was_gone', stop: null, left: [] })
    const { code, stdout } = await runHub(home, ['down'])
    expect([code, stdout]).toEqual([0, 'hub: was not running\nwatchdog: was not running\n'])
  })

  it('has the watchdog stop the containers where the hub is dead', async () => {
    const { hub } = await bringUp(context, programs())
    process.kill(hub.pid ?? 0, 'SIGKILL')
    expect(await takeDown(context)).toMatchObject({ hub: 'was_gone', watchdog: 'ended', stop: { path: 'watchdog' } })
  })

  it('ends by signal what does not end by itself', async () => {
    const { hub } = await bringUp(context, programs({ hub: 'stubborn' }))
    expect(await takeDown(context, 200)).toMatchObject({ hub: 'ended', watchdog: 'ended' })
    expect(isAlive(hub.pid ?? 0, home)).toBe(false)
    expect(notes.join()).toContain('did not end by itself; sending SIGTERM')
  })

  it('never takes a number in an old pid file for its own process', () => {
    writeFileSync(pathsOf(home).hubPid, `${process.pid}\n`)
    expect(processOf(pathsOf(home).hubPid, home)).toBeUndefined()
    for (const text of ['', '0', '-1', '1', 'x']) {
      writeFileSync(pathsOf(home).hubPid, text)
      expect(processOf(pathsOf(home).hubPid, home)).toBeUndefined()
    }
  })
})

describe('hub restart', () => {
  it('makes the hub anew and leaves the watchdog as it is [stop-3, stop-5]', async () => {
    const first = await bringUp(context, programs())
    const second = await restartHub(context, programs())
    expect(second.hub).toMatchObject({ started: true })
    expect(second.hub.pid).not.toBe(first.hub.pid)
    expect(second.watchdog).toMatchObject({ started: false, pid: first.watchdog.pid })
    expect(existsSync(pathsOf(home).hubPid)).toBe(true)
  })

  it('fault C3: with a fault in hub.yaml the hub that runs stays, and the fault is named with line, column and key', async () => {
    await bringUp(context, programs())
    const before = pids()
    writeFileSync(path.join(home, 'hub.yaml'), 'limits:\n  sesions: 3\n')
    await expect(restartHub(context, programs())).rejects.toMatchObject({
      code: 'config_invalid',
      kind: 'refused',
      message: expect.stringMatching(
        /hub\.yaml line 2, column 3: limits\.sesions: there is no such key; did you mean sessions\?; nothing was restarted$/,
      ),
    })
    expect(pids()).toEqual(before)
    const { code, stderr } = await runHub(home, ['up'])
    expect([code, stderr]).toEqual([
      0,
      expect.stringMatching(/line 2, column 3: limits\.sesions: .*the hub keeps the configuration it was started with/),
    ])
    expect(pids()).toEqual(before)
  })

  it('fault C3: of a file that is half written at the restart the judged half is what the new hub is given', async () => {
    await bringUp(context, programs())
    const file = path.join(home, 'hub.yaml')
    writeFileSync(file, 'limits:\n  sessions: 5\n')
    const seen: string[] = []
    const given = programs()
    // As the editor that goes on writing while the old hub ends.
    const hub = {
      ...given.hub,
      get argv() {
        writeFileSync(file, 'limits:\n  sessions: 5\n  nonsense: 1\n')
        seen.push(readFileSync(path.join(home, 'run', 'judged.yaml'), 'utf8'))
        return given.hub.argv
      },
    }
    await restartHub(context, { ...given, hub })
    expect(seen[0]).toBe('limits:\n  sessions: 5\n')
    expect(existsSync(path.join(home, 'run', 'judged.yaml'))).toBe(false)
  })

  it('fault C3: nothing is started on a file with a fault in it; a stop is never refused and says that the way back is barred', async () => {
    writeFileSync(path.join(home, 'hub.yaml'), 'logLevel: wran\n')
    const up = await runHub(home, ['up'])
    expect([up.code, up.stderr]).toEqual([3, expect.stringMatching(/logLevel: must be one of .*did you mean warn\?/)])
    const down = await runHub(home, ['down'])
    expect([down.code, down.stderr]).toEqual([
      0,
      expect.stringMatching(/`hub up` will refuse to start until you fix it/),
    ])
  })
})
