/** The ledger: always a whole document that the watchdog can prove, whatever fails while it is written (T92, S1-24). */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createLedger, type LedgerEntry, ledgerFiles, readLedger } from '../../../../hub/work/sandbox/ledger.ts'
import { parseLedger } from '../../../../watchdog/observe/observe.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'

const clock = createFakeClock()
const key = Buffer.alloc(32, 7)
let folder = ''
let path = ''
beforeEach(() => {
  folder = mkdtempSync('/tmp/hub-ledger-')
  path = join(folder, 'ledger.json')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const options = () => ({ path, instance: 'hub-test', epoch: 3, key, mode: 'normal' })
const entry = (session: string, containerId: string | null = null): LedgerEntry => ({
  session,
  container: `hub-hub-test-${session}`,
  containerId,
  agent: 'reader',
  generation: 1,
  attempt: 1,
  expiresAtMs: 5,
  expiresBoot: 'boot-a:5',
})
const sessionsOf = (text: string) =>
  (JSON.parse(text) as { sessions: LedgerEntry[] }).sessions.map(({ session }) => session)

test('what is put is on disk at once, and what is dropped is gone at once [watch-43]', () => {
  const ledger = createLedger(options(), { clock })
  ledger.put(entry('a'))
  ledger.put(entry('b'))
  ledger.put(entry('a', 'c0'))
  expect(sessionsOf(readFileSync(path, 'utf8'))).toEqual(['a', 'b'])
  expect(readLedger(options())).toEqual([entry('a', 'c0'), entry('b')])
  ledger.drop('a')
  expect(readLedger(options())).toEqual(ledger.list())
  expect(ledger.list()).toEqual([entry('b')])
  expect([statSync(path).mode & 0o777, readdirSync(folder)]).toEqual([0o600, ['ledger.json']])
})

test('the watchdog reads it with its own code, and refuses another key, instance or byte', () => {
  createLedger(options(), { clock }).put(entry('a'))
  const text = readFileSync(path, 'utf8')
  expect(parseLedger(text, key, 'hub-test')).toMatchObject({ kind: 'read', sessions: [{ session: 'a' }] })
  expect(parseLedger(text, Buffer.alloc(32, 8), 'hub-test')).toMatchObject({ kind: 'damaged' })
  expect(parseLedger(text, key, 'other')).toMatchObject({ kind: 'damaged' })
  expect(parseLedger(text.replace('reader', 'writer'), key, 'hub-test')).toMatchObject({ kind: 'damaged' })
})

test('mode and epoch stand in it and are under the MAC', () => {
  const ledger = createLedger(options(), { clock })
  ledger.write('safe')
  expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ version: 1, epoch: 3, mode: 'safe', sessions: [] })
  ledger.put(entry('a'))
  expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ mode: 'safe' })
})

test.each([
  ['before its rename', () => undefined],
  ['after it, as the folder was synced', ledgerFiles.replace],
] as const)(
  'a fault %s is said, leaves a whole document on disk, and the list does not run ahead of it [watch-43]',
  (_when, first) => {
    let broken = false
    const files = {
      ...ledgerFiles,
      replace(to: string, text: string) {
        if (!broken) return ledgerFiles.replace(to, text)
        first(to, text)
        throw new Error('no space left on device')
      },
    }
    const ledger = createLedger(options(), { clock, files })
    ledger.put(entry('a'))
    broken = true
    expect(() => ledger.put(entry('b'))).toThrow(expect.objectContaining({ code: 'store_unavailable' }))
    expect(ledger.list()).toEqual([entry('a')])
    // After the rename the new one is there, synced or not: a superset either way.
    expect(readLedger(options()).map(({ session }) => session)).toContain('a')
    expect(() => ledger.drop('a')).toThrow(expect.objectContaining({ code: 'store_unavailable' }))
    expect(ledger.list()).toEqual([entry('a')])
    broken = false
    ledger.put(entry('c'))
    expect(readLedger(options())).toEqual([entry('a'), entry('c')])
  },
)

test('what a kill left half made beside it is no ledger, and the next write takes its place [watch-43]', () => {
  const ledger = createLedger(options(), { clock })
  ledger.put(entry('a'))
  writeFileSync(`${path}.new`, readFileSync(path, 'utf8').slice(0, 40))
  expect(readLedger(options())).toEqual([entry('a')])
  ledger.put(entry('b'))
  expect(readdirSync(folder)).toEqual(['ledger.json'])
  expect(readLedger(options())).toEqual([entry('a'), entry('b')])
})

test('a missing ledger is empty, a damaged or foreign one is an error that says what to do', () => {
  expect(readLedger(options())).toEqual([])
  for (const text of ['', '{', '{}', '[]', '{"version":1,"instance":"hub-test","sessions":[],"mac":"00"}']) {
    writeFileSync(path, text)
    expect(() => readLedger(options()), text).toThrow(/move it away/)
  }
  createLedger({ ...options(), instance: 'other' }, { clock }).put(entry('a'))
  expect(() => readLedger(options())).toThrow(/another hub/)
})
