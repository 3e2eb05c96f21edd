import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createMachine } from '../../../hub/base/machine.ts'
import { openStore, type Store } from '../../../hub/store/database.ts'
import { createMove } from '../../../hub/store/move.ts'

type State = 'open' | 'shut'
const doorMachine = createMachine<State>('door', { open: ['shut'], shut: [] })

let folder: string
let store: Store
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hub-move-'))
  store = openStore(join(folder, 'hub.db'))
  store.transaction(() => {
    store.prepare('create table door (house text, id text, state text, by text, primary key (house, id)) strict').run()
    for (const house of ['a', 'b']) store.prepare(`insert into door values (?, '1', 'open', null)`).run(house)
  })
})
afterEach(() => {
  store.close()
  rmSync(folder, { recursive: true })
})

describe('a step of a row', () => {
  const rows = () => store.prepare('select house, state, by from door order by house').raw().all()
  const move = (state: State, to: State, isWhole = true) =>
    createMove(store)(doorMachine, { table: 'door', key: { house: 'a', id: '1' }, state, isWhole }, to, { by: 'me' })

  it('is one update that names row and old state: of two who saw the same state the second comes too late', () => {
    store.transaction(() => move('open', 'shut'))
    expect(rows()).toEqual([
      ['a', 'shut', 'me'],
      ['b', 'open', null],
    ])
    expect(() => store.transaction(() => move('open', 'shut'))).toThrow('the door 1 is no longer open')
  })

  it('is in its table of steps, and in a transaction; else nothing moves', () => {
    expect(() => store.transaction(() => move('shut', 'open'))).toThrow('a door that is shut cannot become open')
    expect(() => move('open', 'shut')).toThrow(expect.objectContaining({ code: 'internal' }))
    expect(rows()).toEqual([
      ['a', 'open', null],
      ['b', 'open', null],
    ])
  })

  it('of a damaged row asks for no state', () => {
    store.transaction(() => store.prepare(`update door set state = '???' where house = 'a'`).run())
    store.transaction(() => move('shut', 'shut', false))
    expect(rows()[0]).toEqual(['a', 'shut', 'me'])
  })
})
