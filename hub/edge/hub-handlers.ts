/** A handler for each operation on the hub as a whole: its health, presence, modes, stops, the drill, the contact, upstreams, the event feed. */
import type { Clock } from '../base/clock.ts'
import type { Guard } from '../guard/guard.ts'
import type { Work } from '../work/work.ts'
import type { Check } from './doctor/doctor.ts'
import type { HubDrill } from './drill.ts'
import type { ContactEntrance } from './people/contact.ts'
import { drillHandlers } from './routes/drill.ts'
import { eventHandlers } from './routes/events.ts'
import { type Health, operatorHandlers } from './routes/operator.ts'
import { presenceHandlers } from './routes/presence.ts'
import { stoppingHandlers } from './routes/stopping.ts'
import { type UpstreamParts, upstreamHandlers } from './routes/upstreams.ts'
import type { Handlers } from './serve.ts'
import type { WatchdogLink } from './watchdog/link.ts'

export interface HubHandlerParts {
  clock: Clock
  guard: Guard
  work: Pick<Work, 'tasks'>
  watchdog: WatchdogLink
  contact: ContactEntrance
  drill: HubDrill
  health: Health
  doctor: () => Promise<{ checks: Check[] }>
  declared: UpstreamParts
}

export function hubHandlers(parts: HubHandlerParts): Handlers {
  const { clock, guard, work, watchdog, contact, drill, health, doctor, declared } = parts
  const { gate, modes, audit, shownHeads, host } = guard
  const { tasks } = work
  return {
    ...stoppingHandlers({ modes, tasks, shutdown: watchdog.shutdown }),
    ...drillHandlers({ drill: drill.drill }),
    ...presenceHandlers({
      ...{ modes, clock, gate, askWatchdog: watchdog.say, watchdogStatus: watchdog.status },
      countHeld: tasks.countHeld,
    }),
    ...contact.handlers,
    ...operatorHandlers({
      ...{ health, modes, watchdog, doctor },
      isAcceptable: (head) => shownHeads.has(head) && audit.includes(head),
      proveClock: () => host.steady.prove(),
      acceptClock: () => host.steady.accept(tasks.sessionsOpen().length),
      releaseAlert: guard.alerts.release,
      questions: () => guard.approvals.list(false),
    }),
    ...upstreamHandlers(declared),
    ...eventHandlers({ tasks }),
  }
}
