/** The machine's own zone decides nothing: the same words and instants under two zones that are a day apart (X7). */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..', '..')
const PROGRAM = `
import { parseConfig } from './watchdog/config/config.ts'
import { nextLocalTime } from './watchdog/base/local-time.ts'
import { quietSpanAt } from './watchdog/base/quiet-hours.ts'
import { instantText } from './watchdog/base/time-text.ts'
import { parseWhen } from './hub/client/cli/presence/presence.ts'
const now = Date.UTC(2026, 2, 28, 22, 30)
const zone = 'Europe/Berlin'
const config = parseConfig({ zone, heartbeat: { due: 'daily at 08:30' }, operator: { quiet: '22:00-07:00' } })
process.stdout.write(JSON.stringify([
  nextLocalTime(now, [510], zone),
  quietSpanAt(now, config.operator),
  instantText(now, now - 3600000, zone),
  ['3d', 'fri 18:00', '2026-12-01', '2026-12-01 09:00'].map((text) => parseWhen(text, now, zone)),
]))`

test('X7: due times, quiet hours, words and --until say the same under two far zones of the machine', () => {
  const under = (TZ: string) =>
    execFileSync(process.execPath, ['--input-type=module', '-e', PROGRAM], { cwd: ROOT, encoding: 'utf8', env: { TZ } })
  const [east, west] = [under('Pacific/Kiritimati'), under('Pacific/Pago_Pago')]
  expect(JSON.parse(east)).toHaveLength(4)
  expect(west).toBe(east)
})
