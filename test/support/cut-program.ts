/**
 * What cut-short.test.ts cuts: `node test/support/cut-program.ts WHAT HOME [ARM]`; makes the file ARM once it is ready, does it, and ends.
 * `images` assembles a small image with its base in HOME/cache and loads it into the engine at HOME/engine.sock. Beside rotate, backup and seal: `past` writes a month that has ended, `finish` seals and drops what is left of one and verifies the whole log.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createSystemClock } from '../../hub/base/clock.ts'
import { systemRandom } from '../../hub/base/random.ts'
import { createRedaction } from '../../hub/base/redaction.ts'
import { silentLog } from '../../hub/base/telemetry.ts'
import { createGuard } from '../../hub/guard/guard.ts'
import { readKeys } from '../../hub/guard/identity/keys.ts'
import { OPERATOR } from '../../hub/guard/principal.ts'
import { createBackup } from '../../hub/home/backup.ts'
import { checkCopy } from '../../hub/home/copy-check.ts'
import { shippedPolicies } from './policy-fixture.ts'
import { loadSmallImage } from './small-image.ts'

const PAST_MS = 40 * 86_400_000
process.umask(0o077)
const [what = '', home = '', arm] = process.argv.slice(2)
if (what === 'images') {
  if (arm !== undefined) writeFileSync(arm, '')
  await loadSmallImage(home)
  process.exit(0)
}
const real = createSystemClock()
const clock = what === 'past' ? { ...real, wallMs: () => real.wallMs() - PAST_MS } : real
const log = silentLog()
const guard = createGuard(
  {
    home,
    instance: readFileSync(join(home, 'instance'), 'utf8').trim(),
    keys: readKeys(join(home, 'keys')),
    bundleFolder: shippedPolicies,
  },
  { clock, random: systemRandom, log, redaction: createRedaction() },
)
const { audit, checkpoints, gate, keyRing, sealing, store, verifier } = guard
const backup = createBackup({ home, clock, log, audit, copyDatabase: store.copy, checkCopy })

const reload = () => gate.admit({ principal: OPERATOR, operation: 'agent.reload', resource: 'agents' }, () => ({}))

async function sealAndDrop(): Promise<void> {
  // The first record of another month ends the one before.
  reload()
  await sealing.round()
  for (const { name, state } of sealing.months()) if (state === 'sealed') await sealing.drop(name)
  await sealing.round()
}

const ACTS: Readonly<Record<string, () => unknown>> = {
  rotate: () =>
    gate.admit({ principal: OPERATOR, operation: 'keys.rotate', resource: 'keys' }, (grant) => ({
      keys: keyRing.rotate(grant),
    })),
  backup,
  past() {
    for (let at = 0; at < 40; at += 1) reload()
    checkpoints.take()
    store.checkpoint()
  },
  seal: sealAndDrop,
  async finish() {
    await sealAndDrop()
    const states = sealing.months().map(({ state }) => state)
    const dropped = `select name from sqlite_schema where name glob 'audit_dropped*'`
    const left = store.prepare(dropped).pluck().all()
    process.stdout.write(`${JSON.stringify({ states, left, ...(await verifier.verify()) })}\n`)
  },
}
if (arm !== undefined) writeFileSync(arm, '')
await ACTS[what]?.()
process.exit(0)
