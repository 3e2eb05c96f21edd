/**
 * The watchdog's time: the one place of this process that reads the system's clocks or starts a timer.
 * Four readings travel together, because each answers another question (docs/safety.md 9): wall for people and for
 * containers that do not run, boot for every span (counts suspend), monotonic to notice a suspend, boot id to know
 * whether two boot readings may be compared at all.
 */
import { readFileSync } from 'node:fs'
import os from 'node:os'

/** One reading of all clocks at one moment. Milliseconds. */
export interface Reading {
  readonly wallMs: number
  /** Since boot, suspend included. */
  readonly bootMs: number
  /** Since an arbitrary point of this boot, suspend excluded; the same for every process of the machine. */
  readonly monotonicMs: number
  readonly bootId: string
}

export interface Clock {
  read(): Reading
  /** Calls `fn` once after `delayMs`; the result takes it back. */
  after(delayMs: number, fn: () => void): () => void
}

function readBootId(wallMs: number): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    // Not Linux: the boot instant to the minute tells boots apart.
    return `boot-${Math.round((wallMs / 1000 - os.uptime()) / 60)}`
  }
}

/** The machine's own clocks. */
export function createSystemClock(): Clock {
  const bootId = readBootId(Date.now())
  return {
    read: () => ({
      wallMs: Date.now(),
      bootMs: Math.round(os.uptime() * 1000),
      // hrtime and not performance.now(): it must stay comparable across a restart of this process.
      monotonicMs: Number(process.hrtime.bigint() / 1_000_000n),
      bootId,
    }),
    after(delayMs, fn) {
      const timer = setTimeout(fn, Math.min(Math.max(0, delayMs), 2 ** 31 - 1))
      return () => clearTimeout(timer)
    },
  }
}
