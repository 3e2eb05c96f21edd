/** The folders of the sessions' sockets: modes, length, and what is not ours (T58, docs/sandbox.md 2). */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createSockets } from '../../../../hub/work/sandbox/sockets.ts'

const SESSION = 'sabcdefghijklmno'
const uid = process.getuid?.() ?? 0
let home = ''
beforeEach(() => {
  home = mkdtempSync('/tmp/hub-sockets-')
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const modeOf = (path: string) => statSync(path).mode & 0o777
const listenAt = (path: string) =>
  new Promise<ReturnType<typeof createServer>>((resolve) => {
    const server = createServer()
    server.listen(path, () => resolve(server))
  })

test('the parent is 0700, the leaf 0711 and the socket 0666, whatever the umask', async () => {
  const umask = process.umask(0o077)
  try {
    const sockets = createSockets({ home, uid })
    expect(sockets.make(SESSION)).toBe(join(home, 'run/s', SESSION))
    const server = await listenAt(sockets.socketPathOf(SESSION))
    sockets.open(SESSION)
    expect([join(home, 'run/s'), sockets.socketDirOf(SESSION), sockets.socketPathOf(SESSION)].map(modeOf)).toEqual([
      0o700, 0o711, 0o666,
    ])
    expect(sockets.list()).toEqual([SESSION])
    sockets.remove(SESSION)
    expect(existsSync(sockets.socketDirOf(SESSION))).toBe(false)
    sockets.remove(SESSION)
    server.close()
  } finally {
    process.umask(umask)
  }
})

test('a parent that stands too open is closed', () => {
  mkdirSync(join(home, 'run/s'), { recursive: true })
  chmodSync(join(home, 'run/s'), 0o777)
  createSockets({ home, uid })
  expect(modeOf(join(home, 'run/s'))).toBe(0o700)
})

test('a home of 70 bytes is taken and one of 71 refused', () => {
  const long = join(home, 'x'.repeat(70 - home.length - 1))
  expect(long).toHaveLength(70)
  const sockets = createSockets({ home: long, uid })
  expect(Buffer.byteLength(sockets.socketPathOf(SESSION))).toBeLessThanOrEqual(107)
  expect(() => createSockets({ home: `${long}x`, uid })).toThrow(expect.objectContaining({ code: 'config_invalid' }))
})

test('the socket a former run left is removed, anything else in its place is refused and kept', async () => {
  const sockets = createSockets({ home, uid })
  const server = await listenAt(join(sockets.make(SESSION), 'hub.sock'))
  sockets.make(SESSION)
  expect(existsSync(sockets.socketPathOf(SESSION))).toBe(false)
  server.close()
  for (const name of ['hub.sock', 'other']) {
    const file = join(sockets.socketDirOf(SESSION), name)
    writeFileSync(file, 'mine')
    expect(() => sockets.make(SESSION)).toThrow(expect.objectContaining({ code: 'conflict' }))
    expect(() => sockets.remove(SESSION)).toThrow(/is not a socket of this user/)
    expect(existsSync(file)).toBe(true)
    rmSync(file)
  }
})

test('a leaf that is a link, a file or of another user is refused', () => {
  const sockets = createSockets({ home, uid })
  const leaf = sockets.socketDirOf(SESSION)
  symlinkSync(home, leaf)
  expect(() => sockets.make(SESSION)).toThrow(/is not a folder of this user/)
  rmSync(leaf)
  writeFileSync(leaf, '')
  expect(() => sockets.make(SESSION)).toThrow(/is not a folder of this user/)
  expect(() => createSockets({ home, uid: uid + 1 })).toThrow(/is not a folder of this user/)
})

test.each(['../x', 's', '', 'SABCDEFGHIJKLMNO', `${SESSION}/..`])(
  'no folder is made for %j, which is no session id',
  (odd) => {
    expect(() => createSockets({ home, uid }).make(odd)).toThrow(expect.objectContaining({ code: 'internal' }))
  },
)
