/**
 * Calls that would fit but for what others have reserved wait here, in the order in which they came.
 *
 * W1. First come, first served, within one tree and one agent: a call that would fit waits behind an earlier one that lacks an account that
 *     both need. Of what everybody spends from, the day of the hub, the order counts among those alone that wait for it too: a large call of
 *     one agent holds up nobody who fits.
 * W2. A call takes its turn at once when it has come: what it takes is taken before anything else can happen.
 * W3. Nobody waits longer than two minutes. Then the refusal is that of the call itself.
 */
import type { Clock } from '../../../base/clock.ts'
import { HubError } from '../../../base/errors.ts'
import type { Budget, MeteredCall, Verdict } from './budget.ts'

export interface Turns {
  /**
   * Runs `take` (the admission of the call) at its turn: at once if nothing stands in the way, or if waiting would not help. Rejects with
   * what `take` throws, with `budget_busy` after two minutes, and with `cancelled` when the signal aborts. `take` gets what was judged in the
   * same step, for `Budget.reserve`; nothing after two minutes.
   */
  atTurn<Result>(call: MeteredCall, take: (verdict?: Verdict) => Result, signal: AbortSignal): Promise<Result>
  /** Something that was reserved is free again. To be called once that is committed. */
  look(): void
  waiting(): number
}

const WAIT_MS_MAX = 120_000
/** More than all sessions can have under way. */
const WAITING_MAX = 1024

interface Waiting {
  call: MeteredCall
  lacking: readonly string[]
  /** Everything that it has lacked since it came. */
  lacked: Set<string>
  go: (verdict?: Verdict) => void
}

export function createTurns(budget: Pick<Budget, 'judge' | 'touches'>, clock: Pick<Clock, 'after'>): Turns {
  let queue: Waiting[] = []

  /** Accounts that somebody before this one lacks. */
  const lackedBefore = (waiting: Waiting | undefined): ReadonlySet<string> => {
    const at = waiting === undefined ? queue.length : queue.indexOf(waiting)
    return new Set(queue.slice(0, at).flatMap(({ lacking }) => lacking))
  }
  /** What the call has to wait for, which is nothing if it may go, and what was judged of it. */
  function standsInTheWay(call: MeteredCall, waiting?: Waiting): { verdict: Verdict; lacking: readonly string[] } {
    const verdict = budget.judge(call)
    if (verdict.kind === 'wait') return { verdict, lacking: verdict.lacking }
    const before = verdict.kind === 'fits' ? lackedBefore(waiting) : new Set<string>()
    if (before.size === 0) return { verdict, lacking: [] }
    const touched = new Set([...budget.touches(call), ...(waiting?.lacked ?? [])])
    return { verdict, lacking: [...touched].filter((key) => before.has(key)) }
  }

  function lack(waiting: Waiting, lacking: readonly string[]): void {
    waiting.lacking = lacking
    for (const key of lacking) waiting.lacked.add(key)
  }

  function look(): void {
    for (const waiting of [...queue]) {
      if (!queue.includes(waiting)) continue
      const { verdict, lacking } = standsInTheWay(waiting.call, waiting)
      if (lacking.length === 0) waiting.go(verdict)
      else lack(waiting, lacking)
    }
  }

  function wait<Result>(
    call: MeteredCall,
    lacking: readonly string[],
    take: (verdict?: Verdict) => Result,
    signal: AbortSignal,
  ): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    const own: Waiting = { call, lacking, lacked: new Set(lacking), go: () => undefined }
    const away = new AbortController()
    const leave = () => {
      away.abort()
      queue = queue.filter((each) => each !== own)
    }
    own.go = (verdict) => {
      leave()
      try {
        resolve(take(verdict))
      } catch (thrown) {
        reject(thrown as Error)
      }
    }
    const gaveUp = () => {
      leave()
      reject(new HubError('cancelled', 'the caller left while it waited for money that others had reserved'))
      look()
    }
    signal.addEventListener('abort', gaveUp, { once: true, signal: away.signal })
    const timer = clock.after(WAIT_MS_MAX, () => {
      // At its end it is admitted or refused like any other, so that the refusal is recorded where the call is.
      own.go()
      look()
    })
    away.signal.addEventListener('abort', () => timer.cancel(), { once: true })
    queue.push(own)
    return promise
  }

  return {
    async atTurn(call, take, signal) {
      const { verdict, lacking } = standsInTheWay(call)
      if (lacking.length === 0 || queue.length >= WAITING_MAX) return take(verdict)
      if (signal.aborted) throw new HubError('cancelled', 'the caller has left')
      return wait(call, lacking, take, signal)
    },
    look,
    waiting: () => queue.length,
  }
}
