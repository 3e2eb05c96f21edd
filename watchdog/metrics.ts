/**
 * `GET /metrics` in the text format of Prometheus, by hand: what `GET /v1/status` says, as numbers. Pure. No credential is asked for, so no
 * deadline stands in it, nor why the hub is safe (fault F17): who reads them would know when nobody looks.
 */

type Row = Readonly<Record<string, unknown>>
type Labels = Readonly<Record<string, string>>

/** What stands at a path of the status; undefined where nothing does. */
const at = (value: unknown, ...path: readonly string[]): unknown =>
  path.reduce<unknown>((row, key) => (typeof row === 'object' && row !== null ? (row as Row)[key] : undefined), value)
const numberAt = (value: unknown, ...path: readonly string[]): number | undefined => {
  const found = at(value, ...path)
  return typeof found === 'number' ? found : typeof found === 'boolean' ? Number(found) : undefined
}
const listAt = (value: unknown, ...path: readonly string[]): readonly unknown[] => {
  const found = at(value, ...path)
  return Array.isArray(found) ? found : []
}

/** Label values as the format wants them. */
const quoted = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${quoted(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

const seconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1000)

/** The metrics of one status, with what `alert-status.ts` adds to it. */
export function metricsText(status: Row): string {
  const lines: string[] = []
  type Sample = readonly [Labels, number | undefined]
  const add = (name: string, kind: 'gauge' | 'counter', what: string, samples: readonly Sample[]) => {
    lines.push(`# HELP watchdog_${name} ${what}`, `# TYPE watchdog_${name} ${kind}`)
    for (const [labels, value] of samples)
      if (value !== undefined) lines.push(`watchdog_${name}${labelText(labels)} ${value}`)
  }
  const one = (...path: readonly string[]): Sample[] => [[{}, numberAt(status, ...path)]]
  const span = (...path: readonly string[]): Sample[] => [[{}, seconds(numberAt(status, ...path))]]
  const channels = (key: string): Sample[] =>
    listAt(status, 'alerting', 'channels').map((row) => [
      { who: String(at(row, 'who')), channel: String(at(row, 'channel')) },
      numberAt(row, key),
    ])

  add('rounds_total', 'counter', 'Finished rounds since the start.', one('rounds'))
  add('round_age_seconds', 'gauge', 'Since the last finished round.', span('roundAgeMs'))
  add('hub_answering', 'gauge', '1 while the hub answers its leases.', one('hub', 'answering'))
  add('demands_safe', 'gauge', '1 while the lease demands safe mode.', [[{}, Number(status.demand === 'safe')]])
  const findings = listAt(status, 'alerts')
  add('findings', 'gauge', 'Open findings.', [[{}, findings.length]])
  add('channel_waiting', 'gauge', 'Messages not taken yet.', channels('waiting'))
  add('channel_failures', 'gauge', 'Failures in a row.', channels('failures'))
  add('channel_given_up_total', 'counter', 'Messages given up since the start.', channels('givenUp'))
  return `${lines.join('\n')}\n`
}
