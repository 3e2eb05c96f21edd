/** Which secrets leave and which are refused, on real files. */
import { execFileSync } from 'node:child_process'
import { chmodSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Grant } from '../../../../hub/guard/grant.ts'
import { mintGrant } from '../../../../hub/guard/grant.ts'
import { createSecrets, SECRET_BYTES_MAX, variableOf } from '../../../../hub/work/sandbox/secrets.ts'

let home: string
let folder: string
const uid = process.getuid?.() ?? 0
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'se-'))
  folder = join(home, 'secrets')
  mkdirSync(folder, { mode: 0o700 })
})
afterEach(() => rmSync(home, { recursive: true }))

const grantOf = (name: string, operation: Grant['operation'] = 'secret.get') =>
  mintGrant({
    operation,
    principal: { kind: 'agent', id: 'a' },
    resource: `secret:${name}`,
    decisionId: 'd',
    narrow: {},
    auditSeq: 1,
  })
const put = (name: string, value: string | Buffer, mode = 0o600) => {
  writeFileSync(join(folder, name), value)
  chmodSync(join(folder, name), mode)
}
const open = (fromEnvironment: Record<string, string> = {}, as = uid) =>
  createSecrets({
    folder,
    uid: as,
    fromEnvironment: new Map(Object.entries(fromEnvironment).map(([name, value]) => [name, Buffer.from(value)])),
  })
const get = (name: string, secrets = open()) => secrets.get(grantOf(name), name)

describe('a secret of the home', () => {
  it('is handed out byte for byte, anew each time, at 0600 and below', () => {
    const value = Buffer.from([0, 255, 10, 13])
    put('api-key', value)
    const secrets = open()
    const first = get('api-key', secrets)
    expect(first).toEqual(value)
    first.fill(1)
    expect(get('api-key', secrets)).toEqual(value)
    put('api-key', 'changed', 0o400)
    expect(get('api-key', secrets).toString()).toBe('changed')
  })

  it('needs a grant of its own name, minted by the gate (T20)', () => {
    put('a', 'x')
    put('b', 'y')
    const secrets = open()
    expect(() => secrets.get(grantOf('a'), 'b')).toThrow()
    expect(() => secrets.get(grantOf('a', 'artifact.get'), 'a')).toThrow()
    expect(() => secrets.get({ ...grantOf('a') } as Grant, 'a')).toThrow()
  })

  it.each([0o640, 0o604, 0o622, 0o700, 0o644])(
    'of mode %o is refused by name, and the operator is told the command (T35)',
    (mode) => {
      put('api-key', 'value-of-it', mode)
      expect(() => get('api-key')).toThrow(`the secret api-key is refused: its file has mode ${mode.toString(8)}`)
      expect(open().faultOf('api-key')?.mend).toBe(`chmod 600 ${join(folder, 'api-key')}`)
      put('other', 'x')
      expect(get('other').toString()).toBe('x')
    },
  )

  it('in a folder that others may enter is refused, whatever its own mode', () => {
    put('api-key', 'x')
    chmodSync(folder, 0o750)
    expect(() => get('api-key', open({ 'api-key': 'y' }))).toThrow('the folder secrets has mode 750')
    expect(open().faultOf('api-key')?.mend).toBe(`chmod 700 ${folder}`)
  })

  it('that is a link, a folder, a pipe or of another account is refused, and a pipe holds nobody up', () => {
    const outside = join(home, 'outside')
    writeFileSync(outside, 'x', { mode: 0o600 })
    symlinkSync(outside, join(folder, 'link'))
    mkdirSync(join(folder, 'folder'), { mode: 0o700 })
    execFileSync('mkfifo', ['-m', '600', join(folder, 'pipe')])
    for (const name of ['link', 'folder', 'pipe']) expect(() => get(name), name).toThrow(`the secret ${name} `)
    linkSync(outside, join(folder, 'own'))
    expect(() => get('own', open({}, uid + 1))).toThrow(`belongs to user ${uid}`)
  })

  it('holds 64 KiB and not a byte more, and at least one', () => {
    put('full', Buffer.alloc(SECRET_BYTES_MAX, 7))
    expect(get('full')).toHaveLength(65_536)
    put('over', Buffer.alloc(SECRET_BYTES_MAX + 1))
    expect(() => get('over')).toThrow('the secret over holds 65537 bytes')
    put('none', '')
    expect(() => get('none')).toThrow('the secret none is empty')
  })

  it('that is missing is named with both ways to give it, and no path of this machine', () => {
    const failing = () => get('api-key')
    expect(failing).toThrow('the secret api-key is missing')
    expect(failing).toThrow('HUB_SECRET_API_KEY')
    try {
      failing()
    } catch (thrown) {
      expect(String(thrown)).not.toContain(home)
    }
    const mend = open().faultOf('api-key')?.mend ?? ''
    rmSync(folder, { recursive: true })
    execFileSync('sh', ['-c', mend.split(' and paste')[0] ?? ''], { input: 'pasted' })
    expect(get('api-key').toString()).toBe('pasted')
  })
})

describe('a secret of the environment', () => {
  it('is handed out where there is no file; a file wins, and a refused file is not gone round', () => {
    expect(variableOf('api-key')).toBe('HUB_SECRET_API_KEY')
    const secrets = open({ 'api-key': 'from outside' })
    expect(get('api-key', secrets).toString()).toBe('from outside')
    rmSync(folder, { recursive: true })
    expect(get('api-key', secrets).toString()).toBe('from outside')
    mkdirSync(folder, { mode: 0o700 })
    put('api-key', 'from the file')
    expect(get('api-key', secrets).toString()).toBe('from the file')
    chmodSync(join(folder, 'api-key'), 0o644)
    expect(() => get('api-key', secrets)).toThrow('is refused')
  })

  it('is gone once scrubbed, in memory too; a copy handed out before is the caller’s', () => {
    const given = Buffer.from('from outside')
    const secrets = createSecrets({ folder, uid, fromEnvironment: new Map([['a', given]]) })
    const copy = get('a', secrets)
    copy.fill(0)
    expect(get('a', secrets).toString()).toBe('from outside')
    secrets.scrub()
    expect(given).toEqual(Buffer.alloc(12))
    expect(() => get('a', secrets)).toThrow('is missing')
  })
})
