/**
 * The text of the hub's metrics (S0-12): `table.ts` says what each means, and `readings.ts` reads them. The rings only count
 * (`hub/base/meters.ts`); here, when somebody asks, their numbers are put into words by prom-client, which is loaded with the first question.
 *
 * Q1. A text is made at most once a second. Whoever asks meanwhile gets the last one, so questions cost the hub nothing, however many come.
 * Q2. Only OpenMetrics can hold exemplars: a time of a histogram with the ids of the step in which it was measured. There is one for each
 *     bucket where traces are kept. The plain text never changes for that.
 */
import type { Metric, RegistryContentType } from 'prom-client'
import type { Spread } from '../base/meters.ts'
import { type MetricsParts, type Readings, readMetrics, type Sample } from './readings.ts'
import { type Definition, METRICS, type MetricName } from './table.ts'

const named = (labels: Definition['labels'], values: readonly string[]): Record<string, string> =>
  Object.fromEntries(Object.keys(labels ?? {}).map((name, at) => [name, values[at] ?? '']))

/** A line of the text; without a name of its own it has that of its metric. */
interface Line {
  metricName?: string
  labels: Record<string, string | number>
  value: number
  exemplar?: { labelSet: Record<string, string>; value: number; timestamp: number } | undefined
}

/** Written by the library only in OpenMetrics. */
function exemplarOf({ examples }: Spread, at: number): Line['exemplar'] {
  const found = examples.get(at)
  if (found === undefined) return undefined
  const labelSet = { trace_id: found.traceId, span_id: found.spanId }
  return { labelSet, value: found.seconds, timestamp: found.atMs / 1000 }
}

/** The lines of a histogram, as the library's own would give them. */
function linesOf(name: string, labels: Record<string, string>, spread: Spread): Line[] {
  let count = 0
  const buckets = spread.counts.map((each, at) => {
    count += each
    const le = spread.bounds[at] ?? '+Inf'
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: count, exemplar: exemplarOf(spread, at) }
  })
  const whole = [
    { metricName: `${name}_sum`, labels, value: spread.sum() },
    { metricName: `${name}_count`, labels, value: count },
  ]
  return [...buckets, ...whole]
}

// The registry alone: the whole package loads node:cluster and node:http with it, 15 MiB.
const loadRegistry = () => import('prom-client/lib/registry.js')

export type Format = 'prometheus' | 'openmetrics'

/** Loads the library, and answers what makes one text of what `read` finds. */
async function loadWriter(
  format: Format,
  read: () => Readings,
  load: typeof loadRegistry,
): Promise<{ type: string; write: () => Promise<string> }> {
  const { default: Registry } = await load()
  const isOpen = format === 'openmetrics'
  const registry = new Registry<RegistryContentType>()
  registry.setContentType(isOpen ? Registry.OPENMETRICS_CONTENT_TYPE : Registry.PROMETHEUS_CONTENT_TYPE)
  let readings = {} as Readings
  for (const [name, { type, help, labels }] of Object.entries<Definition>(METRICS) as [MetricName, Definition][]) {
    const valuesOf = ([value, ...rest]: Sample<Spread | number>): Line[] =>
      typeof value === 'number' ? [{ value, labels: named(labels, rest) }] : linesOf(name, named(labels, rest), value)
    // Of a counter, OpenMetrics names the family without `_total`, and the library adds it to each line.
    const shown = isOpen && type === 'counter' ? name.replace(/_total$/, '') : name
    // Its own metrics count by themselves, one look-up for each value; these show what the rings have counted.
    const get = async () => ({
      name: shown,
      help,
      type,
      values: (readings[name] as Sample<Spread | number>[]).flatMap(valuesOf),
      aggregator: 'sum',
    })
    registry.registerMetric({ name: shown, get } as unknown as Metric)
  }
  return {
    type: registry.contentType,
    write() {
      readings = read()
      return registry.metrics()
    },
  }
}

export interface MetricsText {
  type: string
  body: string
}

const MADE_FOR_MS = 1000

/** Answers what makes the text in one format (Q1). It throws what the library throws; one that could not be loaded is loaded again for the next text. */
function createText(format: Format, parts: MetricsParts, load: typeof loadRegistry): () => Promise<MetricsText> {
  const startedMs = parts.clock.wallMs()
  let writer: ReturnType<typeof loadWriter> | undefined
  let last: { atMs: number; text: Promise<MetricsText> } | undefined
  async function make(): Promise<MetricsText> {
    writer ??= loadWriter(format, () => readMetrics(parts, startedMs), load)
    writer.catch(() => {
      writer = undefined
    })
    const { type, write } = await writer
    return { type, body: await write() }
  }
  return () => {
    const atMs = parts.clock.monotonicMs()
    if (last === undefined || atMs - last.atMs >= MADE_FOR_MS) last = { atMs, text: make() }
    return last.text
  }
}

/** Answers what makes the text in a format. */
export function createMetrics(parts: MetricsParts, load = loadRegistry): (format?: Format) => Promise<MetricsText> {
  const texts = {
    prometheus: createText('prometheus', parts, load),
    openmetrics: createText('openmetrics', parts, load),
  }
  return (format = 'prometheus') => texts[format]()
}
