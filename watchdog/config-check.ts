/**
 * Judges a configuration before the watchdog is started with it: `node watchdog/config-check.ts new|old`, its text on stdin. It opens no file and
 * no socket. Its answer is one line of JSON: what is wrong, each with its place, and what is worth a word.
 */
import { judgeText, OLD_NOTE } from './config-file.ts'

const [form] = process.argv.slice(2)
if (form !== 'new' && form !== 'old') {
  process.stderr.write('usage: node watchdog/config-check.ts new|old < FILE\n')
  process.exitCode = 2
} else {
  const pieces: Buffer[] = []
  for await (const piece of process.stdin) pieces.push(piece as Buffer)
  const { faults } = await judgeText(Buffer.concat(pieces).toString('utf8'), form)
  process.stdout.write(`${JSON.stringify({ faults, warnings: form === 'old' ? [OLD_NOTE] : [] })}\n`)
}
