/**
 * Tells a service manager the state of this process (sd_notify), by the program `systemd-notify`: Node has no Unix datagram sockets.
 * Fed from the rounds, so that a watchdog that hangs is started again. A message that cannot be sent is counted and otherwise ignored.
 */
import { execFile } from 'node:child_process'
import type { Clock } from './clock.ts'

export interface Notifier {
  ready(): void
  /** The work goes on. Said at most every 20 s, and never two at a time. */
  alive(): void
  stopping(): void
  failures(): number
}

const SAY_MS = 10_000
const ALIVE_EVERY_MS = 20_000

function runNotify(words: readonly string[], done: (failed: boolean) => void): void {
  execFile('systemd-notify', [...words], { timeout: SAY_MS }, (error) => done(error !== null))
}

/** `enabled`: whether a service manager listens (NOTIFY_SOCKET is set); without one nothing is sent. */
export function createNotifier(options: { enabled: boolean }, clock: Clock, run = runNotify): Notifier {
  let under = 0
  let failures = 0
  let aliveBootMs = Number.NEGATIVE_INFINITY
  function say(words: readonly string[]): void {
    if (!options.enabled) return
    under += 1
    run(words, (failed) => {
      under -= 1
      if (failed) failures += 1
    })
  }
  return {
    ready: () => say(['READY=1']),
    alive() {
      const { bootMs } = clock.read()
      if (under > 0 || bootMs - aliveBootMs < ALIVE_EVERY_MS) return
      aliveBootMs = bootMs
      say(['WATCHDOG=1'])
    },
    stopping: () => say(['STOPPING=1']),
    failures: () => failures,
  }
}
