/**
 * What happened to runs and their steps, in order (S2-19): written in the transaction of each step, so it tells neither more nor less than the rows.
 * It is what others go on from after a restart.
 */
import type { Clock } from '../../base/clock.ts'
import type { Store } from '../../store/database.ts'

/** One step of a run (`step` null) or of a step. `was` is null for what was made. */
export interface Happened {
  run: string
  step: string | null
  was: string | null
  became: string
  why: string
}

export interface History {
  /** In an open transaction. */
  write(happened: Happened): void
  /** Of one run, oldest first, after that number. */
  of(run: string, after: number, limit: number): (Happened & { seq: number; atMs: number })[]
}

export function createHistory(store: Pick<Store, 'prepare'>, steady: Pick<Clock, 'wallMs'>): History {
  const insert = store.prepare(
    'insert into state_history (run, step, was, became, why, at_ms) values (?, ?, ?, ?, ?, ?)',
  )
  const of = store.prepare(
    'select seq, run, step, was, became, why, at_ms as atMs from state_history where run = ? and seq > ? order by seq limit ?',
  )
  return {
    write: ({ run, step, was, became, why }) => void insert.run(run, step, was, became, why, steady.wallMs()),
    of: (run, after, limit) => of.all(run, after, limit) as ReturnType<History['of']>,
  }
}
