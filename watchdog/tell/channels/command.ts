/**
 * A program of the operator's own: argv without a shell, the text on its standard input, killed with all its children at the
 * deadline. It gets only the variables that are named for it; subject, severity and id come as HUB_ALERT_*. If it fails, the beginning of
 * its standard error is told.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { Clock } from '../../base/clock.ts'
import type { CommandChannel } from '../../config/channels.ts'
import { headerText, type Post } from './letter.ts'

const SAID_CHARS_MAX = 300
/** What it wrote is read to its end, unless something that it started holds the pipe open. */
const LAST_WORDS_MS = 200
const PRIVILEGES =
  'this process cannot gain privileges (NoNewPrivileges of its unit), so programs that change their user, such as sudo, ping and some sendmail, fail here but work in a shell'

/** Explains a program that fails under the unit and works by hand (fault C24); empty if that is not the reason. */
async function unitWords(): Promise<string> {
  const status = await readFile('/proc/self/status', 'utf8').catch(() => '')
  return /^NoNewPrivs:\s*1$/m.test(status) ? `; ${PRIVILEGES}` : ''
}

export function createCommand(
  channel: CommandChannel,
  parts: { clock: Clock; env: Readonly<Record<string, string | undefined>> },
): Post {
  const [program = '', ...words] = channel.run
  const given = Object.fromEntries(
    ['PATH', 'HOME', 'LANG', 'TZ', ...channel.passEnv].flatMap((name) => {
      const value = parts.env[name]
      return value === undefined ? [] : [[name, value]]
    }),
  )
  return {
    label: channel.name === '' ? `command ${program}` : channel.name,
    kind: 'command',
    loud: channel.loud,
    deadlineMs: channel.timeoutMs,
    deliver(letter) {
      return new Promise<void>((resolve, reject) => {
        const env = {
          ...given,
          HUB_ALERT_ID: letter.id,
          HUB_ALERT_SEVERITY: letter.severity,
          HUB_ALERT_SUBJECT: headerText(letter.subject),
        }
        const child = spawn(program, words, { env, cwd: '/', stdio: ['pipe', 'ignore', 'pipe'], detached: true })
        const killAll = () => {
          try {
            if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
          } catch {
            // It has ended in the meantime.
          }
        }
        const cancel = parts.clock.after(channel.timeoutMs, () => {
          killAll()
          reject(new Error(`it did not end within ${channel.timeoutMs} ms and was killed`))
        })
        let said = ''
        child.stderr.on('data', (part: Buffer) => {
          if (said.length < SAID_CHARS_MAX) said += part.toString('utf8')
        })
        child.on('error', (error) => {
          cancel()
          reject(new Error(`it could not be started: ${error.message}`))
        })
        // A child of it may hold the pipe open forever, so only its own end counts.
        child.on('exit', async (code, signal) => {
          cancel()
          killAll()
          const over = new Promise<void>((resume) => parts.clock.after(LAST_WORDS_MS, resume))
          await Promise.race([once(child.stderr, 'close'), over])
          child.stderr.destroy()
          if (code === 0) return resolve()
          const words = headerText(said).slice(0, SAID_CHARS_MAX)
          reject(new Error(`it ended with ${signal ?? code}: ${words}${await unitWords()}`))
        })
        child.stdin.on('error', () => {})
        child.stdin.end(letter.text)
      })
    },
  }
}
