/** What git says in a container to whoever it runs as: a user without a name could not commit, and one who is not the owner not even look. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'

const AT = '/workspace/repository'

export function git(): Record<string, string> {
  mkdirSync(AT)
  writeFileSync(`${AT}/file`, 'text\n')
  const { username } = userInfo()
  const said = (...words: string[]) => {
    // The name of who commits is left to git, which looks it up.
    const env = { ...process.env, EMAIL: `${username}@example.net`, GIT_CONFIG_NOSYSTEM: '1' }
    const { status, stdout, stderr, error } = spawnSync('/usr/bin/git', words, { cwd: AT, env, encoding: 'utf8' })
    return `${status ?? String(error)} ${status === 0 ? stdout : stderr}`.trim()
  }
  return {
    version: said('--version'),
    init: said('init', '--quiet'),
    add: said('add', 'file'),
    commit: said('commit', '--quiet', '--message', 'one'),
    status: said('status', '--porcelain'),
    log: said('log', '--format=%an <%ae> by %cn'),
    owner: username,
  }
}
