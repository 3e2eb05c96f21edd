/** A transition table: which state may follow which. Terminal states have no successor and are final. */
import { HubError } from './errors.ts'

export interface Machine<State extends string> {
  readonly name: string
  readonly states: readonly State[]
  may(from: State, to: State): boolean
  /** Throws `conflict` when the table has no such step. */
  require(from: State, to: State): void
  isTerminal(state: State): boolean
}

export function createMachine<State extends string>(
  name: string,
  table: Record<State, readonly State[]>,
): Machine<State> {
  const states = Object.keys(table) as State[]
  const may = (from: State, to: State) => table[from].includes(to)
  return {
    name,
    states,
    may,
    require(from, to) {
      if (!may(from, to)) throw new HubError('conflict', `a ${name} that is ${from} cannot become ${to}`)
    },
    isTerminal: (state) => table[state].length === 0,
  }
}
