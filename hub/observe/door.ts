/**
 * The listener of metrics on loopback (S0-12): `GET /metrics` and `/healthz`, under this machine's own names only, with the limits of every
 * listener of people. Nobody who holds it up holds up anything else, and the hub does without it: a port that another program has is said in
 * the log and by doctor, and tried again.
 */
import type { FastifyInstance } from 'fastify'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/telemetry.ts'
import type { ListenerParts } from '../edge/people/listener.ts'
import { createLoopbackHttp } from '../edge/people/loopback.ts'
import type { Format, MetricsText } from './metrics.ts'

/** Prometheus keeps one connection. */
const CONNECTIONS_MAX = 8
/** A second for each connection: more questions get no newer text. */
const PER_SECOND = 5
/** Whoever has not taken an answer by then gets no more of it. */
const TAKEN_MS = 10_000

export interface MetricsDoor {
  /** Opens it, or tries again if it could not be opened; never throws. Does nothing while it is open or switched off. */
  open(): Promise<void>
  /** 0: switched off. */
  readonly port: number
  isOpen(): boolean
  close(): Promise<void>
}

const OPEN_METRICS = 'application/openmetrics-text'
/** Of one range in an `Accept`: its type, its version ('' for any) and how much it is wanted, 0 to 1. */
function readRange(range: string): { type: string; version: string; wanted: number } {
  const [type = '', ...rest] = range.split(';').map((part) => part.trim().toLowerCase())
  const given = (name: string) => rest.find((part) => part.startsWith(`${name}=`))?.slice(name.length + 1)
  const wanted = Number(given('q') ?? 1)
  return { type, version: given('version') ?? '', wanted: wanted >= 0 && wanted <= 1 ? wanted : 0 }
}

/** The format that an `Accept` asks for: OpenMetrics 1.0.0 if it is named and plain text is not wanted more. Pure. */
export function formatFor(accept: string | undefined): Format {
  const ranges = (accept ?? '').split(',').map(readRange)
  const most = (fits: (range: ReturnType<typeof readRange>) => boolean) =>
    Math.max(0, ...ranges.filter(fits).map(({ wanted }) => wanted))
  const open = most(({ type, version }) => type === OPEN_METRICS && (version === '' || version === '1.0.0'))
  return open > 0 && open >= most(({ type }) => type === 'text/plain') ? 'openmetrics' : 'prometheus'
}

/** `port`: 0 switches it off. `text` is asked at each request. */
export function createMetricsDoor(
  { port }: { port: number },
  parts: {
    clock: Clock
    log: Log
    healthz: ListenerParts['healthz']
    text: (format: Format) => Promise<MetricsText>
  },
): MetricsDoor {
  const { clock, log, healthz, text } = parts
  let app: FastifyInstance | undefined
  let said = ''

  const make = () =>
    createLoopbackHttp(() => port, {
      ...{ clock, log, healthz },
      limits: { connectionsMax: CONNECTIONS_MAX, perSecond: PER_SECOND },
      plugins: [
        {
          path: '/metrics',
          isLocal: true,
          mount: (own) =>
            void own.get('/metrics', async (request, reply) => {
              const { type, body } = await text(formatFor(request.headers.accept))
              const late = clock.after(TAKEN_MS, () => reply.raw.destroy())
              reply.raw.once('close', () => late.cancel())
              return reply.type(type).header('vary', 'accept').send(body)
            }),
        },
      ],
    })

  return {
    port,
    isOpen: () => app !== undefined,
    async open() {
      if (port === 0 || app !== undefined) return
      const made = make()
      try {
        await made.listen({ host: '127.0.0.1', port })
        app = made
        if (said !== '') log.info({ port }, 'the metrics are served again')
        said = ''
      } catch (thrown) {
        await made.close()
        const { code = '', message } = thrown as NodeJS.ErrnoException
        const reason = code === 'EADDRINUSE' ? `port ${port} is in use` : message
        if (reason !== said)
          log.warn(
            { reason },
            'the metrics are not served; set metrics.port in hub.yaml to a free port, or to 0; it is tried again',
          )
        said = reason
      }
    },
    async close() {
      app?.server.closeAllConnections()
      await app?.close()
      app = undefined
    },
  }
}
