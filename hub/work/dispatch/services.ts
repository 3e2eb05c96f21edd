/**
 * Persistent agents (S0-1, S1-50): of each card with `mode: service` one session runs while the mode is normal.
 *
 * V1. Its task is a row like any other. The hub makes it through the gate: the rules are asked (`agents.NAME.service`), the dispatcher
 *     narrows it, and caps and slots hold. It is nobody's queue: people neither submit to a service nor release it.
 * V2. A session that ends early is started again with back-off, as long as the breaker permits. If its task ended or was held, it gets a
 *     new one.
 * V3. `hub agent suspend` ends the starting and `hub agent reset` resumes it. A running session goes on to its time to live.
 */
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Alerts } from '../../guard/alerts/alerts.ts'
import type { Gate } from '../../guard/gate.ts'
import { type Modes, permits } from '../../guard/modes.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { Agent, Registry } from '../registry.ts'
import { FROM_SERVICES } from './origin.ts'
import { SERVICES } from './queue-rows.ts'
import type { TaskRow } from './rows.ts'
import type { Tasks } from './tasks.ts'

const PRINCIPAL = hubPrincipal('services')
/** A session that lived this long was no failed start. */
const LIVED_MS = 60_000
const WAIT_MIN_MS = 1000
const WAIT_MAX_MS = 300_000
const PRIORITY = 5
const RECENT = 10

export interface Services {
  /** Makes sure that each service has its task. Called before every round of the dispatcher. */
  round(): void
}

type Ended = Pick<TaskRow, 'startedAtMs' | 'endedAtMs'>

/**
 * How long a service waits after its last end before it starts again. Pure. The wait doubles for each of its latest tasks that was short.
 * `recent` is newest first.
 */
export function waitAfterEndMs(recent: readonly Ended[]): number {
  const lived = ({ startedAtMs, endedAtMs }: Ended) =>
    startedAtMs !== null && endedAtMs !== null && endedAtMs - startedAtMs >= LIVED_MS
  const longAt = recent.findIndex(lived)
  const short = longAt === -1 ? recent.length : longAt
  return Math.min(WAIT_MIN_MS * 2 ** short, WAIT_MAX_MS)
}

export function createServices(parts: {
  clock: Clock
  log: Log
  gate: Gate
  modes: Modes
  alerts: Alerts
  tasks: Tasks
  registry: Registry
}): Services {
  const { clock, log, gate, modes, alerts, tasks, registry } = parts
  /** Refused services: how often in a row, and until when they are not tried. Monotonic time. */
  const refused = new Map<string, { times: number; untilMs: number }>()

  function isDue(name: string): boolean {
    if (clock.monotonicMs() < (refused.get(name)?.untilMs ?? 0)) return false
    const recent = tasks.serviceTasks(name, RECENT)
    const endedAtMs = recent[0]?.endedAtMs ?? null
    const now = clock.wallMs()
    // An end in the future comes from a wall clock that was set back since. It holds nothing up.
    return endedAtMs === null || now < endedAtMs || now >= endedAtMs + waitAfterEndMs(recent)
  }

  function begin(name: string): void {
    gate.admit(
      {
        principal: PRINCIPAL,
        operation: 'service.start',
        resource: `agent:${name}`,
        facts: { agent: name, origin: FROM_SERVICES },
      },
      (grant) => {
        const task = tasks.insert(grant, {
          agent: name,
          needs: [],
          params: {},
          inputs: null,
          priority: PRIORITY,
          hold: false,
          ttlMs: undefined,
          requestedBy: SERVICES,
        })
        return { auditEffect: `task:${task.id}` }
      },
    )
    refused.delete(name)
    alerts.resolve(`service_refused:${name}`)
  }

  function keep({ card, state, imageId, barred, doubt }: Agent): void {
    const open = tasks.openServiceTask(card.name)
    if (open !== undefined && open.state === 'queued' && open.held) {
      // A stop or an interruption held it. It has nothing to continue, so the service is started again with a new task.
      const error = { code: 'cancelled', detail: 'a service is started with a new task; its old one is not continued' }
      gate.admit({ principal: PRINCIPAL, operation: 'task.settle', resource: `task:${open.id}` }, (grant) =>
        tasks.failed(grant, open.id, error),
      )
      return
    }
    const isReady = state === 'registered' && imageId !== undefined && barred === '' && doubt === undefined
    if (open === undefined && isReady && isDue(card.name)) begin(card.name)
  }

  return {
    round() {
      for (const agent of registry.list()) {
        if (agent.card.mode !== 'service' || !permits(modes.current(), 'new_work')) continue
        const { name } = agent.card
        try {
          keep(agent)
        } catch (thrown) {
          const error = toHubError(thrown)
          if (error.code === 'store_unavailable' || error.code.startsWith('mode_')) return
          const times = (refused.get(name)?.times ?? 0) + 1
          refused.set(name, {
            times,
            untilMs: clock.monotonicMs() + Math.min(WAIT_MIN_MS * 2 ** (times + 3), WAIT_MAX_MS),
          })
          log.warn({ agent: name, code: error.code, reason: error.reason }, 'a service was not started')
          alerts.raise(`service_refused:${name}`, 'warning', `service ${name} does not start: ${error.message}`)
        }
      }
    },
  }
}
