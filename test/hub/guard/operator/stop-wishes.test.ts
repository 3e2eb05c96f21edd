/** What stands in `stop-wishes` and is no wish is never dropped in silence: everything is held instead (stop-wishes.ts W3, fault G1). */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  createStopWishes,
  encodeSlot,
  makeStopWishes,
  WISH_BYTES,
  WISHES_MAX,
} from '../../../../hub/guard/operator/stop-wishes.ts'

let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'hub-wishes-'))
  makeStopWishes(home)
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const wish = {
  serial: 5,
  atMs: 1,
  principal: { kind: 'operator', id: 'operator' },
  operation: 'task.cancel',
  resource: 'task:1',
  request: { reason: 'x' },
}
function put(slot: number, value: object): void {
  const fd = openSync(join(home, 'stop-wishes'), 'r+')
  writeSync(fd, encodeSlot(value) as Buffer, 0, WISH_BYTES, slot * WISH_BYTES)
  closeSync(fd)
}
function read(doneUpTo = 0) {
  const found = createStopWishes({ home, doneUpTo })
  found.close()
  return { waiting: found.waiting(), allHeld: found.allHeld, lost: found.lostRecords }
}

test('a whole wish waits, one that was carried out does not', () => {
  put(3, wish)
  expect(read()).toEqual({ waiting: [wish], allHeld: false, lost: 0 })
  expect(read(5)).toEqual({ waiting: [], allHeld: false, lost: 0 })
})

test.each<[string, object]>([
  ['no number', { ...wish, serial: '5' }],
  ['no instant', { ...wish, atMs: null }],
  ['nobody', { ...wish, principal: undefined }],
  ['a kind of principal that is none', { ...wish, principal: { kind: 'root', id: 'x' } }],
  ['a principal without a name', { ...wish, principal: { kind: 'operator' } }],
  ['an operation that is none', { ...wish, operation: 'task.explode' }],
  ['nothing it is about', { ...wish, resource: 1 }],
  ['a digest that is none', { ...wish, payloadHash: 7 }],
])('with %s everything is held', (_what, value) => {
  put(0, value)
  expect(read()).toMatchObject({ waiting: [], allHeld: true })
})

test('what is held for a damaged slot is held whatever the last slot says of others', () => {
  put(0, { ...wish, serial: null })
  put(WISHES_MAX, { serial: 6, allHeld: false, lost: 2 })
  expect(read()).toEqual({ waiting: [], allHeld: true, lost: 2 })
})
