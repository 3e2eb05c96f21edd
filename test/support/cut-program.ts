/** What cut-short.test.ts cuts: `node test/support/cut-program.ts rotate|backup HOME ARM`; makes ARM once it is ready, does it, and ends. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createBackup } from '../../hub/assembly/backup.ts'
import { checkCopy } from '../../hub/assembly/copy-check.ts'
import { createGuard } from '../../hub/assembly/guard.ts'
import { createSystemClock } from '../../hub/base/clock.ts'
import { systemRandom } from '../../hub/base/random.ts'
import { silentLog } from '../../hub/base/telemetry.ts'
import { readKeys } from '../../hub/guard/identity/keys.ts'
import { OPERATOR } from '../../hub/guard/principal.ts'
import { shippedPolicies } from './policy-fixture.ts'

process.umask(0o077)
const [what, home = '', arm = ''] = process.argv.slice(2)
const [clock, log] = [createSystemClock(), silentLog()]
const guard = createGuard(
  {
    home,
    instance: readFileSync(join(home, 'instance'), 'utf8').trim(),
    keys: readKeys(join(home, 'keys')),
    bundleFolder: shippedPolicies,
  },
  { clock, random: systemRandom, log },
)
const backup = createBackup({ home, clock, log, audit: guard.audit, copyDatabase: guard.store.copy, checkCopy })
writeFileSync(arm, '')
if (what === 'rotate')
  guard.gate.admit({ principal: OPERATOR, operation: 'keys.rotate', resource: 'keys' }, (grant) => ({
    keys: guard.keyRing.rotate(grant),
  }))
else await backup()
process.exit(0)
