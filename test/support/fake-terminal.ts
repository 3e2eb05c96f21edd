/** A terminal that nobody reads, whole; a test hands in what it listens to. */
import { join } from 'node:path'
import type { Context } from '../../hub/client/cli/context.ts'
import type { Terminal } from '../../hub/client/cli/terminal.ts'
import { plain } from '../../hub/client/cli/text.ts'
import { type Connection, createConnection } from '../../hub/client/connection.ts'

export const fakeTerminal = (own: Partial<Terminal> = {}): Terminal => ({
  out: () => undefined,
  json: () => undefined,
  bytes: async () => true,
  note: () => undefined,
  fault: (text) => own.note?.(text),
  live: () => undefined,
  paint: plain,
  interactive: false,
  confirm: async (_question, yes) => yes,
  ...own,
})

/** What a command is run in, over a home that nothing was looked for in; `hub` answers in the hub's place. */
export function fakeContext(home: string, terminal: Terminal, hub: Partial<Connection>, json = false): Context {
  const door = (name: string, file: string) => createConnection({ name, socketPath: join(home, file), start: '' })
  return {
    ...{ home, json, terminal, unwritten: new Set<string>() },
    hub: { ...door('hub', 'run/operator.sock'), ...hub },
    watchdog: door('watchdog', 'watchdog/run/watchdog.sock'),
  }
}
