/** Alerts: what is open, and whether its channels work. */
import { HubError, toHubError } from '../../base/errors.ts'
import type { Alerts } from '../../guard/alerts/alerts.ts'
import type { Delivery } from '../../guard/alerts/delivery.ts'
import { type Handlers, handler } from '../serve.ts'

export function alertHandlers(parts: {
  alerts: Alerts
  delivery: Pick<Delivery, 'test' | 'states'>
  /** Has the watchdog try its own channels. Rejects if it does not answer or does not know this request. */
  testAtWatchdog: () => Promise<unknown>
}): Handlers {
  const { alerts, delivery, testAtWatchdog } = parts
  return {
    'alert.list': handler({
      effect: (_grant, { all }: { all: boolean }) => ({ alerts: alerts.list(all), channels: delivery.states() }),
    }),
    'alert.test': handler({
      resource: ({ channel }: { channel?: string }) => (channel === undefined ? 'alerts' : `channel:${channel}`),
      effect: (_grant, { channel }: { channel?: string }) => {
        const names = delivery.states().map((state) => state.channel)
        if (channel !== undefined && !names.includes(channel))
          throw new HubError('conflict', `there is no channel ${channel}; there are: ${names.join(', ')}`)
        return channel
      },
      after: async (channel) => {
        const own = delivery.test(channel)
        if (channel !== undefined) return { hub: await own, watchdog: null, watchdogProblem: null, watchdogAway: false }
        const theirs = await testAtWatchdog().then(
          (answer) => ({ watchdog: answer, watchdogProblem: null, watchdogAway: false }),
          (thrown) => {
            const { code, message } = toHubError(thrown)
            return { watchdog: null, watchdogProblem: message, watchdogAway: code === 'timed_out' }
          },
        )
        return { hub: await own, ...theirs }
      },
    }),
  }
}
