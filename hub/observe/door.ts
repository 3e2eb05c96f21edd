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
import type { MetricsText } from './metrics.ts'

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

/** `port`: 0 switches it off. `text` is asked at each request. */
export function createMetricsDoor(
  { port }: { port: number },
  parts: { clock: Clock; log: Log; healthz: ListenerParts['healthz']; text: () => Promise<MetricsText> },
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
            void own.get('/metrics', async (_request, reply) => {
              const { type, body } = await text()
              const late = clock.after(TAKEN_MS, () => reply.raw.destroy())
              reply.raw.once('close', () => late.cancel())
              return reply.type(type).send(body)
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
