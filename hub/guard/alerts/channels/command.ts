/**
 * A program of the operator's: arguments as configured, no shell, the message on its standard input, none of the hub's environment.
 * The beginning of its standard error is kept and told, even after a success.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { Clock } from '../../../base/clock.ts'
import { HubError } from '../../../base/errors.ts'
import type { Send } from '../message.ts'
import type { Settings } from '../settings.ts'

const PATH = '/usr/local/bin:/usr/bin:/bin'
const SAID_MAX = 300
/** What it wrote is read to its end, unless something that it started holds the pipe open. */
const LAST_WORDS_MS = 200
const PRIVILEGES =
  'this process cannot gain privileges (NoNewPrivileges of its unit), so programs that change their user, such as sudo, ping and some sendmail, fail here but work in a shell'

/** Explains a program that fails under the unit and works by hand (fault C24); empty if that is not the reason. */
async function unitWords(): Promise<string> {
  const status = await readFile('/proc/self/status', 'utf8').catch(() => '')
  return /^NoNewPrivs:\s*1$/m.test(status) ? `; ${PRIVILEGES}` : ''
}

/** One line without control characters. */
const lineOf = (text: string): string =>
  text
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
    .slice(0, SAID_MAX)

export function createCommand({ run }: Settings<'command'>, { clock }: { clock: Clock }): Send {
  const [program = '', ...words] = run
  return (message, signal) =>
    new Promise((resolve, reject) => {
      const env = {
        PATH,
        HUB_ALERT_ID: message.alert,
        HUB_ALERT_DELIVERY: message.id,
        HUB_ALERT_EVENT: message.event,
        HUB_ALERT_SEVERITY: message.severity,
        HUB_ALERT_SUBJECT: message.subject,
      }
      // A group of its own, so that what it started ends with it.
      const child = spawn(program, words, { env, cwd: '/', stdio: ['pipe', 'ignore', 'pipe'], detached: true })
      let said = ''
      child.stderr.setEncoding('utf8')
      child.stderr.on('data', (part: string) => {
        if (said.length < SAID_MAX * 4) said += part
      })
      const failed = (why: string) => reject(new HubError('timed_out', why))
      const end = () => {
        if (child.pid !== undefined) {
          try {
            process.kill(-child.pid, 'SIGKILL')
          } catch {
            // It has just ended by itself.
          }
        }
        failed('it took too long and was stopped')
      }
      signal.addEventListener('abort', end, { once: true })
      child.on('error', (thrown) => failed(thrown.message))
      // A program that does not read its input may still have done its work.
      child.stdin.on('error', () => undefined)
      child.on('exit', async (code, by) => {
        signal.removeEventListener('abort', end)
        await Promise.race([once(child.stderr, 'close'), clock.sleep(LAST_WORDS_MS)])
        child.stderr.destroy()
        const words = lineOf(said)
        const told = words === '' ? '' : `, it said: ${words}`
        if (code === 0) resolve(`exit code 0${told}`)
        else failed(`${code === null ? `it was ended by ${by}` : `exit code ${code}`}${told}${await unitWords()}`)
      })
      child.stdin.end(message.body)
      if (signal.aborted) end()
    })
}
