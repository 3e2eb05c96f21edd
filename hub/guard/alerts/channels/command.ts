/** A program of the operator's: arguments as configured, no shell, the letter on its standard input, nothing of the hub's environment. */
import { spawn } from 'node:child_process'
import { HubError } from '../../../base/errors.ts'
import type { Send } from '../message.ts'
import type { Settings } from '../settings.ts'

const PATH = '/usr/local/bin:/usr/bin:/bin'

export function createCommand({ run }: Settings<'command'>): Send {
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
      const child = spawn(program, words, { env, cwd: '/', stdio: ['pipe', 'ignore', 'ignore'], detached: true })
      const failed = (why: string) => reject(new HubError('timed_out', why))
      const end = () => {
        if (child.pid !== undefined) {
          try {
            process.kill(-child.pid, 'SIGKILL')
          } catch {
            // It has ended in this moment.
          }
        }
        failed('it took too long and was ended')
      }
      signal.addEventListener('abort', end, { once: true })
      child.on('error', (thrown) => failed(thrown.message))
      // A program that does not read its input may still have done its work.
      child.stdin.on('error', () => undefined)
      child.on('close', (code, by) => {
        signal.removeEventListener('abort', end)
        if (code === 0) resolve('exit code 0')
        else failed(code === null ? `it was ended by ${by}` : `exit code ${code}`)
      })
      child.stdin.end(message.body)
      if (signal.aborted) end()
    })
}
