/**
 * Time, and waiting for it (docs/safety.md 9). Three readings that must not be mixed:
 * wall (tokens, people), boot (TTL, lease, heartbeat; counts suspend, starts over at reboot), monotonic (latency; stops in suspend).
 * This file is the one place that may read the system's clocks or start a timer.
 */
import { readFileSync } from 'node:fs'
import os from 'node:os'

export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Epoch milliseconds, UTC. May step either way. */
  wallMs(): number
  /** Milliseconds since boot, suspend included; 10 ms grain. */
  bootMs(): number
  /** Milliseconds of a clock that never steps. */
  monotonicMs(): number
  /** Identity of this boot; another id means boot milliseconds cannot be compared. */
  readonly bootId: string
  /** Calls `fn` once after `delayMs`; the timer does not keep the process alive. */
  after(delayMs: number, fn: () => void): Timer
  /** Resolves after `delayMs`, or at once when the signal aborts (never rejects). */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>
}

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    // Not Linux: the boot instant itself, to the minute, tells boots apart.
    return `boot-${Math.round((Date.now() / 1000 - os.uptime()) / 60)}`
  }
}

/** Milliseconds that this thread has had of the processor. What the machine does meanwhile for others does not count. */
export const threadCpuMs = (): number => {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

/** The machine's own clocks. */
export function createSystemClock(): Clock {
  return {
    bootId: readBootId(),
    wallMs: () => Date.now(),
    bootMs: () => Math.round(os.uptime() * 1000),
    monotonicMs: () => performance.now(),
    after(delayMs, fn) {
      const timer = setTimeout(fn, Math.min(delayMs, 2 ** 31 - 1))
      timer.unref()
      return { cancel: () => clearTimeout(timer) }
    },
    sleep(delayMs, signal) {
      return new Promise((resolve) => {
        if (signal?.aborted) return resolve()
        const timer = setTimeout(done, Math.min(delayMs, 2 ** 31 - 1))
        function done() {
          clearTimeout(timer)
          signal?.removeEventListener('abort', done)
          resolve()
        }
        signal?.addEventListener('abort', done, { once: true })
      })
    },
  }
}
