/**
 * Tells a service manager the state of this process (sd_notify). Node has no Unix datagram sockets, so the program `systemd-notify` does it,
 * one at a time. N1. A message that cannot be sent is counted and otherwise ignored: it must never stop the work.
 */
import { execFile } from 'node:child_process'

export interface Notifier {
  /** Such as `READY=1`, `WATCHDOG=1`, `STOPPING=1`. Skipped while the last one is still being sent, unless it is urgent. */
  say(words: readonly string[], urgent?: boolean): void
  /** How many messages could not be sent. */
  failures(): number
}

const SAY_MS = 10_000

/** Runs `systemd-notify`, which finds the socket in the environment it inherits. */
function runNotify(words: readonly string[], done: (failed: boolean) => void): void {
  execFile('systemd-notify', [...words], { timeout: SAY_MS }, (error) => done(error !== null))
}

/** `enabled`: whether a service manager listens (NOTIFY_SOCKET is set); without one nothing is sent. */
export function createNotifier(options: { enabled: boolean }, run = runNotify): Notifier {
  let under = 0
  let failures = 0
  return {
    say(words, urgent = false) {
      if (!options.enabled || (under > 0 && !urgent)) return
      under += 1
      run(words, (failed) => {
        under -= 1
        if (failed) failures += 1
      })
    },
    failures: () => failures,
  }
}
