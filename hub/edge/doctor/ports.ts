/** Doctor's rows of the loopback ports of hub, metrics and watchdog: whether its owner holds each port, or it is free. */
import { createServer } from 'node:net'
import { watchdogPortOf } from '../../base/watchdog-words.ts'
import type { Check } from './doctor.ts'

export type PortState = 'free' | 'taken' | 'denied'
/** Tries to listen there for a moment. */
export type AskPort = (port: number) => Promise<PortState>

const askPort: AskPort = (port) =>
  new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EADDRINUSE' ? 'taken' : 'denied'))
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve('free')))
  })

export interface PortOwner {
  name: 'hub' | 'metrics' | 'watchdog'
  /** 0: switched off. */
  port: number
  /** Whether it runs; then it should hold its port. */
  isUp: boolean
  /** Its owner knows that it does not hold the port, whoever does. */
  isShut?: boolean
  /** The key that chooses the port. */
  key: string
}

/** Pure. */
export function judgePort({ name, port, isUp, isShut, key }: PortOwner, state: PortState): Check {
  const row = { name: `port of the ${name}` }
  if (port === 0) return { ...row, ok: null, detail: 'switched off', mend: `set ${key} where a port is wanted` }
  const where = `127.0.0.1:${port}`
  if (state === 'denied')
    return {
      ...row,
      ok: false,
      detail: `this account may not listen on ${where}`,
      mend: `set ${key} to a port above 1023`,
    }
  const free = `ss -ltnp 'sport = :${port}' shows which one: end it, or set ${key} to a free port`
  if (isUp && state === 'taken' && isShut === true)
    return {
      ...row,
      ok: false,
      detail: `${where} is taken by another program, and the hub tries again every 15 s`,
      mend: free,
    }
  if (isUp)
    return state === 'taken'
      ? { ...row, ok: true, detail: `listens on ${where}`, mend: '' }
      : {
          ...row,
          ok: false,
          detail: `nothing listens on ${where}`,
          mend: `${name === 'watchdog' ? 'hub restart --watchdog' : 'hub restart'} (${key})`,
        }
  return state === 'free'
    ? { ...row, ok: true, detail: `${where} is free for it`, mend: '' }
    : {
        ...row,
        ok: false,
        detail: `${where} is taken by another program, so ${name === 'metrics' ? 'the hub would start without metrics' : 'it cannot start'}`,
        mend: free,
      }
}

/** What is known of the listener of metrics; `isOpen` only where the hub runs. */
export interface MetricsPort {
  readonly port: number
  isOpen?(): boolean
}

/** All owners. The watchdog is asked now. */
export const portOwners = async (
  home: string,
  { metrics, ...hub }: { port: number; isUp: boolean; metrics: MetricsPort },
  askWatchdog: () => Promise<unknown>,
): Promise<PortOwner[]> => [
  { name: 'hub', key: 'http.port in hub.yaml', ...hub },
  {
    name: 'metrics',
    key: 'metrics.port in hub.yaml',
    port: metrics.port,
    isUp: hub.isUp,
    isShut: metrics.isOpen?.() === false,
  },
  {
    name: 'watchdog',
    port: watchdogPortOf(home),
    isUp: await askWatchdog().then(
      () => true,
      () => false,
    ),
    key: 'http.port in watchdog/config.yaml',
  },
]

export const createPortChecks =
  (owners: () => Promise<PortOwner[]>, ask: AskPort = askPort) =>
  async (): Promise<Check[]> =>
    Promise.all(
      (await owners()).map(async (owner) => judgePort(owner, owner.port === 0 ? 'free' : await ask(owner.port))),
    )
