/** `hub alert`: which alerts are open, and whether the channels of hub and watchdog work. */
import type { AlertView, ChannelTestView } from '../../answers.ts'
import { EXIT } from '../../problem.ts'
import { type Context, given, type Run, showList, typed } from '../context.ts'
import { shortId, withShortIds } from '../ids.ts'
import { type Cell, clean, columns, facts, type Paint, type Style, whenText } from '../text.ts'

const STYLES: Readonly<Record<string, Style>> = { critical: 'red', warning: 'yellow' }

const table = (alerts: readonly AlertView[], nowMs: number, paint: Paint): string =>
  columns(
    ['ID', 'SEVERITY', 'STATE', 'CAUSE', 'SINCE', 'WHAT'],
    alerts.map(({ id, severity, state, cause, raisedAtMs, resolvedAtMs, text, whose }): Cell[] => [
      whose === undefined ? shortId(id) : { text: whose, style: 'dim' },
      { text: severity, style: STYLES[severity] ?? 'dim' },
      resolvedAtMs === null ? state.replace('_', ' ') : { text: 'resolved', style: 'dim' },
      withShortIds(cause),
      whenText(raisedAtMs, nowMs),
      text.split('\n')[0] ?? '',
    ]),
    paint,
  )

/** The open alerts of the watchdog. If it does not answer, `hub status` says so. */
async function ofWatchdog({ watchdog }: Context, nowMs: number): Promise<AlertView[]> {
  const quick = { deadlineMs: 5_000 }
  const status = (await watchdog.send('GET', '/v1/status', undefined, quick).catch(() => ({}))) as {
    alerts?: { finding: string; forMs: number }[]
  }
  return (status.alerts ?? []).map(({ finding, forMs }) => ({
    id: '',
    cause: finding,
    severity: 'warning',
    state: 'sent',
    text: 'raised by the watchdog; see HOME/watchdog/alerts.log',
    holds: false,
    raisedAtMs: nowMs - forMs,
    resolvedAtMs: null,
    whose: 'watchdog',
  }))
}

export const alertList: Run = async (context, _, options) => {
  const [answer, theirs] = await Promise.all([
    context.hub.call('alert.list', { all: String(options.all === true) }),
    ofWatchdog(context, Date.now()),
  ])
  const alerts = [...answer.alerts, ...theirs]
  const show = (rows: readonly AlertView[]) => table(rows, Date.now(), context.terminal.paint)
  showList(context, alerts, { empty: 'no alert is open', table: show })
  return EXIT.done
}

/** The same row for hub and watchdog; a missing field stays empty. */
const rowOf = (whose: string, { channel, kind, ok, answer, tookMs }: ChannelTestView): Cell[] => [
  whose,
  clean(channel ?? kind ?? ''),
  ok === true ? { text: 'accepted', style: 'green' } : { text: 'FAILED', style: 'red' },
  tookMs === undefined ? '' : `${tookMs} ms`,
  clean(answer ?? ''),
]

/** What the watchdog said about each of its channels. */
export function watchdogTests(answer: unknown): ChannelTestView[] {
  const { channels } = (answer ?? {}) as { channels?: unknown }
  if (!Array.isArray(channels)) return []
  return channels.map(({ channel, kind, ok, why, ms }: Record<string, unknown>) => ({
    channel: String(channel ?? kind ?? ''),
    ok: ok === true,
    answer: String(why ?? ''),
    ...(typeof ms === 'number' ? { tookMs: ms } : {}),
  }))
}

export const alertTest: Run = async ({ hub, json, terminal }, _, { channel }) => {
  const view = await hub.call('alert.test', given({ channel: typed(channel) }), { deadlineMs: 60_000 })
  const theirs = watchdogTests(view.watchdog)
  const failed = [...view.hub, ...theirs].some(({ ok }) => ok !== true)
  if (json) terminal.json(view)
  else {
    const rows = [...view.hub.map((row) => rowOf('hub', row)), ...theirs.map((row) => rowOf('watchdog', row))]
    terminal.out(columns(['WHOSE', 'CHANNEL', 'RESULT', 'TOOK', 'ANSWER'], rows, terminal.paint))
    // The table cuts long lines, so the answer of each failed channel is printed in full.
    const whys = [...view.hub, ...theirs].filter(({ ok, answer }) => ok !== true && (answer ?? '') !== '')
    for (const { channel, kind, answer } of whys)
      terminal.out(`${clean(channel ?? kind ?? '')}: ${clean(answer ?? '')}`)
    if (view.watchdog !== null && theirs.length === 0)
      terminal.out(facts([['watchdog', 'has no channel except the file watchdog/alerts.log']], terminal.paint))
    if (view.watchdogProblem !== null)
      terminal.out(facts([['watchdog', { text: view.watchdogProblem, style: 'yellow' }]], terminal.paint))
  }
  // A watchdog that does not know this request is older, not broken.
  return failed || view.watchdogAway ? EXIT.fault : EXIT.done
}
