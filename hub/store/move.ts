/**
 * One step of one row from state to state: its table of steps says that there is such a step, and one update that names the old state makes
 * it. So of two who move the same row at once, one comes too late. In an open transaction.
 */
import { HubError } from '../base/errors.ts'
import type { Machine } from '../base/machine.ts'
import type { Store } from './database.ts'

/** The row that is moved: its table, the columns that name it there, its own id last, and its state as it was read. */
export interface Moved<State extends string> {
  table: string
  key: Readonly<Record<string, string>>
  state: State
  /** False for a damaged row, whose state is not known: then neither the table of steps nor the update asks for it. */
  isWhole?: boolean
}

/** Throws `conflict` if there is no such step, or the row is no longer in that state. `set`: further columns. */
export type Move = <State extends string>(
  machine: Machine<State>,
  row: Moved<State>,
  to: State,
  set?: Readonly<Record<string, unknown>>,
) => void

export function createMove(store: Pick<Store, 'prepare' | 'inTransaction'>): Move {
  return (machine, { table, key, state, isWhole = true }, to, set = {}) => {
    if (isWhole) machine.require(state, to)
    if (!store.inTransaction)
      throw new HubError('internal', '', { reason: `a ${machine.name} was moved outside a transaction` })
    const columns = Object.keys(set).map((column) => `, ${column} = ?`)
    const named = Object.keys(key).map((column) => `${column} = ?`)
    const where = [...named, ...(isWhole ? ['state = ?'] : [])].join(' and ')
    const { changes } = store
      .prepare(`update ${table} set state = ?${columns.join('')} where ${where}`)
      .run(to, ...Object.values(set), ...Object.values(key), ...(isWhole ? [state] : []))
    if (changes !== 1)
      throw new HubError('conflict', `the ${machine.name} ${Object.values(key).at(-1)} is no longer ${state}`)
  }
}
