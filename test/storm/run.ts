/** `npm run storm -- [--seconds N] [--seed N]`: exit code 0 when the invariants hold afterwards. Needs the container engine. */
import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { loadTrialImage } from '../support/trial-home.ts'
import { runStorm } from './storm.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    seed: { type: 'string', default: String(randomInt(2 ** 31)) },
  },
})
const [seconds, seed] = [Number(values.seconds), Number(values.seed)]
if (!(seconds > 0) || !Number.isSafeInteger(seed)) {
  process.stderr.write('usage: npm run storm -- [--seconds N] [--seed N]\n')
  process.exit(2)
}
await loadTrialImage()
const { broken, ...told } = await runStorm({ seconds, seed, say: (line) => void process.stderr.write(`${line}\n`) })
process.stdout.write(`${JSON.stringify(told)}\n`)
for (const line of broken) process.stdout.write(`broken: ${line}\n`)
process.stdout.write(broken.length === 0 ? 'every invariant holds\n' : `${broken.length} broken\n`)
process.exit(broken.length === 0 ? 0 : 1)
