/** Checks that a start need not wait for: all rows of history, and the whole audit log. */
import type { Clock } from '../base/clock.ts'
import { toHubError } from '../base/errors.ts'
import type { Log } from '../base/telemetry.ts'
import { nextTurn } from '../base/turn.ts'
import { lookThrough } from '../store/look.ts'
import type { Guard } from './guard.ts'

/** This check leaves most of the time to other work. */
const PAGES_A_REST = 4
const REST_MS = 10

/** Throws nothing; what it finds is an alert. Ends with the signal. */
export async function lookThroughHome(
  guard: Pick<Guard, 'store' | 'alertWatch' | 'verifier'>,
  parts: { clock: Clock; log: Log; signal: AbortSignal },
): Promise<void> {
  const { clock, log, signal } = parts
  let pages = 0
  async function gently(): Promise<void> {
    signal.throwIfAborted()
    await nextTurn()
    pages += 1
    if (pages % PAGES_A_REST === 0) await clock.sleep(REST_MS, signal)
    signal.throwIfAborted()
  }
  try {
    guard.alertWatch.databaseJudged(await lookThrough(guard.store, gently))
    await guard.verifier.look(gently, signal)
  } catch (thrown) {
    if (!signal.aborted)
      log.error({ reason: toHubError(thrown).reason }, 'the check of the home after the start failed')
  }
}
