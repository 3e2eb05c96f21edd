/** Commands of the backup contact, as `table.ts` lists them. */
import { type Command, yes } from './row.ts'

export const CONTACT_COMMANDS: readonly Command[] = [
  {
    words: 'contact card',
    text: 'make the card of the person who may stop everything; ends the one before',
    flags: [
      ['--name <name>', 'who gets it (contact.name of the watchdog)'],
      ['--operator-name <name>', 'whom they call: you (operator.name)'],
      ['--operator-phone <number>', 'your number (operator.phone)'],
      ['--last-resort <text>', 'what else may be done at the machine (contact.lastResort)'],
      ['--expires <span>', 'as 365d; without it until you revoke it'],
      ['--out <file>', 'a page to print, HTML'],
      yes,
    ],
    load: async () => (await import('./contact.ts')).card,
  },
  {
    words: 'contact revoke',
    text: 'end the card at once; works with the hub dead',
    flags: [yes],
    load: async () => (await import('./contact.ts')).revoke,
  },
  {
    words: 'contact test',
    text: 'send them a code to read out to you',
    load: async () => (await import('./contact.ts')).test,
  },
  {
    words: 'contact confirm',
    args: '<code>',
    text: 'the code they read out',
    load: async () => (await import('./contact.ts')).confirm,
  },
]
