/** Commands of alerts and devices, as `table.ts` lists them. */
import type { Command } from './row.ts'

export const DEVICE_COMMANDS: readonly Command[] = [
  {
    words: 'device add',
    args: '<name>',
    text: 'make an address that gives a weak heartbeat',
    flags: [['--webhook', 'POST to it, as a phone automation does']],
    load: async () => (await import('./devices.ts')).deviceAdd,
  },
  {
    words: 'device list',
    text: 'which devices there are, and when each was last used',
    load: async () => (await import('./devices.ts')).deviceList,
  },
  {
    words: 'device revoke',
    args: '<name>',
    text: 'take it back at once',
    load: async () => (await import('./devices.ts')).deviceRevoke,
  },
]
