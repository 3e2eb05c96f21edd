/** Whether this machine has accounts in the range of sessions' users. A session could then touch their processes and files (fault F14). */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { HubError } from '../../base/errors.ts'
import { FIRST_USER, rangeText, USERS } from './users.ts'

const ASK_MS = 5000
const SHOWN = 3

/** What the system knows of accounts: for these ids, lines as in passwd(5) or group(5), and lines as in subuid(5). */
export interface AccountSource {
  named(kind: 'passwd' | 'group', ids: readonly number[]): string
  subordinate(kind: 'subuid' | 'subgid'): string
}

const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** Every source of names that this system has (nsswitch), through `getent`; only the files if there is no `getent`. */
const SYSTEM_ACCOUNTS: AccountSource = {
  named(kind, ids) {
    const asked = spawnSync('getent', [kind, ...ids.map(String)], { encoding: 'utf8', timeout: ASK_MS })
    // 0 and 2 are answers: all were found, or not all.
    const isAnswer = asked.status === 0 || asked.status === 2
    return `${isAnswer ? asked.stdout : ''}\n${read(`/etc/${kind}`)}`
  },
  subordinate: (kind) => read(`/etc/${kind}`),
}

/** Who has ids of the range that begins at `first`, in words. Empty: nobody. */
export function holdersOf(first: number, source: AccountSource = SYSTEM_ACCOUNTS): string[] {
  const ids = Array.from({ length: USERS }, (_, at) => first + at)
  const rows = (text: string) => text.split('\n').map((line) => line.split(':'))
  const own = (['passwd', 'group'] as const).flatMap((kind) =>
    rows(source.named(kind, ids)).flatMap(([name = '', , id = '']) => {
      const isIn = /^\d+$/.test(id) && Number(id) >= first && Number(id) < first + USERS
      return isIn ? [`${kind === 'passwd' ? 'account' : 'group'} ${name} (${id})`] : []
    }),
  )
  const lent = (['subuid', 'subgid'] as const).flatMap((kind) =>
    rows(source.subordinate(kind)).flatMap(([name = '', from = '', count = '']) => {
      const [begin, end] = [Number(from), Number(from) + Number(count)]
      const isIn = /^\d+$/.test(from) && /^\d+$/.test(count) && begin < first + USERS && end > first
      return isIn ? [`/etc/${kind} of ${name} (${begin} to ${end - 1})`] : []
    }),
  )
  return [...new Set([...own, ...lent])]
}

/** Throws `config_invalid` and names who has ids of the range. */
export function requireFreeUsers(first: number, source: AccountSource = SYSTEM_ACCOUNTS): void {
  const holders = holdersOf(first, source)
  if (holders.length === 0) return
  const more = holders.length > SHOWN ? ` and ${holders.length - SHOWN} more` : ''
  const other = first === FIRST_USER ? 'another number' : `another number, such as ${FIRST_USER}`
  throw new HubError(
    'config_invalid',
    `the users of sessions (${rangeText(first)}) are taken on this machine: ${holders.slice(0, SHOWN).join(', ')}${more}; set engine.firstUser in hub.yaml to ${other}, whose ${USERS} ids are free`,
  )
}
