/** Builds the drill from the parts that take part in it, and says when one is due. */
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/telemetry.ts'
import type { Guard } from '../guard/guard.ts'
import { CONTACT_DRILL_DAYS, createDrill, DRILL_DAYS, type DrillOuter, judgeDrill } from '../work/dispatch/drill.ts'
import type { Engine } from '../work/sandbox/engine.ts'
import type { Work } from '../work/work.ts'
import type { Check } from './doctor/doctor.ts'

const MEND = 'hub drill'
const NONE = 'there has been no good one yet'
const CAUSE = 'drill_overdue'
const CONTACT_CAUSE = 'contact_drill_overdue'

interface Theirs {
  channels: { who: string; channel: string; ok: boolean; why: string }[]
}

export function createHubDrill(outer: {
  clock: Clock
  log: Log
  engine: Engine
  guard: Guard
  work: Pick<Work, 'asking' | 'catalogue' | 'supervision' | 'tasks'>
  /** One call to the watchdog. */
  say: (path: '/v1/shutdown' | '/v1/alert-test', body: object) => Promise<unknown>
}) {
  const { clock, log, engine, guard, work, say } = outer
  const { gate, modes, meta, alerts, alertDelivery } = guard
  const { tasks, asking } = work
  const { registry } = work.catalogue
  const { reaper } = work.supervision
  const theirs = async (body: object) =>
    ((await say('/v1/alert-test', body)) as Theirs).channels.map(({ who, channel, ok, why }) => {
      return { channel: `watchdog ${who} ${channel}`, ok, why }
    })

  const drill = createDrill({
    clock,
    log,
    gate,
    modes,
    meta,
    tasks,
    registry,
    asking,
    reaper,
    engine,
    outer: {
      removeByWatchdog: (session) =>
        say('/v1/shutdown', { by: 'drill', session, reason: 'drill' }) as ReturnType<DrillOuter['removeByWatchdog']>,
      async testAlerts() {
        const [own, others] = await Promise.all([alertDelivery.test(), theirs({ who: 'operator', kind: 'test' })])
        return [...own.map(({ channel, ok, answer }) => ({ channel: `hub ${channel}`, ok, why: answer })), ...others]
      },
      rehearse: () => theirs({ who: 'contact', kind: 'rehearsal' }),
    },
  })
  const due = () => judgeDrill(drill.state(), clock.wallMs(), guard.contact.current()?.madeAtMs ?? null)

  return {
    drill,
    /** For health and status. */
    view: () => {
      const { days, overdue } = due()
      const { last } = drill.state()
      return { daysSinceGood: days, overdue, lastOk: last === null ? null : last.ok }
    },
    checks: async (): Promise<Check[]> => {
      const { days, contactDays, overdue, contactOverdue } = due()
      const { last } = drill.state()
      const failed =
        last === null || last.ok
          ? ''
          : `; the last one failed: ${
              last.skipped ??
              last.steps
                .filter(({ ok }) => !ok)
                .map(({ name, detail }) => `${name}: ${detail}`)
                .join('; ')
            }`
      const word = (count: number | null) => (count === null ? NONE : `last good one ${count} days ago`)
      return [
        {
          name: 'drill',
          ok: overdue || failed !== '' ? null : true,
          detail: `${days === null && contactDays === null ? `${NONE}, with or without the contact` : `${word(days)}, with the contact: ${word(contactDays)}`}${failed}`,
          mend: contactOverdue && !overdue ? `${MEND} --with-contact, every ${CONTACT_DRILL_DAYS} days` : MEND,
        },
      ]
    },
    /** Raises and resolves the reminders. Called by a loop. */
    remind() {
      const { overdue, contactOverdue } = due()
      if (overdue)
        alerts.raise(
          CAUSE,
          'warning',
          `There was no good drill for ${DRILL_DAYS} days: nobody has proven since then that everything can be stopped. Run \`hub drill\`.`,
        )
      else alerts.resolve(CAUSE)
      if (contactOverdue)
        alerts.raise(
          CONTACT_CAUSE,
          'warning',
          `There was no good drill with your backup contact for ${CONTACT_DRILL_DAYS} days: nobody has proven since then that messages still reach them. By day, run \`hub drill --with-contact\`.`,
        )
      else alerts.resolve(CONTACT_CAUSE)
    },
  }
}

export type HubDrill = ReturnType<typeof createHubDrill>
