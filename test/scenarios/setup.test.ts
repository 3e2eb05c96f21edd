/** `hub restart --watchdog` and `hub setup` over real processes, a real SMTP server and a real receiver; the engine has nothing (fault C6). */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createContext } from '../../hub/client/cli/context.ts'
import { runSetup } from '../../hub/client/cli/setup/setup.ts'
import type { Ask } from '../../hub/client/cli/setup/setup-answers.ts'
import { judgeConfig } from '../../hub/config.ts'
import { judgeText } from '../../watchdog/config/file.ts'
import { httpSink, mailSink } from '../support/alert-sinks.ts'
import { openBareHome } from '../support/bare-home.ts'
import { fakeTerminal } from '../support/fake-terminal.ts'
import { newHome } from '../support/home-process.ts'

const CLI = resolve(import.meta.dirname, '../../hub/client/cli.ts')
/** Short: sockets lie below it. */
let base: string
beforeAll(() => {
  base = mkdtempSync('/tmp/su-')
  newHome(join(base, 'template'))
})
afterAll(() => rmSync(base, { recursive: true, force: true, maxRetries: 5 }))

interface Said {
  code: number | null
  out: string
  err: string
}
/** Runs the command; `typed` is what a person would type, line by line. */
function hub(home: string, words: readonly string[], typed = ''): Promise<Said> {
  return new Promise((done) => {
    const child: ChildProcess = spawn(process.execPath, [CLI, '--home', home, ...words])
    const said = { out: '', err: '' }
    child.stdout?.on('data', (piece) => {
      said.out += piece
    })
    child.stderr?.on('data', (piece) => {
      said.err += piece
    })
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(typed)
    child.on('close', (code) => done({ code, ...said }))
  })
}

/** A home whose two processes run; the watchdog's file is what `watchdog` says, in the form of today. */
/** `interval`: of its rounds; a lease of the watchdog counts for three of them. */
async function openHome(interval = '10s') {
  const bare = await openBareHome(base, join(base, 'template'))
  rmSync(join(bare.home, 'watchdog', 'config.json'))
  const file = join(bare.home, 'watchdog', 'config.yaml')
  const usual = `interval: ${interval}\nstartGrace: 0s\nhubStop: 500ms\nhttp: { port: ${bare.ports.watchdog} }\nengine:\n  socket: ${join(bare.home, 'engine.sock')}\n`
  writeFileSync(file, usual, { mode: 0o600 })
  // What `hub restart` starts has a cache that others have filled.
  symlinkSync(process.env.NODE_COMPILE_CACHE ?? join(base, 'cache'), join(bare.home, 'cache'))
  bare.startHub('ignore')
  await bare.hubUp()
  bare.startWatchdog('ignore')
  await bare.watchdogUp()
  const pidOf = (part: 'run/hub.pid' | 'watchdog/watchdog.pid') => readFileSync(join(bare.home, part), 'utf8').trim()
  return {
    ...bare,
    file,
    usual,
    pidOf,
    run: (words: readonly string[], typed = '') => hub(bare.home, words, typed),
    [Symbol.dispose]() {
      for (const part of ['watchdog/watchdog.pid', 'run/hub.pid'] as const) {
        try {
          process.kill(Number(pidOf(part)), 'SIGKILL')
        } catch {
          // It has ended.
        }
      }
      bare.close()
    },
  }
}

describe('fault C6: hub restart --watchdog', () => {
  test('takes the watchdog over its file alone, judged first: a bad one leaves the old running, and says where', async () => {
    // The lease of the watchdog that goes must count until the new one is up, however long that takes on a busy machine.
    using home = await openHome('60s')
    const [hubPid, before] = [home.pidOf('run/hub.pid'), home.pidOf('watchdog/watchdog.pid')]

    writeFileSync(home.file, `${home.usual}heartbeat:\n  due: never\n`)
    const refused = await home.run(['restart', '--watchdog'])
    expect(refused.code).toBe(3)
    expect(refused.err).toContain('config.yaml line 8, column 3: heartbeat.due: must be rolling, or daily at HH:MM')
    expect(home.pidOf('watchdog/watchdog.pid')).toBe(before)
    const check = await home.run(['config', 'check', '--json'])
    expect(check.code).toBe(3)
    expect(JSON.parse(check.out)).toMatchObject({
      ok: true,
      watchdog: { ok: false, faults: [{ line: 8, column: 3, key: 'heartbeat.due' }] },
    })

    writeFileSync(home.file, `${home.usual}heartbeat:\n  due: daily at 08:30\noperator: { name: Ada }\n`)
    expect(await home.run(['restart', '--watchdog'])).toMatchObject({ code: 0 })
    expect(home.pidOf('watchdog/watchdog.pid')).not.toBe(before)
    expect(home.pidOf('run/hub.pid')).toBe(hubPid)
    const { body } = await home.askWatchdog('POST', '/v1/contact', { action: 'show' })
    expect(body).toMatchObject({ people: { operator: 'Ada' } })
    // The lease of the old one outlives the moment: nothing was stopped and nothing waits.
    expect(JSON.stringify((await home.askHub('GET', '/v1/mode')).body)).toMatch(/^."mode":"normal","conditions":\[\]/)
    expect(existsSync(join(home.home, 'watchdog', 'run', 'judged.yaml'))).toBe(false)
  })
})

test('hub restart --watchdog looks at the port first: one that is taken leaves the old watchdog running, its own is no hindrance', async () => {
  using home = await openHome()
  const before = home.pidOf('watchdog/watchdog.pid')
  const other = createServer()
  await new Promise<void>((done) => other.listen(0, '127.0.0.1', done))
  const { port } = other.address() as AddressInfo
  try {
    writeFileSync(home.file, home.usual.replace(/port: \d+/, `port: ${port}`))
    const refused = await home.run(['restart', '--watchdog'])
    expect([refused.code, refused.err]).toEqual([
      3,
      expect.stringMatching(`^hub: 127.0.0.1:${port} is taken by another program; nothing was restarted`),
    ])
    expect(home.pidOf('watchdog/watchdog.pid')).toBe(before)
    expect((await home.askWatchdog('GET', '/v1/status')).status).toBe(200)
  } finally {
    other.close()
  }
  writeFileSync(home.file, home.usual)
  expect(await home.run(['restart', '--watchdog'])).toMatchObject({ code: 0 })
  expect(home.pidOf('watchdog/watchdog.pid')).not.toBe(before)
})

test('hub restart judges the rules too: a fault in data.json, or none there, leaves the hub that runs and the rules it has', async () => {
  using home = await openHome()
  const before = home.pidOf('run/hub.pid')
  const file = join(home.home, 'policy', 'data.json')
  const good = readFileSync(file, 'utf8')
  for (const [change, said] of [
    [
      () => writeFileSync(file, good.replace('{', '{,')),
      'data.json line 1, column 2: "," where a key in double quotes',
    ],
    [() => rmSync(file), 'data.json cannot be read (ENOENT); nothing was restarted'],
  ] as const) {
    change()
    const refused = await home.run(['restart'])
    expect(refused.code).toBe(3)
    expect(refused.err).toContain(said)
    expect(home.pidOf('run/hub.pid')).toBe(before)
    expect((await home.askHub('GET', '/v1/mode')).body).toMatchObject({ mode: 'normal' })
  }
  writeFileSync(file, good)
  expect(await home.run(['restart'])).toMatchObject({ code: 0 })
  expect(home.pidOf('run/hub.pid')).not.toBe(before)
})

interface Row {
  name: string
  ok: boolean | null
  detail: string
}
const rowsOf = async (home: { run: (words: readonly string[]) => Promise<Said> }): Promise<Row[]> =>
  JSON.parse((await home.run(['doctor', '--json'])).out) as Row[]

describe('hub setup by flags', () => {
  test('both processes tell by mail and webhook at once, secrets are files of the home, and what nobody saw arrive stays amber', async () => {
    using home = await openHome()
    const [mail, sink] = [await mailSink('me'), await httpSink()]
    try {
      const [password, secret] = [join(home.home, 'pw'), join(home.home, 'ws')]
      writeFileSync(password, 'secret\n')
      writeFileSync(secret, 'between us\n')
      const channels = [
        ...['--mail', 'me@example.org', '--mail-server', `127.0.0.1:${mail.port}`, '--mail-user', 'me'],
        ...['--mail-password-file', password, '--webhook', `${sink.url}/in`, '--webhook-secret-file', secret],
      ]
      const others = [
        '--zone',
        'Europe/Berlin',
        '--heartbeat',
        'daily at 09:00',
        '--operator',
        'Ada',
        '--ping',
        `${sink.url}/ping`,
      ]
      const contact = ['--contact', 'Bo', '--contact-mail', 'bo@example.org']
      const card = ['--card', join(home.home, 'card.html')]
      const done = await home.run(['setup', ...channels, ...others, ...contact, ...card, '--json'])
      expect(done).toMatchObject({ code: 0 })
      const view = JSON.parse(done.out) as {
        tried: { whose: string; channel: string; ok: boolean }[]
        restarted: string[]
      }
      expect(view.restarted).toEqual(['watchdog', 'hub'])
      expect(view.tried.every(({ ok }) => ok)).toBe(true)
      // The code of both before a word was written, and both as they run now.
      expect(mail.letters.filter((letter) => /^Subject: .*test: nothing/m.test(letter))).toHaveLength(4)
      expect(new Set(mail.recipients)).toEqual(new Set(['me@example.org']))
      const signed = sink.received.filter(({ url }) => url === '/in')
      expect(new Set(signed.map(({ headers }) => headers['user-agent']))).toEqual(new Set(['hub', 'hub-watchdog']))
      for (const { headers } of signed) expect(headers['webhook-signature']).toMatch(/^v1,/)
      for (const name of ['alert-mail', 'alert-webhook'])
        expect(statSync(join(home.home, 'secrets', name)).mode & 0o777).toBe(0o600)
      for (const file of ['hub.yaml', 'watchdog/config.yaml']) {
        const text = readFileSync(join(home.home, file), 'utf8')
        expect(text).not.toMatch(/between us|: secret$/m)
        expect(text).toContain('passwordFrom: alert-mail')
      }
      const email = (rows: Row[]) => rows.find(({ name }) => name === 'alerts email')
      expect(email(await rowsOf(home))).toMatchObject({
        ok: null,
        detail: expect.stringMatching(/nobody has confirmed/),
      })

      const made = readFileSync(join(home.home, 'card.html'), 'utf8')
      expect(made).toContain('for Bo, from Ada')
      expect(done.out + done.err, 'its words stand on the page alone').not.toContain(
        /data-words="([^"]+)"/.exec(made)?.[1],
      )
      const again = await home.run(['setup', ...card, '--arrived', '--json'])
      expect(readFileSync(join(home.home, 'card.html'), 'utf8'), 'a second run ends no card').toBe(made)
      expect(again.code).toBe(0)
      expect(JSON.parse(again.out)).toMatchObject({
        written: [],
        tried: [],
        restarted: [],
        arrived: { email: true, webhook: true },
      })
      expect(email(await rowsOf(home))).toMatchObject({ ok: true })
    } finally {
      mail.close()
      sink.close()
    }
  })

  test('a channel that takes no test and an answer that is refused leave both files and the secrets as they were', async () => {
    using home = await openHome()
    const before = ['hub.yaml', 'watchdog/config.yaml'].map((file) => readFileSync(join(home.home, file), 'utf8'))
    const password = join(home.home, 'pw')
    writeFileSync(password, 'wrong')
    const mail = await mailSink('me')
    try {
      const server = ['--mail-server', `127.0.0.1:${mail.port}`]
      const through = ['--mail', 'me@example.org', ...server]
      const closed = 'http://127.0.0.1:1/x'
      const nobody = ['--contact', 'Bo', '--contact-mail']
      for (const [words, flag, said] of [
        [[...through, '--mail-user', 'me', '--mail-password-file', password], '--mail', 'the test failed'],
        [['--mail', 'me', ...server], '--mail', 'must be one plain address'],
        [[...through, '--mail-from', 'me'], '--mail-from', 'must be one plain address'],
        [['--mail', 'me@example.org', '--mail-server', 'a b:c'], '--mail-server', 'must be host:port'],
        [['--mail', 'me@example.org', '--mail-server', 'a.example:99999'], '--mail-server', 'must be at most 65535'],
        [[...through, '--mail-user', 'me', '--mail-password-file', '/none'], '--mail-password-file', '/none cannot be'],
        [['--webhook', closed], '--webhook', 'the test failed'],
        [['--webhook', 'nope'], '--webhook', 'must be an address'],
        [['--push', closed], '--push', 'the test failed'],
        [['--push', 'ftp://example.org/x'], '--push', 'must be'],
        [[...through, ...nobody, 'bo'], '--contact-mail', 'must be one plain address'],
        [['--ping', 'nope'], '--ping', 'is not a URL'],
        [['--zone', 'Mars/Town'], '--zone', 'must be'],
        [['--heartbeat', 'never'], '--heartbeat', 'must be'],
      ] as const) {
        const refused = await home.run(['setup', ...words])
        expect(refused.code, words.join(' ')).not.toBe(0)
        // By the name of the flag: no line of a file that was not written.
        expect(refused.err, words.join(' ')).toContain(`hub: ${flag}: ${said}`)
        expect(refused.err, words.join(' ')).not.toMatch(/\bline \d/)
      }
      expect(['hub.yaml', 'watchdog/config.yaml'].map((file) => readFileSync(join(home.home, file), 'utf8'))).toEqual(
        before,
      )
      expect(existsSync(join(home.home, 'secrets', 'alert-mail'))).toBe(false)
    } finally {
      mail.close()
    }
  })

  test('a config.json of before becomes config.yaml, with the secret of its variable in a file', async () => {
    using home = await openHome()
    rmSync(home.file)
    const sink = await httpSink()
    try {
      const old = {
        port: home.ports.watchdog,
        intervalMs: 10_000,
        engineSocket: join(home.home, 'engine.sock'),
        channels: [{ kind: 'push', url: `${sink.url}/topic`, local: true, tokenEnv: 'MY_TOKEN' }],
      }
      writeFileSync(join(home.home, 'watchdog', 'config.json'), JSON.stringify(old))
      const without = await home.run(['setup', '--zone', 'Europe/Berlin'])
      expect(without.err).toContain('MY_TOKEN, which is not set here')
      process.env.MY_TOKEN = 'tk-1'
      expect(await home.run(['setup', '--zone', 'Europe/Berlin'])).toMatchObject({ code: 0 })
      expect(readFileSync(join(home.home, 'secrets', 'my-token'), 'utf8')).toBe('tk-1')
      const text = readFileSync(home.file, 'utf8')
      expect(text).toContain('tokenFrom: my-token')
      expect(text).toContain('zone: Europe/Berlin')
      expect(existsSync(join(home.home, 'watchdog', 'config.json'))).toBe(false)
    } finally {
      delete process.env.MY_TOKEN
      sink.close()
    }
  })
})

describe('hub setup by questions', () => {
  test('ended at each question in turn and run again it goes on: never half a file, and what was answered is the default', async () => {
    using home = await openHome()
    const mail = await mailSink()
    const notes: string[] = []
    const note = (text: string) => void notes.push(text)
    const context = createContext(home.home, false, fakeTerminal({ note, interactive: true }))
    const typed: Record<string, string> = {
      'Your time zone': 'Europe/Berlin',
      'Tell you by mail: your address': 'me@example.org',
      '  through which server (host:port)': `127.0.0.1:${mail.port}`,
      'When a heartbeat is due: rolling, or daily at HH:MM': 'daily at 09:00',
      'Your name, as your backup contact knows you': 'Ada',
      'Your backup contact, who may stop everything: their name': 'Bo',
      '  their mail address': 'bo@example.org',
      'Did the tests by email arrive? (y/n)': 'y',
    }
    // Mistyped once: what is wrong with it is said, and the same question comes again.
    const wrong = {
      'Your time zone': 'Europe/Berlim',
      'When a heartbeat is due: rolling, or daily at HH:MM': 'daily at 9',
    }
    const slips = new Map<string, string>(Object.entries(wrong))
    const followed: [string, string][] = []
    let slipped: string | undefined
    /** Answers until the question of that number, at which the person leaves. */
    const person = (leaves: number) => {
      const asked: [string, string | undefined][] = []
      const ask: Ask = async (question, standing) => {
        asked.push([question, standing])
        if (slipped !== undefined) followed.push([slipped, question])
        slipped = undefined
        if (asked.length > leaves) throw new Error('the person has left')
        const slip = leaves === 100 ? undefined : slips.get(question)
        slips.delete(question)
        if (slip !== undefined) slipped = question
        return slip ?? typed[question] ?? standing ?? ''
      }
      return { ask, asked }
    }
    try {
      let questions = 0
      for (let leaves = 0; ; leaves += 1) {
        const { ask, asked } = person(leaves)
        const code = await runSetup(context, {}, ask).catch((error: Error) => error.message)
        const [ours, theirs] = ['hub.yaml', 'watchdog/config.yaml'].map((file) =>
          readFileSync(join(home.home, file), 'utf8'),
        )
        expect(judgeConfig(ours ?? '').faults, `after ${leaves} answers`).toEqual([])
        expect((await judgeText(theirs ?? '')).faults, `after ${leaves} answers`).toEqual([])
        questions = asked.length
        if (code !== 'the person has left') break
      }
      expect(questions).toBeGreaterThan(10)
      const refused = notes.filter((note) => note.startsWith('Not accepted: '))
      expect(
        refused.map((note) => /^Not accepted: (.*): must be .* Nothing was written/.exec(note)?.[1]),
        notes.join('\n'),
      ).toEqual(['your time zone', 'when a heartbeat is due'])
      expect(followed).toEqual(Object.keys(wrong).map((question) => [question, question]))
      const { ask, asked } = person(100)
      expect(await runSetup(context, {}, ask)).toBe(0)
      const defaults = Object.fromEntries(asked)
      expect(defaults).toMatchObject({
        'Tell you by mail: your address': 'me@example.org',
        'When a heartbeat is due: rolling, or daily at HH:MM': 'daily at 09:00',
        'Your backup contact, who may stop everything: their name': 'Bo',
      })
      expect(asked.map(([question]) => question)).not.toContain('Did the tests by email arrive? (y/n)')
      const { body } = await home.askWatchdog('POST', '/v1/contact', { action: 'show' })
      expect(body).toMatchObject({ people: { operator: 'Ada', contact: 'Bo' } })
    } finally {
      mail.close()
    }
  })
})
