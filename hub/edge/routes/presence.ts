/**
 * `operator.away`, `operator.back`: planned absence (docs/safety.md 3). The watchdog owns the clock and the condition. The hub checks that
 * it is normal, records the request and passes it on. If the watchdog refuses, the refusal is recorded beside the request. `operator.show`:
 * the deadlines as the watchdog has them, for callers that cannot ask it on its own socket.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import type { Gate } from '../../guard/gate.ts'
import { heartbeatSourceOf } from '../../guard/identity/credentials.ts'
import type { Modes } from '../../guard/modes.ts'
import type { Principal } from '../../guard/principal.ts'
import type { AwayRequest, OperationName } from '../../protocol/operations.ts'
import { type Handlers, handler } from '../serve.ts'

/** The watchdog has the same number (`heartbeat.ts` there) and the last word. */
const AWAY_DAYS_MAX = 21
const DAY_MS = 86_400_000

export function presenceHandlers(parts: {
  modes: Modes
  clock: Clock
  gate: Gate
  askWatchdog: (path: string, body: Record<string, unknown>) => Promise<unknown>
  watchdogStatus: () => Promise<unknown>
  /** Tasks that wait to be released. */
  countHeld: () => number
}): Handlers {
  const { modes, clock, gate, askWatchdog, watchdogStatus, countHeld } = parts

  async function passOn(operation: OperationName, principal: Principal, body: Record<string, unknown>) {
    const name = operation.slice('operator.'.length)
    try {
      return await askWatchdog(`/v1/${name}`, { ...body, source: heartbeatSourceOf(principal) })
    } catch (thrown) {
      const error = toHubError(thrown)
      if (error.code === 'conflict') gate.refuse({ principal, operation, resource: 'operator' }, error)
      throw error
    }
  }

  return {
    'operator.show': handler({
      effect: () => undefined,
      // If the watchdog does not answer, that is part of the answer and no error.
      after: () =>
        watchdogStatus().then(
          (status) => ({
            presence: (status as { heartbeat?: unknown }).heartbeat ?? null,
            problem: null,
            atMs: clock.wallMs(),
          }),
          (thrown) => ({ presence: null, problem: toHubError(thrown).message, atMs: clock.wallMs() }),
        ),
    }),
    'operator.away': handler({
      resource: () => 'operator',
      effect: (_grant, { untilMs }: AwayRequest, { principal }) => {
        const holding = modes.active().map(({ name, endsBy }) => `${name} (ends by ${endsBy})`)
        if (holding.length > 0)
          throw new HubError('conflict', `an absence can begin only in normal mode; now there is ${holding.join(', ')}`)
        const inMs = untilMs - clock.wallMs()
        if (inMs <= 0) throw new HubError('schema_invalid', 'untilMs must be later than now')
        if (inMs > AWAY_DAYS_MAX * DAY_MS)
          throw new HubError('limit_exceeded', `an absence lasts at most ${AWAY_DAYS_MAX} days`)
        return principal
      },
      after: (principal, { untilMs, keepWorking, note }) =>
        passOn('operator.away', principal, { untilMs, keepWorking, note }),
    }),
    'operator.back': handler({
      resource: () => 'operator',
      effect: (_grant, _request: { note: string }, { principal }) => principal,
      after: async (principal, { note }) => ({
        ...((await passOn('operator.back', principal, { note })) as object),
        held: countHeld(),
      }),
    }),
  }
}
