/**
 * The time between SIGTERM and SIGKILL, in ms, in which a program may end (docs/sandbox.md 2). The watchdog, the command's own stop and the
 * host's reaper share no code with the hub and have the value once more; `test/house/pins.test.ts` holds them together.
 */
export const STOP_GRACE_MS = 5_000
