/**
 * Judges a configuration before the watchdog is started with it: `node watchdog/config-check.ts new|old`, its text on stdin. It opens no file
 * and no socket. Its answer is one line of JSON: faults, each with its place, and warnings. `convert` answers a text of
 * the earlier form in today's form: `{value}`, in which `{variable}` stands for the value of an environment variable.
 */
import { FromEnv } from './config/channels.ts'
import { fromOld } from './config/earlier-form.ts'
import { judgeText, OLD_NOTE } from './config/file.ts'

const [form] = process.argv.slice(2)
if (form !== 'new' && form !== 'old' && form !== 'convert') {
  process.stderr.write('usage: node watchdog/config-check.ts new|old|convert < FILE\n')
  process.exitCode = 2
} else {
  const pieces: Buffer[] = []
  for await (const piece of process.stdin) pieces.push(piece as Buffer)
  const text = Buffer.concat(pieces).toString('utf8')
  const marked = (_key: string, value: unknown) => (value instanceof FromEnv ? { variable: value.env } : value)
  const { faults } = await judgeText(text, form === 'new' ? 'new' : 'old')
  const answer =
    form === 'convert' && faults.length === 0
      ? JSON.stringify({ faults, value: fromOld(JSON.parse(text)) }, marked)
      : JSON.stringify({ faults, warnings: form === 'old' ? [OLD_NOTE] : [] })
  process.stdout.write(`${answer}\n`)
}
