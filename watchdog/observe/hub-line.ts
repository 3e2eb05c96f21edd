/**
 * The watchdog's line to the hub: the lease of each round and the order to stop (docs/safety.md 2).
 * Both bodies and both answers carry a MAC over label and raw bytes (T92).
 */
import type { Clock } from '../base/clock.ts'
import { macHex, sameHex } from '../base/digest.ts'
import { exchange } from '../base/wire.ts'
import type { Remains } from '../judge/facts.ts'
import { type Heard, isRow, isText, type Lease, parseAnswer, type StopOrder } from '../judge/lease.ts'

export interface Confirmed {
  readonly container: string
  readonly outcome: 'gone' | 'already_gone' | 'failed'
  readonly reason?: string
  /** For one that failed: its processes that still run; absent if unknown. */
  readonly remains?: Remains
}

export interface HubLine {
  lease(lease: Lease): Promise<Heard>
  /** Asks the hub to stop everything and report; null if it did not within the deadline. */
  shutdown(epoch: number, order: StopOrder, deadlineMs: number): Promise<readonly Confirmed[] | null>
}

const OUTCOMES = ['gone', 'already_gone', 'failed'] as const
function confirmedOf(value: unknown): Confirmed[] {
  const rows = isRow(value) && Array.isArray(value.containers) ? value.containers : []
  return rows.flatMap((row: unknown) => {
    const outcome = isRow(row) ? OUTCOMES.find((one) => one === row.outcome) : undefined
    if (!isRow(row) || outcome === undefined || !isText(row.container)) return []
    const reason = isText(row.reason) ? { reason: row.reason } : {}
    return [{ container: row.container, outcome, ...reason }]
  })
}

/** The line over the hub's Unix socket. One counter runs through leases and shutdowns of an epoch. */
export function createHubLine(
  options: { socketPath: string; key: Buffer; instance: string; timeoutMs: number },
  clock: Clock,
): HubLine {
  let counter = 0
  async function say(path: string, label: string, body: object, deadlineMs: number) {
    const text = JSON.stringify(body)
    const headers = { 'hub-mac': macHex(options.key, `${label}-v1`, text) }
    const { socketPath } = options
    const reply = await exchange(clock, {
      socketPath,
      method: 'POST',
      path,
      headers,
      body: text,
      deadlineMs,
      bytesMax: 4e6,
    })
    const mac = String(reply.headers['hub-mac'] ?? '')
    return { reply, proven: sameHex(mac, macHex(options.key, `${label}-answer-v1`, reply.body)) }
  }
  return {
    async lease(lease) {
      counter += 1
      const mine = counter
      const body = { version: 1, instance: options.instance, counter: mine, ...lease }
      try {
        const { reply, proven } = await say('/v1/lease', 'hub-lease', body, options.timeoutMs)
        if (reply.status !== 200)
          return { kind: 'refused', reason: `the hub answered ${reply.status}`, isIll: reply.status >= 500 }
        if (!proven) return { kind: 'forged', reason: 'its MAC is wrong' }
        return parseAnswer(reply.body.toString('utf8'), options.instance, lease.epoch, mine)
      } catch (error) {
        return { kind: 'silent', reason: (error as Error).message }
      }
    },
    async shutdown(epoch, order, deadlineMs) {
      counter += 1
      const body = { version: 1, instance: options.instance, epoch, counter, ...order }
      try {
        const { reply, proven } = await say('/v1/shutdown', 'hub-shutdown', body, deadlineMs)
        if (reply.status !== 200 || !proven) return null
        return confirmedOf(JSON.parse(reply.body.toString('utf8')))
      } catch {
        return null
      }
    },
  }
}
