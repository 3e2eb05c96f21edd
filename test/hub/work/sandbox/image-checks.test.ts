/** S1-56: what programs of the operator say of an image, with real programs and deadlines moved by hand. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLog } from '../../../../hub/base/telemetry.ts'
import { judgeConfig } from '../../../../hub/config.ts'
import { createImageChecks, type ImageSettings, imagesShape } from '../../../../hub/work/sandbox/image-checks.ts'
import { type GuardHome, openGuardHome } from '../../../support/guard-home.ts'

const ID = `sha256:${'a1'.repeat(32)}`
const IMAGE = { agent: 'echo', image: 'hub/echo', id: ID }
let home: GuardHome
let folder: string
/** Deadlines that were set, to be run by hand. */
let deadlines: (() => void)[]
beforeEach(() => {
  home = openGuardHome()
  home.guard.modes.clear('lease_pending')
  folder = home.folder
  deadlines = []
})
afterEach(() => home[Symbol.dispose]())

/** A program of these lines of shell. */
function program(name: string, ...lines: string[]): string {
  const path = join(folder, name)
  writeFileSync(path, ['#!/bin/sh', ...lines, ''].join('\n'))
  chmodSync(path, 0o700)
  return path
}
const settings = (given: object): ImageSettings => imagesShape.parse(given)
const checks = (given: object) => {
  const { store, gate, alerts, redaction } = home.guard
  return createImageChecks(settings(given), {
    ...{ store, gate, alerts, redaction, log: silentLog() },
    clock: {
      wallMs: home.clock.wallMs,
      after(_ms, fn) {
        deadlines.push(fn)
        return { cancel: () => undefined }
      },
      sleep: () => new Promise((resolve) => setTimeout(resolve, 5000).unref()),
    },
  })
}
const records = () =>
  home.guard.audit
    .list({ limit: 50 })
    .filter(({ resource }) => resource === `image:${ID}`)
    .map(({ effect }) => effect)
    .reverse()

test('nothing is asked, and no program is started, while all is off', async () => {
  const path = program('never', `touch ${folder}/started`)
  expect(await checks({ scan: { mode: 'off', run: [path] } }).judge(IMAGE, true)).toEqual({ refused: '', warning: '' })
  expect([existsSync(join(folder, 'started')), records()]).toEqual([false, []])
})

test('S1-56: the image is named by its id, as arguments, with no shell between and none of the environment', async () => {
  process.env.HUB_TEST_LEAK = 'leak'
  const path = program('says', `env > ${folder}/env`, `printf '%s\\n' "$@" > ${folder}/words`)
  const run = [path, '{id}', '--of={agent}/{image}', '$(touch x); `id`']
  expect(await checks({ signature: { mode: 'enforce', run } }).judge(IMAGE, false)).toEqual({
    refused: '',
    warning: '',
  })
  delete process.env.HUB_TEST_LEAK
  expect(readFileSync(join(folder, 'words'), 'utf8')).toBe(`${ID}\n--of=echo/hub/echo\n$(touch x); \`id\`\n`)
  const env = readFileSync(join(folder, 'env'), 'utf8')
  expect(env).toContain(`HUB_IMAGE_ID=${ID}`)
  expect(env).not.toContain('leak')
  expect(records()).toEqual(['signature of hub/echo: passed (exit code 0)'])
})

test('what a program says is masked before it is stored, recorded and shown, also where an earlier hub stored it as it was (S1-62)', async () => {
  const no = program('no', 'echo "cannot log in to https://ann:hunter/22@registry.example" >&2', 'exit 1')
  const strict = () => checks({ signature: { mode: 'enforce', run: [no] } })
  const { refused } = await strict().judge(IMAGE, false)
  expect(refused).toContain('exit code 1: cannot log in to https://[redacted]@registry.example')
  const stored = () => home.guard.store.prepare('select reason from image_check').pluck().get() as string
  expect(stored() + records().join()).not.toContain('hunter')
  home.guard.store.prepare("update image_check set reason = 'https://ann:hunter/22@registry.example'").run()
  expect((await strict().judge(IMAGE, false)).refused).not.toContain('hunter')
})

test('S1-56: enforce refuses by name with the words of the program, warn lets it run and alerts until it passes', async () => {
  const no = program('no', 'echo "no signature by ops" >&2', 'exit 3')
  const strict = await checks({ signature: { mode: 'enforce', run: [no] } }).judge(IMAGE, false)
  expect(strict).toEqual({
    refused: `image hub/echo (${ID.slice(0, 19)}) is refused: the signature program says no: exit code 3: no signature by ops`,
    warning: '',
  })
  const lax = checks({ signature: { mode: 'warn', run: [no] } })
  expect(await lax.judge(IMAGE, false)).toMatchObject({
    refused: '',
    warning: expect.stringContaining('no signature by ops'),
  })
  expect(home.guard.alerts.isOpen('image_unproven:echo')).toBe(true)
  program('no', 'exit 0')
  await lax.judge(IMAGE, true)
  expect(home.guard.alerts.isOpen('image_unproven:echo')).toBe(false)
  expect(records()).toEqual([
    'signature of hub/echo: failed (exit code 3: no signature by ops)',
    'signature of hub/echo: passed (exit code 0)',
  ])
})

test('S1-56: the alert of an agent that is gone ends, and those of others stay', async () => {
  const no = program('no', 'exit 1')
  const lax = checks({ signature: { mode: 'warn', run: [no] } })
  for (const agent of ['echo', 'echo-trial']) await lax.judge({ ...IMAGE, agent }, false)
  lax.onlyFor(new Set(['echo']))
  const { alerts } = home.guard
  expect(['image_unproven:echo', 'image_unproven:echo-trial'].map((cause) => alerts.isOpen(cause))).toEqual([
    true,
    false,
  ])
})

test('an answer is kept for the image, also over a restart, until the program is another one or it is asked for again', async () => {
  const path = program('counts', `echo x >> ${folder}/runs`)
  const runs = () => readFileSync(join(folder, 'runs'), 'utf8').length / 2
  const given = { scan: { mode: 'enforce', run: [path] } }
  await checks(given).judge(IMAGE, false)
  await checks(given).judge(IMAGE, false)
  home.reopen()
  home.guard.modes.clear('lease_pending')
  await checks(given).judge({ ...IMAGE, agent: 'other' }, false)
  expect(runs()).toBe(1)
  await checks({ scan: { mode: 'enforce', run: [path, '--deep'] } }).judge(IMAGE, false)
  expect(runs()).toBe(2)
  await checks(given).judge(IMAGE, true)
  expect(runs()).toBe(3)
  await checks(given).judge({ ...IMAGE, id: `sha256:${'b2'.repeat(32)}` }, false)
  expect(runs()).toBe(4)
})

test('one that hangs is killed at its deadline with all that it started, and counts as a no', async () => {
  const path = program(
    'hangs',
    `sh -c 'echo $$ > ${folder}/child; exec sleep 600' &`,
    `echo $$ > ${folder}/self`,
    'wait',
  )
  const judging = checks({ scan: { mode: 'enforce', run: [path], timeout: '7s' } }).judge(IMAGE, false)
  const pid = (name: string) => Number(existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8') : 0)
  while (!(pid('child') > 0 && pid('self') > 0)) await new Promise((resolve) => setTimeout(resolve, 2))
  const [child] = [pid('child')]
  deadlines[0]?.()
  expect((await judging).refused).toContain('it took longer than 7 s and was stopped')
  while (existsSync(`/proc/${child}`) && !readFileSync(`/proc/${child}/stat`, 'utf8').includes(') Z '))
    await new Promise((resolve) => setTimeout(resolve, 2))
})

test('one that prints without end is read, and only its beginning is kept; one that is not there is a no', async () => {
  const path = program('loud', 'i=0', 'while [ $i -lt 3000 ]; do i=$((i+1)); printf "%01000d" 7; done', 'exit 1')
  const { refused } = await checks({ scan: { mode: 'enforce', run: [path] } }).judge(IMAGE, false)
  expect(refused.length).toBeLessThan(500)
  const gone = await checks({ scan: { mode: 'enforce', run: ['/no/such/program'] } }).judge(IMAGE, false)
  expect(gone.refused).toContain('it could not be started')
})

test.each([
  ['images: { signature: { mode: enforce } }', 'images.signature.mode: is enforce, and no program is set'],
  ['images: { scan: { mode: warn } }', 'images.scan.mode: is warn, and no program is set'],
  ['images: { scan: { mode: enforce, run: [verify] } }', 'whole path'],
  ['images: { scan: { mode: enforce, run: [/bin/true], timeout: 2m } }', 'its ceiling is 60s'],
  ['images: { scan: { mode: maybe, run: [/bin/true] } }', 'mode'],
])('S1-56: a check that cannot be made is refused at the start: %s', (text, fault) => {
  const { config, faults } = judgeConfig(text)
  expect(config).toBeUndefined()
  expect(faults.map(({ key, message }) => `${key}: ${message}`).join('\n')).toContain(fault)
})

test('S1-56: an image is signed only by the word of the program as it is set up now, and of no other program', async () => {
  const path = program('verify', 'exit 0')
  const signature = { mode: 'warn', run: [path] }
  const asked = checks({ signature, scan: { mode: 'enforce', run: [path, 'scan'] } })
  expect(asked.isSigned(ID)).toBe(false)
  await asked.judge(IMAGE, false)
  expect([asked.isSigned(ID), asked.isSigned(`sha256:${'b2'.repeat(32)}`)]).toEqual([true, false])
  for (const other of [
    { ...signature, run: [path, 'more'] },
    { ...signature, mode: 'off' },
  ])
    expect(checks({ signature: other }).isSigned(ID)).toBe(false)
  const scanned = checks({ scan: { mode: 'enforce', run: [path] } })
  await scanned.judge(IMAGE, true)
  expect(scanned.isSigned(ID)).toBe(false)
  program('verify', 'exit 1')
  await asked.judge(IMAGE, true)
  expect(asked.isSigned(ID)).toBe(false)
})
