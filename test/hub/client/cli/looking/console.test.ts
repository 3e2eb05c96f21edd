/** `hub console`, and the words of the page: both pure or with a hub that is played (T30, T33). */
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { openerOf } from '../../../../../hub/client/cli/looking/console.ts'
import * as cli from '../../../../../hub/client/cli/text.ts'
import { commandHome } from '../../../../support/command-home.ts'
import { HOSTILE, MOVES_TERMINAL } from '../../../../support/hostile-text.ts'

interface Words {
  clean: (text: unknown, most?: number) => string
  cleanLines: (text: unknown) => string
  spanWords: (ms: number) => string
  dateText: (atMs: number, zone?: string) => string
  parts: (text: string) => [string, boolean][]
}
/** Plain JavaScript, which has a type check of its own (hub/client/console/tsconfig.json). */
const words = (await import(join(import.meta.dirname, '../../../../../hub/client/console/words.js'))) as Words

const made = {
  name: 'console',
  rights: ['view', 'stop'],
  expiresInMs: 43_200_000,
  linkExpiresAtMs: Date.now() + 300_000,
  url: 'http://127.0.0.1:7300/console#CODE',
}
const at = commandHome(() => at.hub.on('POST /v1/console', () => ({ body: made })))

it('prints the link alone on stdout, says beside it how long it counts and how it is taken back, and passes the wishes on', async () => {
  const { code, stdout, stderr } = await at.run([
    'console',
    '--rights',
    'view,stop',
    '--expires',
    '2h',
    '--name',
    'desk',
  ])
  expect([code, stdout]).toEqual([0, `${made.url}\n`])
  expect(stderr).toMatch(/works once, until .* \(in (5 m|[34] m \d+ s)\)/)
  expect(stderr).toContain('the page may view, stop for 12 h')
  expect(stderr).toContain('hub device revoke console')
  expect(at.hub.asked[0]?.body).toEqual({ name: 'desk', rights: ['view', 'stop'], expiresInMs: 7_200_000 })
  expect(JSON.parse((await at.run(['console', '--json'])).stdout)).toEqual(made)
  expect((await at.run(['console', '--rights', 'heartbeat'])).code).toBe(2)
  expect(existsSync(join(at.home, 'run', 'console.html'))).toBe(false)
})

it('T33: hands a browser a file of the private home and never the link: other accounts see the words of a running program', async () => {
  expect(openerOf('linux', {})).toBeUndefined()
  expect(openerOf('linux', { WAYLAND_DISPLAY: 'wayland-0' })).toBe('xdg-open')
  expect(openerOf('darwin', {})).toBe('open')
  const noted = join(at.home, 'opened')
  writeFileSync(
    join(at.home, 'xdg-open'),
    `#!/bin/sh\nprintf '%s\\n' "$*" > ${noted}.part && mv ${noted}.part ${noted}\n`,
  )
  chmodSync(join(at.home, 'xdg-open'), 0o700)
  const env = { DISPLAY: ':9', PATH: `${at.home}:${process.env.PATH}` }
  expect((await at.runAsProcess(['console', '--open'], { env })).code).toBe(0)
  await expect.poll(() => existsSync(noted)).toBe(true)
  const file = join(at.home, 'run', 'console.html')
  expect(readFileSync(noted, 'utf8')).toBe(`file://${file}\n`)
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(readFileSync(file, 'utf8')).toContain(`content="0;url=${made.url}"`)
})

it('T30: the page cleans the same characters as the command does, and shortens what is long', () => {
  for (const text of HOSTILE) {
    const shown = words.clean(text)
    expect(shown).not.toMatch(MOVES_TERMINAL)
    expect(shown).toBe(cli.clean(text).replaceAll('\\n', '\\u000a').replaceAll('\\t', '\\u0009'))
  }
  expect(words.clean('😀'.repeat(50), 10)).toBe(`${'😀'.repeat(10)} …`)
  expect(words.clean('é 漢 👩\u200d💻')).toBe('é 漢 👩\u200d💻')
  expect(words.clean(`Z${'\u0300'.repeat(9)}a`)).toBe(`Z${'\u0300'.repeat(4)}…a`)
  expect(words.clean({ a: '\u202e' })).toBe('{"a":"\\u202e"}')
  expect(words.cleanLines('a\r\nb\u0007')).toBe('a\nb\\u0007')
  expect(words.parts('ends by `hub up`, then `x`')).toEqual([
    ['ends by ', false],
    ['hub up', true],
    [', then ', false],
    ['x', true],
  ])
})

it('says spans as the command does, and instants with weekday, date, time and zone', () => {
  for (const ms of [0, 999, 59_999, 250_000, 86_340_000, 86_400_000, 273_600_000, -5])
    expect(words.spanWords(ms)).toBe(cli.spanWords(ms))
  expect(words.dateText(Date.UTC(2026, 10, 25, 10), 'Europe/Berlin')).toBe('Wednesday 25 Nov, 11:00 CET')
  expect(words.dateText(Date.UTC(2026, 10, 25, 10), 'No/Where')).toContain('Wednesday')
})
