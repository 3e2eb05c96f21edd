/** Builds everything of the backup contact's at the hub: operations, stop page, what the watchdog is told, what doctor says. */
import type { FastifyRequest } from 'fastify'
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import { createContactChecks } from '../edge/doctor-contact.ts'
import type { Reach } from '../edge/reach.ts'
import { contactHandlers, createContactNews } from '../edge/routes/contact.ts'
import { createStopDesk } from '../edge/stop-desk.ts'
import { stopRoom } from '../edge/stop-room.ts'
import { beginStop, type Shutdown, type StopRequest } from '../work/dispatch/shutdown.ts'
import type { Tasks } from '../work/dispatch/tasks.ts'
import type { Guard } from './guard.ts'

/** Guessing has no end of its own: after so long without more of it the alert is over. The stop ends when the operator resumes (guard-watch.ts). */
const GUESSED_FOR_MS = 24 * 3_600_000
const stopBy = (reason: string): StopRequest => ({ drain: false, reason, exit: 'shutdown', by: 'contact' })

export function createContactSide(
  options: { reach: Reach; port: () => number; instance: string },
  outer: {
    clock: Clock
    random: Random
    log: Log
    guard: Guard
    ask: (path: string, body: object) => Promise<unknown>
    tasks: Tasks
    shutdown: Shutdown
  },
) {
  const { clock, random, log, guard, ask, tasks, shutdown } = outer
  const { contact, gate, modes, alerts } = guard
  const { publicUrl, trustedProxy } = options.reach
  const news = createContactNews({ contact, gate, ask, log })
  const desk = createStopDesk({
    instance: options.instance,
    random,
    contact,
    gate,
    modes,
    clock,
    begin: (reason) => beginStop(modes, stopBy(reason)),
    stop: (grant, reason) => shutdown(grant, stopBy(reason)),
    progress: shutdown.progress,
    isAnythingLeft() {
      try {
        return tasks.sessionsOpen().length > 0
      } catch {
        // What cannot be read is stopped once more.
        return true
      }
    },
    raise: (cause, text) => alerts.raise(cause, 'warning', text, cause === 'contact_stop' ? undefined : GUESSED_FOR_MS),
  })
  return {
    desk,
    news,
    /** Every other path of the loopback listener. */
    refuseElsewhere: ({ headers, routeOptions }: FastifyRequest) =>
      desk.refuseBearer(headers.authorization, routeOptions.url ?? 'an unknown path'),
    handlers: contactHandlers({ contact, ask, news, publicUrl, port: options.port }),
    room: stopRoom({
      desk,
      publicHost: publicUrl === undefined ? undefined : new URL(publicUrl).host,
      trustedProxy,
      onReached: contact.noteReached,
    }),
    checks: createContactChecks({ contact, clock, news, publicUrl }),
  }
}
