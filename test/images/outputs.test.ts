/** What a program leaves is stored at its end, and kept meanwhile: marked, only what has changed, and never in its way. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { HubError } from '../../hub/base/errors.ts'
import { createOutputs } from '../../images/agent/outputs.ts'

let folder = ''
let put: string[]
/** What the hub says to one of this name. */
let answer: (name: string, unfinished: boolean) => Promise<void> | undefined
const make = () =>
  createOutputs(folder, {
    async put(name, _content, { unfinished = false, dataClass } = {}) {
      put.push(`${name}${unfinished ? ' kept' : ''}${dataClass === undefined ? '' : ` ${dataClass}`}`)
      await answer(name, unfinished)
      return { name, sha256: '', size: 0 }
    },
    classOf: (name) => (name === 'secret.txt' ? 'restricted' : undefined),
  })
const write = (name: string, text: string) => writeFileSync(join(folder, name), text)

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'out-'))
  put = []
  answer = () => undefined
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('only what has changed is kept again, marked and with its class; at the end all is stored, unmarked', async () => {
  const outputs = make()
  write('a.txt', 'one')
  write('secret.txt', 'two')
  await outputs.keep()
  expect(put.splice(0).sort()).toEqual(['a.txt kept', 'secret.txt kept restricted'])
  await outputs.keep()
  expect(put).toEqual([])
  appendFileSync(join(folder, 'a.txt'), ', and more')
  write('b.txt', 'three')
  await outputs.keep()
  expect(put.splice(0).sort()).toEqual(['a.txt kept', 'b.txt kept'])
  expect(await outputs.store()).toBeUndefined()
  expect(put.splice(0).sort()).toEqual(['a.txt', 'b.txt', 'secret.txt restricted'])
  appendFileSync(join(folder, 'a.txt'), ', too late')
  await outputs.keep()
  expect(put).toEqual([])
})

test('what cannot be kept is left for the next time, whatever the hub says, and hinders nothing', async () => {
  const outputs = make()
  const names = ['a.txt', 'b.txt', 'c.txt', 'd.txt']
  for (const name of names) write(name, name)
  // As many as are kept at once.
  const isRefused = (name: string) => name < 'c'
  answer = (name) => (isRefused(name) ? Promise.reject(new HubError('store_unavailable')) : undefined)
  await outputs.keep()
  expect(put.splice(0).sort()).toEqual(names.map((name) => `${name} kept`))
  answer = () => undefined
  await outputs.keep()
  expect(put.sort()).toEqual(['a.txt kept', 'b.txt kept'])
  rmSync(folder, { recursive: true })
  await expect(outputs.keep()).resolves.toBeUndefined()
})

test('the end waits for what is being kept, begins no more of it, and overtakes nothing', async () => {
  const outputs = make()
  for (const name of ['a.txt', 'b.txt', 'c.txt']) write(name, name)
  let goOn = () => {}
  const slow = new Promise<void>((done) => {
    goOn = done
  })
  answer = (_, unfinished) => (unfinished ? slow : undefined)
  const kept = outputs.keep()
  await expect.poll(() => put.length).toBe(2)
  // A second round does not begin beside the first.
  void outputs.keep()
  const stored = outputs.store()
  // Whatever would begin beside it has begun by then.
  for (let looks = 0; looks < 50; looks += 1) await stat(folder)
  expect(put).toHaveLength(2)
  goOn()
  await Promise.all([kept, stored])
  expect(put.slice(2).sort()).toEqual(['a.txt', 'b.txt', 'c.txt'])
})
