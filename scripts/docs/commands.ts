/** The page of the `hub` command, made from its table. */
import type { Flag } from '../../hub/client/cli/command.ts'
import { COMMANDS, GROUPS } from '../../hub/client/cli/table.ts'
import { code, page, table } from './markdown.ts'

const options = (flags: readonly Flag[]): string => flags.map(([flag, text]) => `${code(flag)} ${text}`).join('; ')

export const commandsPage = (): string =>
  page(
    'The command',
    '`hub/client/cli/table.ts`',
    'Every command takes `--home DIR` and `--json`. `hub help COMMAND` says the same as this page, `hub --version` says which hub it is. The home is `--home`, else `HUB_HOME`, else `~/.hub`.',
    'Lists show the last characters of an id, which are random. Every command takes the beginning or the end of an id if only one id has it.',
    table(
      ['Command', 'What it does', 'Options'],
      COMMANDS.map(({ words, args, text, flags }) => [
        code(['hub', words, args].filter((part) => part !== '').join(' ')),
        text,
        options(flags),
      ]),
    ),
    '## Groups',
    table(
      ['Group', 'What it is about'],
      Object.entries(GROUPS).map(([name, text]) => [code(`hub ${name}`), text]),
    ),
    'The exit codes are in `docs/reference/errors.md`.',
  )
