/**
 * A scratch root with the places of systemd below it, and stand-ins for its programs first on PATH. Nothing runs unless both are so: a test
 * never reaches the systemd of the machine it runs on. Root and home lie in /tmp, whatever TMPDIR says: a home there the installer refuses
 * for any root but another one, so that a fault in `--root` cannot write into /etc either.
 */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

const PROGRAMS = ['systemctl', 'systemd-analyze'] as const

export interface FakeSystemd {
  readonly root: string
  /** What systemctl was asked so far, one row for each call. */
  calls(): string[]
  /** Puts a shell program in the place of one of the stand-ins. */
  program(name: (typeof PROGRAMS)[number], text: string): void
  /** Runs this for a home in /tmp, with the stand-ins first on PATH. @throws where they are not, or the home is elsewhere */
  within<Result>(home: string, work: () => Promise<Result> | Result): Promise<Result>
  remove(): void
}

/** @throws unless both are scratch folders and each program is found below the root */
function requireStandIns(root: string, home: string): void {
  if (!realpathSync(root).startsWith('/tmp/sd-')) throw new Error(`${root} is no scratch root`)
  if (!realpathSync(home).startsWith('/tmp/')) throw new Error(`${home} is no scratch home`)
  for (const name of PROGRAMS) {
    const found = execFileSync('/bin/sh', ['-c', `command -v ${name} || true`], { encoding: 'utf8' }).trim()
    if (found !== join(root, 'path', name)) throw new Error(`${name} on PATH is no stand-in: ${found}`)
  }
}

export function openFakeSystemd(): FakeSystemd {
  const root = mkdtempSync('/tmp/sd-')
  for (const folder of ['etc/systemd/system', 'run/systemd/system', 'usr/local/bin', 'path'])
    mkdirSync(join(root, folder), { recursive: true })
  const asked = join(root, 'calls')
  const program: FakeSystemd['program'] = (name, text) => {
    writeFileSync(join(root, 'path', name), `#!/bin/sh\n${text}\n`)
    chmodSync(join(root, 'path', name), 0o755)
  }
  program('systemd-analyze', 'exit 0')
  program('systemctl', `echo "$@" >>${asked}`)
  return {
    root,
    calls: () => (existsSync(asked) ? readFileSync(asked, 'utf8').trim().split('\n') : []),
    program,
    async within(home, work) {
      const before = process.env.PATH
      process.env.PATH = `${join(root, 'path')}:${before}`
      try {
        requireStandIns(root, home)
        return await work()
      } finally {
        process.env.PATH = before
      }
    },
    remove: () => rmSync(root, { recursive: true, force: true }),
  }
}
