/** The units as `scripts/systemd/install` writes them, and the last line's judgement of one container. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Container, isOverdue } from '../../scripts/systemd/reaper.ts'
import { repositoryRoot } from '../house/source.ts'
import { openFakeSystemd } from '../support/fake-systemd.ts'
import { ODD_ENGINES, openVersionedEngine } from '../support/versioned-engine.ts'

const INSTALL = join(repositoryRoot, 'scripts', 'systemd', 'install')
let folder: string
let home: string
let units: string
beforeAll(() => {
  folder = mkdtempSync('/tmp/un-')
  home = join(folder, 'home')
  units = join(folder, 'units')
  for (const each of [home, units]) mkdirSync(each, { mode: 0o700 })
  writeFileSync(join(home, 'instance'), '0f0e0d0c-0000-4000-8000-00000000abcd\n')
})
afterAll(() => rmSync(folder, { recursive: true }))

const install = (...words: string[]) => spawnSync(INSTALL, words, { encoding: 'utf8' })
const unit = (name: string) => readFileSync(join(units, name), 'utf8')

describe('scripts/systemd/install', () => {
  it('writes the units of this checkout and home, after Docker and time sync, with nothing left to fill in, and systemd accepts them [clock-10]', () => {
    const { status, stderr, stdout } = install('--home', home, '--to', units)
    expect([status, stderr]).toEqual([0, ''])
    expect(stdout).toContain('not enabled')
    expect(readdirSync(units).sort()).toEqual([
      'hub-reaper.service',
      'hub-reaper.timer',
      'hub-stop.service',
      'hub-stop.socket',
      'hub-watchdog.service',
      'hub.service',
    ])
    for (const name of readdirSync(units)) expect(unit(name), name).not.toMatch(/@[A-Z]+@/)
    // Faults F15, F19: no core dump, no debugger, from the first moment on.
    for (const name of readdirSync(units).filter((each) => each.endsWith('.service'))) {
      expect(unit(name), name).toContain('LimitCORE=0\n')
      expect(unit(name), name).toMatch(/^ExecStart=\S+ --disable-sigusr1 \S+\.ts /m)
    }
    for (const name of ['hub.service', 'hub-watchdog.service'])
      expect(unit(name), name).toMatch(/^After=docker\.service time-sync\.target/m)
    expect(unit('hub.service')).toContain(`hub/main.ts serve --home ${home}\n`)
  })

  it('X13, S1-30: the watchdog is enabled on its own and never given up; a stop that sticks is not undone by starting it again [watch-18, stop-33]', () => {
    const [hub, dog] = [unit('hub.service'), unit('hub-watchdog.service')]
    for (const text of [hub, dog]) {
      for (const line of ['Type=notify', 'NotifyAccess=all', 'WatchdogSec=90', 'WantedBy=multi-user.target'])
        expect(text).toContain(`${line}\n`)
      for (const line of ['NoNewPrivileges=yes', 'ProtectSystem=strict', 'CapabilityBoundingSet=', 'UMask=0077'])
        expect(text).toContain(`${line}\n`)
      expect(text).toMatch(/^MemoryMax=\d+[MG]$/m)
      expect(text).toMatch(/^After=docker\.service time-sync\.target/m)
    }
    expect(dog).toContain('Restart=always\n')
    expect(dog).toContain('StartLimitIntervalSec=0\n')
    expect(dog).not.toMatch(/^(Requires|PartOf|BindsTo)=/m)
    expect(hub).toContain('Restart=on-failure\n')
    expect(hub).toContain('RestartPreventExitStatus=2 10 11\n')
    expect(hub).toContain(`ConditionPathExists=!${home}/stay-down/hub\n`)
    expect(dog).toContain(`ConditionPathExists=!${home}/stay-down/watchdog\n`)
    expect(dog).toContain(`ReadWritePaths=${home}/watchdog\n`)
  })

  it('fault F12: systemd holds the port of the last stop, which verifies the words as the account of the home; hub-stop is there for every account, with its ports', () => {
    const bin = join(folder, 'bin')
    mkdirSync(bin)
    expect(install('--home', home, '--to', units, '--bin', bin, '--ports', '8301 8300 8302')).toMatchObject({
      status: 0,
    })
    expect(unit('hub-stop.socket')).toContain(
      'ListenStream=127.0.0.1:8302\nTriggerLimitIntervalSec=0\n'.replace(
        '\n',
        '\n# Many connections must not switch it off.\n',
      ),
    )
    expect(unit('hub-stop.service')).toMatch(new RegExp(`last-stop\\.ts --home ${home} --port 8302$`, 'm'))
    const installed = join(bin, 'hub-stop')
    expect(statSync(installed).mode & 0o777).toBe(0o755)
    expect(readFileSync(installed, 'utf8')).toContain('\nports_usual=(8301 8300 8302)\n')
    expect(install('--home', home, '--to', units, '--bin', bin, '--remove').status).toBe(0)
    expect([...readdirSync(bin), ...readdirSync(units)]).toEqual([])
    expect(install('--home', home, '--to', units, '--ports', '8301').status).toBe(2)
  })

  it('with --root keeps to what is below it: asks the systemctl there and no other, and takes everything back', async () => {
    const [own, other] = [openFakeSystemd(), openFakeSystemd()]
    const places = ['etc/systemd/system', 'usr/local/bin']
    const below = () => places.flatMap((place) => readdirSync(join(own.root, place)))
    try {
      // A stand-in as well, but of another root.
      const refused = await other.within(home, () => install('--home', home, '--root', own.root))
      expect([refused.status, refused.stderr]).toEqual([2, expect.stringContaining('would reach another systemd')])
      expect([below(), other.calls(), own.calls()]).toEqual([[], [], []])

      const done = await own.within(home, () => install('--home', home, '--root', own.root))
      expect([done.status, done.stderr, done.stdout]).toEqual([0, '', expect.stringMatching(/^enabled; /)])
      expect([below().length, own.calls()[0]]).toEqual([7, 'daemon-reload'])
      expect((await own.within(home, () => install('--home', home, '--root', own.root, '--remove'))).status).toBe(0)
      expect(own.calls().slice(-2)).toEqual([expect.stringMatching(/^disable hub\.service /), 'daemon-reload'])
      expect([below(), existsSync(join(home, 'units.json'))]).toEqual([[], false])

      // No systemd runs below this one: the files, and nothing more.
      rmSync(join(own.root, 'run'), { recursive: true })
      const asked = own.calls()
      const written = await own.within(home, () => install('--home', home, '--root', own.root))
      expect(written.stdout).toContain('not enabled: systemd does not run this machine')
      expect([below().length, own.calls()]).toEqual([7, asked])
    } finally {
      for (const each of [own, other]) each.remove()
    }
  })

  it('takes back what it wrote', () => {
    expect(install('--home', home, '--to', units).status).toBe(0)
    expect(install('--home', home, '--to', units, '--remove').status).toBe(0)
    expect(readdirSync(units)).toEqual([])
  })

  it.each([
    [() => ['--home', join(folder, 'none'), '--to', units], 4, /there is no hub at/],
    [() => ['--home', home, '--user', 'nobody-of-that-name', '--to', units], 2, /no user/],
    [() => ['--home', home, '--user', 'nobody', '--to', units], 2, /does not belong to nobody/],
    [() => ['--home', home, '--to', units, '--root', folder], 2, /--root and --to name two places/],
    [() => ['--home', home, '--root', join(folder, 'none')], 2, /there is no folder/],
    [() => ['--all'], 2, /unknown argument --all/],
  ] as const)('refuses with what to do: case %#', (words, code, text) => {
    const { status, stderr } = install(...words())
    expect(status).toBe(code)
    expect(stderr).toMatch(text)
    expect(readdirSync(units)).toEqual([])
  })
})

describe('the last line (T90)', () => {
  const now = { wallMs: 1_000_000, bootMs: 500_000, bootId: 'boot-a' }
  const of = (state: string, labels: Record<string, string>): Container => ({ id: 'a', name: 'a', state, labels })
  const boot = (ms: number, id = 'boot-a') => ({ 'hub.expires-boot': `${id}:${ms}`, 'hub.expires-at': '9999999' })
  const wall = (ms: number) => ({ 'hub.expires-boot': 'boot-a:9999999', 'hub.expires-at': String(ms) })

  it.each([
    ['running', boot(490_001), false],
    ['running', boot(490_000), true],
    ['running', wall(1), false],
    ['paused', boot(490_000), true],
    ['restarting', boot(490_000), true],
    ['running', boot(9_999_999, 'boot-b'), true],
    ['running', {}, true],
    ['running', { 'hub.expires-boot': 'boot-a:soon' }, true],
    ['created', wall(990_001), false],
    ['created', wall(990_000), true],
    ['exited', wall(990_000), true],
    ['dead', wall(990_000), true],
    ['removing', wall(990_000), true],
    ['exited', boot(1), false],
    ['created', { 'hub.expires-at': '1e3' }, true],
  ] as const)('%s with %j: overdue %s', (state, labels, overdue) => {
    expect(isOverdue(of(state, labels), now, 10_000)).toBe(overdue)
  })

  it.each(ODD_ENGINES)('fault A3: removes by an engine %s', async (_what, oldest, newest, prefix, tells) => {
    const socket = join(home, 'engine.sock')
    await using engine = await openVersionedEngine(socket, oldest, newest, tells)
    const instance = '00000000-0000-4000-8000-000000000000'
    engine.containers.set('aaaaaaaaaaaa', { 'hub.instance': instance, 'hub.expires-at': '1' })
    engine.containers.set('bbbbbbbbbbbb', { 'hub.instance': 'another', 'hub.expires-at': '1' })
    writeFileSync(join(home, 'instance'), `${instance}\n`)
    mkdirSync(join(home, 'watchdog'), { recursive: true })
    writeFileSync(join(home, 'watchdog', 'config.json'), JSON.stringify({ engineSocket: socket }))
    const reaper = spawn(process.execPath, [join(repositoryRoot, 'scripts/systemd/reaper.ts'), '--home', home])
    const said: Buffer[] = []
    reaper.stdout.on('data', (part: Buffer) => said.push(part))
    const code = await new Promise((resolve) => reaper.on('close', resolve))
    expect([code, Buffer.concat(said).toString()]).toEqual([0, 'hub-reaper: removed hub-aaaa (created)\n'])
    expect([...engine.containers.keys()]).toEqual(['bbbbbbbbbbbb'])
    expect(engine.calls).toContain(`DELETE ${prefix}/containers/aaaaaaaaaaaa`)
  })

  it('imports nothing of hub and watchdog, and is refused without a home', () => {
    const text = readFileSync(join(repositoryRoot, 'scripts/systemd/reaper.ts'), 'utf8')
    expect([...text.matchAll(/from '([^']+)'/g)].every(([, name]) => name?.startsWith('node:'))).toBe(true)
    const reaper = join(repositoryRoot, 'scripts/systemd/reaper.ts')
    expect(spawnSync(process.execPath, [reaper]).status).toBe(2)
    writeFileSync(join(home, 'instance'), '\n')
    expect(() => execFileSync(process.execPath, [reaper, '--home', home], { stdio: 'pipe' })).toThrow()
  })
})
