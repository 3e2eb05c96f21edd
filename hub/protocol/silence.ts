/**
 * What the hub says to the shim of a session whose program says nothing (docs/agents.md). Free of packages: the shim loads it.
 *
 * `ask`: the shim looks whether something of the program works, and says so in the log of the task, which counts as a sign. `end`: unless
 * something works, it ends the program, keeps what there is, and ends with it. With `force` it does so in any case.
 */
export const SILENCE_TYPE = 'session.silent'
export interface SilenceBody {
  step: 'ask' | 'end'
  why: string
  force?: true
}
