/**
 * Keeps spans by OpenTelemetry and sends them to a collector of this machine (S0-11). Nothing of it is loaded while `tracing.endpoint` is not
 * set: the rings are then handed no tracer, and no span costs anything.
 *
 * U1. Whether a trace is kept follows from its id alone, so every hub and every run decides alike, and nobody who asks can change it.
 * U2. What the collector does holds nothing up: 2 048 spans wait at most, 512 are sent at a time, one sending takes 10 s at most, the end of
 *     the hub waits 2 s. What has no room is dropped. That it fails is said once, until it works again.
 */
import type { SpanProcessor } from '@opentelemetry/sdk-trace'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/telemetry.ts'
import type { Place, Span, SpanIds, SpanName, Tracer } from '../protocol/traces.ts'

export interface Tracing {
  readonly tracer: Tracer
  /** Sends what waits, for at most 2 s. */
  close(): Promise<void>
}

const QUEUE_MAX = 2048
const BATCH_MAX = 512
const SEND_EVERY_MS = 2000
const SEND_MAX_MS = 10_000
const CLOSE_MAX_MS = 2000
/** The wall clock was set: spans are told by it again. */
const STEPPED_MS = 1000

/** A wall clock with parts of milliseconds that does not step within a span, unless somebody sets the machine's. */
function createSpanClock(clock: Clock): () => number {
  let offset = clock.wallMs() - clock.monotonicMs()
  return () => {
    const wall = clock.wallMs()
    const now = clock.monotonicMs() + offset
    if (Math.abs(now - wall) < STEPPED_MS) return now
    offset = wall - clock.monotonicMs()
    return wall
  }
}

export interface TracingParts {
  clock: Clock
  /** Names of what sends: shown with each span. */
  instance: string
  version: string
  /** Takes each span that has ended. */
  processor: SpanProcessor
}

/** Makes the tracer over the SDK; `sample` is the part of all traces that is kept, 0 to 1. */
export async function createTracing({ sample }: { sample: number }, parts: TracingParts): Promise<Tracing> {
  const api = await import('@opentelemetry/api')
  const sdk = await import('@opentelemetry/sdk-trace')
  const { resourceFromAttributes } = await import('@opentelemetry/resources')
  const { clock, instance, version, processor } = parts
  const nowMs = createSpanClock(clock)
  const hrOf = (ms: number): [number, number] => [Math.floor(ms / 1000), Math.round((ms % 1000) * 1e6)]
  const random = new sdk.RandomIdGenerator()
  const sampler = new sdk.TraceIdRatioBasedSampler(sample)
  let forced: Place | undefined
  let current: Place | undefined
  const provider = new sdk.TracerProvider({
    sampler,
    idGenerator: {
      generateTraceId: () => forced?.traceId ?? random.generateTraceId(),
      generateSpanId: () => forced?.spanId ?? random.generateSpanId(),
    },
    resource: resourceFromAttributes({
      'service.name': 'hub',
      'service.version': version,
      'service.instance.id': instance,
    }),
    spanProcessors: [processor],
  })
  const source = provider.getTracer('hub', version)
  const attributesOf = (ids: SpanIds) =>
    Object.fromEntries(Object.entries(ids).map(([name, value]) => [`hub.${name}`, value]))
  const contextOf = (place: Place) => ({ ...place, traceFlags: api.TraceFlags.SAMPLED, isRemote: true })
  const isKept = (traceId: string) =>
    sampler.shouldSample(api.ROOT_CONTEXT, traceId).decision === sdk.SamplingDecision.RECORD_AND_SAMPLED

  function begin(name: SpanName, { parent, own, link, ids, fromMs }: Parameters<Tracer['begin']>[1]): Span {
    const above =
      parent === undefined ? api.ROOT_CONTEXT : api.trace.setSpanContext(api.ROOT_CONTEXT, contextOf(parent))
    forced = own
    const span = source.startSpan(
      name,
      {
        attributes: attributesOf(ids),
        startTime: hrOf(fromMs ?? nowMs()),
        root: parent === undefined,
        ...(link === undefined ? {} : { links: [{ context: contextOf(link) }] }),
      },
      above,
    )
    forced = undefined
    const { traceId, spanId } = span.spanContext()
    return {
      place: { traceId, spanId },
      end(code, more = {}, atMs = nowMs()) {
        if (!span.isRecording()) return
        span.setAttributes(attributesOf(more))
        if (code !== undefined) span.setAttribute('hub.code', code).setStatus({ code: api.SpanStatusCode.ERROR })
        span.end(hrOf(Math.max(atMs, fromMs ?? 0)))
      },
    }
  }

  return {
    tracer: {
      begin,
      within(place, work) {
        const before = current
        current = place
        try {
          return work()
        } finally {
          current = before
        }
      },
      current: () => current,
      example(place = current) {
        if (place === undefined || !isKept(place.traceId)) return undefined
        return { traceId: place.traceId, spanId: place.spanId, atMs: clock.wallMs() }
      },
      traceparentOf: ({ traceId, spanId }) => `00-${traceId}-${spanId}-0${Number(isKept(traceId))}`,
    },
    async close() {
      const ended = provider.shutdown().catch(() => undefined)
      await Promise.race([ended, clock.sleep(CLOSE_MAX_MS)])
    },
  }
}

/** Opens the way to the collector; undefined if there is none to send to. Throws nothing that the collector causes. */
export async function openTracing(
  { endpoint, sample, everyMs = SEND_EVERY_MS }: { endpoint?: string | undefined; sample: number; everyMs?: number },
  parts: Omit<TracingParts, 'processor'> & { log: Log },
): Promise<Tracing | undefined> {
  if (endpoint === undefined) return undefined
  const { BatchSpanProcessor } = await import('@opentelemetry/sdk-trace')
  const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-http')
  const { log } = parts
  const url = new URL('v1/traces', endpoint.endsWith('/') ? endpoint : `${endpoint}/`).href
  const sender = new OTLPTraceExporter({ url, timeoutMillis: SEND_MAX_MS })
  let isFailing = false
  const exporter = {
    export(...[spans, done]: Parameters<typeof sender.export>): void {
      sender.export(spans, (result) => {
        const reason = result.error?.message ?? ''
        if (result.code !== 0 && !isFailing)
          log.warn({ endpoint, reason }, 'spans cannot be sent to the collector and are dropped; it is tried again')
        if (result.code === 0 && isFailing) log.info({ endpoint }, 'spans are sent to the collector again')
        isFailing = result.code !== 0
        // It was said here; the library would say each.
        done({ code: 0 })
      })
    },
    shutdown: () => sender.shutdown(),
    forceFlush: () => sender.forceFlush(),
  }
  const processor = new BatchSpanProcessor({
    exporter,
    maxQueueSize: QUEUE_MAX,
    maxExportBatchSize: BATCH_MAX,
    scheduledDelayMillis: everyMs,
    exportTimeoutMillis: SEND_MAX_MS,
  })
  return createTracing({ sample }, { ...parts, processor })
}
