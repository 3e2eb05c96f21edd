/** The commands on sessions and on what is said in them: rows of the table of commands. */
import { command, lazy, paging, stop, yes } from '../command.ts'

const chat = lazy(() => import('../work/chat.ts'))
const sessions = lazy(() => import('../stopping/sessions.ts'))

export const SESSIONS = [
  command('session list', 'list sessions', sessions('list'), [['--all', 'ended ones too'], ...paging]),
  command('session show <session>', 'one session in full', sessions('show'), [
    ['--hardening', 'show how its container is hardened, check by check'],
  ]),
  stop('session stop [session...]', 'stop sessions; the hub stays', sessions('stop'), [
    ['--all', 'all of them'],
    ['--agent <name>', 'all of this agent'],
    yes,
  ]),
  command('session logs <session>', "the container's own output", sessions('logs')),
  command(
    'session quarantine <session>',
    'keep evidence, then end it; its task fails and its artifacts are withheld',
    sessions('quarantine'),
  ),
  command(
    'session evidence [session]',
    'what was kept of sessions that were stopped for security, and where; of one session also whether it is unchanged',
    sessions('evidence'),
    [['--limit <n>', 'how many (default: 25)']],
  ),
  command('session revoke <session>', 'end it at once because it is not trusted; its task fails', sessions('revoke'), [
    ['--token <token>', 'only refuse this one token (the token or its id)'],
  ]),
  command('session say <session> <text>', 'give a session, or that of a task, a prompt', chat('say'), [
    ['--interrupt', 'cancel the turn that goes on first'],
    ['--wait', 'wait for the end of its turn, and print what it said'],
  ]),
  stop('session interrupt <session>', 'cancel the turn that goes on; the session goes on', chat('interrupt')),
  stop('session close <session>', 'end a chat: its program gives its result, and its task succeeds', chat('close')),
  command(
    'session turns <session> [number]',
    'what was said in it, whole; the audit log keeps that you read it',
    chat('turns'),
    [...paging],
  ),
]
