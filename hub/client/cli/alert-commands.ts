/** Commands of alerts and devices, as `table.ts` lists them. */
import type { Command } from './row.ts'

export const ALERT_COMMANDS: readonly Command[] = [
  {
    words: 'alert list',
    text: 'what is not well and was told',
    flags: [['--all', 'resolved ones too']],
    load: async () => (await import('./alerts.ts')).alertList,
  },
  {
    words: 'alert test',
    text: "send a test through every channel, the hub's and the watchdog's",
    flags: [['--channel <name>', "only this one of the hub's"]],
    load: async () => (await import('./alerts.ts')).alertTest,
  },
]

export const DEVICE_COMMANDS: readonly Command[] = [
  {
    words: 'console',
    text: 'a one-time link to the page of this hub in your browser',
    flags: [
      ['--rights <list>', 'of view, heartbeat, approve, stop, resume (all)'],
      ['--expires <span>', 'how long the page may stay, at most 7d (12h)'],
      ['--name <name>', 'what it is called in `hub device list`'],
      ['--open', 'open it in the browser of this machine'],
    ],
    load: async () => (await import('./console.ts')).openConsole,
  },
  {
    words: 'device add',
    args: '<name>',
    text: 'let a phone or a program of yours in, by a secret of its own',
    flags: [
      ['--webhook', 'an address: POST to it gives a weak heartbeat'],
      ['--rights <list>', 'of view, heartbeat, approve, stop, resume'],
      ['--expires <span>', 'as 90d; without it until you revoke it'],
    ],
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
  {
    words: 'token create',
    args: '<name>',
    text: 'a bearer token for automation',
    flags: [
      ['--actions <list>', 'what it may do, as task.submit,task.show'],
      ['--expires <span>', 'when it ends (30d)'],
    ],
    load: async () => (await import('./devices.ts')).tokenCreate,
  },
  {
    words: 'token list',
    text: 'which tokens there are',
    load: async () => (await import('./devices.ts')).tokenList,
  },
  {
    words: 'token revoke',
    args: '<name>',
    text: 'take it back at once',
    load: async () => (await import('./devices.ts')).tokenRevoke,
  },
]
