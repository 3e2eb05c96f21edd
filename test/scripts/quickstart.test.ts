/** Fault C17: `scripts/quickstart` names a way to end the engine only for one that it has started. Every program it calls is a stand-in. */
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { repositoryRoot } from '../house/source.ts'

let root = ''
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'qs-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const STATUS = JSON.stringify({
  hub: { mode: 'normal', instance: '0d0c0b0a-0000' },
  watchdog: { heartbeat: { paused: true } },
})

/** A checkout of stand-ins; `up` and `status` are what its engine's script says. */
function quickstart(up: string, status: string, code = 0) {
  const file = (name: string, text: string) => {
    mkdirSync(dirname(join(root, name)), { recursive: true })
    writeFileSync(join(root, name), text)
    chmodSync(join(root, name), 0o755)
  }
  const shell = (body: string) => `#!/bin/sh\n${body}\n`
  file('package-lock.json', '{}')
  file('node_modules/.package-lock.json', '{}')
  file('scripts/node', ':')
  // It notes what it builds in the home, which must be there.
  const noted = "if (!require('node:fs').existsSync(process.argv[3])) throw process.argv[3]; console.log('built x')"
  file('scripts/build-images.ts', noted)
  file(
    'scripts/engine',
    shell(
      `case $1 in up) echo 'scripts/engine: ${up}' >&2; exit ${code} ;; status) echo 'scripts/engine: ${status}' ;; esac`,
    ),
  )
  file(
    'scripts/hub',
    shell(
      `case $1 in init) mkdir -p "$HUB_HOME" ;; status) echo '${STATUS}' ;; submit) echo report >"$HUB_HOME/quickstart/report/report.md" ;; esac`,
    ),
  )
  copyFileSync(join(repositoryRoot, 'scripts/quickstart'), join(root, 'scripts/quickstart'))
  const env = { PATH: `${dirname(process.execPath)}:${process.env.PATH}`, HOME: root, HUB_HOME: join(root, 'home') }
  return spawnSync(join(root, 'scripts/quickstart'), { encoding: 'utf8', env })
}

describe('the last lines name how to end', () => {
  const OURS = 'our engine answers at /x (API 1.50, pid 7)'
  test.each([
    ['nothing of an engine that was there', 'an engine answers at /x (API 1.50), nothing to do', OURS, undefined],
    ['the one that it has started', 'started the engine at /x (API 1.50)', OURS, 'scripts/engine down'],
    [
      'the service that it has enabled',
      'docker.service runs; stop it with: systemctl',
      'an engine that is not ours',
      'systemctl disable --now docker',
    ],
  ])('%s', (_, up, status, ending) => {
    const { stdout, stderr, status: code } = quickstart(up, status)
    expect([code, stderr]).toEqual([0, ''])
    const more = ending === undefined ? '' : `    and the engine that this script started: ${ending}`
    expect(stdout).toContain(`\nStop it: scripts/hub down${more}\n`)
  })

  test('fault C22: whoever may not use the engine hears that alone, and to log in again', () => {
    const line = 'ada may not use the socket: sudo usermod -aG docker ada, log in again'
    const { stderr, status } = quickstart(line, '', 4)
    expect(status).toBe(1)
    expect(stderr).toBe(
      `\nquickstart: step 3 of 7 failed: ${line}\nnext: log in again after that, then scripts/quickstart\n`,
    )
  })
})
